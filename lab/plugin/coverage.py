"""Takes the counters of measured drivers at the end of each test's window."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Self

from lab.coverage.reading import take_counters
from lab.coverage.recorded import TestCounters
from lab.coverage.window import GuestCounters
from lab.errors import LabError
from lab.host.passed import said
from lab.lease.lease import Lease
from lab.lease.protocol import GuestSource
from lab.plugin.repeat import origin
from lab.plugin.testrun import TestRun
from lab.prints.stream import first_fault
from lab.report.worker_files import ResultWriter

_LOG = logging.getLogger(__name__)
#: A guest whose driver hangs may not answer.
_TIMEOUT_S = 20.0


class CoverageByTest:
    """Records what each test has run of the drivers.

    Args:
        probe: Windows path of ``drvprobe.exe`` in the guests.
        write: Records a line.
    """

    def __init__(self, probe: str, write: Callable[[TestCounters], None]) -> None:
        self._probe = probe
        self._write = write
        self._guest: tuple[str, GuestCounters] = ("", GuestCounters())

    @classmethod
    def of(cls, source: GuestSource, writer: ResultWriter) -> Self | None:
        """What takes the counters in the guests of a source; None if its drivers have none."""
        with contextlib.suppress(LabError):  # no guest can be started, and each test reports why
            if source.payload.collector is not None:
                return cls(source.payload.probe, writer.coverage)
        return None

    def window_closes(self, run: TestRun, lease: Lease) -> None:
        """Take the counters; if that is not possible, record why those of the test are missing. Never raises."""
        nodeid = origin(run.nodeid)
        why = self._why_not(run, lease)
        if why:
            self._write(TestCounters(nodeid=nodeid, lost=f"{why}: what ran since the last read is not counted"))
            return
        guest_id = lease.life.guest_id
        if self._guest[0] != guest_id:
            self._guest = (guest_id, GuestCounters())
        try:
            records = take_counters(lease.guest.transport, self._probe, timeout=_TIMEOUT_S)
        except LabError as error:
            _LOG.warning("%s: the counters of %s cannot be read: %s", guest_id, nodeid, said(error))
            self._write(TestCounters(nodeid=nodeid, lost=f"the guest did not deliver its counters: {said(error)}"))
            # Whatever the reason, the next read would have what this test ran, too.
            lease.condemn(f"its counters cannot be read: {said(error)}")
            return
        found, lost = self._guest[1].since_last(records)
        for driver, counters in found.items():
            if any(one.counts for one in counters.values()):
                self._write(TestCounters.of(nodeid, driver, counters))
        for driver in lost:
            self._write(TestCounters(nodeid=nodeid, lost=f"the guest had no memory for the last counters of {driver}"))

    @staticmethod
    def _why_not(run: TestRun, lease: Lease) -> str:
        """Why a guest is not asked; empty if it is."""
        if run.hang is not None:
            return "the guest hung"
        if run.sign is not None or not lease.guest.alive:
            return "the guest ended"
        return "a driver crashed" if first_fault(lease.ledger.peek()) is not None else ""
