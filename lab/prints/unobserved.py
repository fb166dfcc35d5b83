"""The print source of a guest whose prints do not reach the host: a Windows guest without debugger and print relay.

Tests that read prints are skipped there, because the capability ``dbgprint`` is missing; the others run. A marker has no prints
to follow, so it is accepted at once. In a fork, there is nothing to continue.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lab.prints.channel import GuestLink, PrintChannel, PrintReader
from lab.prints.log import RecordLog
from lab.prints.record import MarkRecord, Record
from lab.prints.resume import PrintsState, ResumableSource
from lab.prints.timer import GuestTimer


class Unobserved:
    """A :class:`lab.prints.record.PrintSource` without prints.

    Args:
        wall: Wall clock in seconds.
    """

    name = "none"

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._log = RecordLog()

    @property
    def resumable(self) -> ResumableSource:
        """The source itself."""
        return self

    def hang_up(self) -> None:
        """Do nothing: there is no connection."""

    def snapshot_state(self, *, replay: bool = False) -> PrintsState:
        """See :class:`lab.prints.resume.ResumableSource`: an empty state."""
        return PrintsState()

    def resume(self, seconds: float, entropy: bytes, *, let_run: Callable[[], None], timeout: float) -> None:
        """See :class:`lab.prints.resume.ResumableSource`: there is no agent in the guest."""
        let_run()

    @property
    def timer(self) -> GuestTimer | None:
        """None: the guest's own source has it, where there is one."""
        return None

    @property
    def breaker(self) -> None:
        """None: there is no debugger."""

    def start(self) -> None:
        """Do nothing."""

    def records_since(self, position: int) -> list[Record]:
        """See :class:`lab.prints.record.PrintSource`: markers only."""
        return self._log.since(position)

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        """See :class:`lab.prints.record.PrintSource`."""
        return self._log.wait(position, until, timeout=timeout)

    def mark(self, token: str, *, timeout: float) -> int:
        """See :class:`lab.prints.record.PrintSource`."""
        record = MarkRecord(sequence=len(self._log), host_time=self._wall(), guest_time=None, token=token)
        self._log.extend([record])
        return len(self._log)

    def close(self) -> None:
        """Do nothing."""


class NoChannel(PrintChannel):
    """The print channel ``none``; see :class:`lab.prints.channel.PrintChannel`."""

    name = "none"
    words = "no print channel"
    resumes = True
    sets_clock = False

    def open(self, link: GuestLink, *, resume: PrintsState | None = None) -> Unobserved:
        """Return a source without prints."""
        return Unobserved()

    def join(self, link: GuestLink) -> Unobserved:
        """Return a source without prints."""
        return Unobserved()

    def read(self, path: Path, encoding: str) -> PrintReader:
        """Return a reader without prints."""
        return Unobserved()


CHANNEL: Final = NoChannel()
