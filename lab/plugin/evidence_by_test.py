"""Which test a crash or a hang belongs to, and where its evidence is."""

from __future__ import annotations

import hashlib
import itertools
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.config.model import CrashDump
from lab.crash.bugcheck import Bugcheck
from lab.crash.signs import CrashSign, crash_sign
from lab.host.passed import said
from lab.lease.lease import Lease
from lab.lease.protocol import GuestSource
from lab.live.crashwatch import Crash, CrashWatch
from lab.live.evidence import SavedEvidence, SavedFile, event_count, events_of, save_crash, save_hang
from lab.live.guest import LiveGuest
from lab.plugin.phases import Gathered, Hang
from lab.plugin.testrun import TestRun
from lab.prints.record import FaultRecord
from lab.prints.stream import render
from lab.prints.window import Window
from lab.report.model import EvidenceFile
from lab.toolchain.address import locate
from lab.toolchain.select import DriverPackage
from lab.vm.protocol import Machine

_LOG = logging.getLogger(__name__)

FOLDER = "evidence"
_LONGEST_NAME = 100
#: A fault of such a guest stops all of it.
_FINAL = "bugcheck"


@dataclass(slots=True)
class _Guest:
    """What is known of a guest.

    Attributes:
        machine: Its virtual machine.
        events_seen: Number of the newest event that was assigned; None: later events do not count any more.
        watch: Watches it in the background; None for one whose faults leave it alive.
        saved: Evidence that no test has taken yet.
    """

    machine: Machine
    events_seen: int | None
    watch: CrashWatch | None = None
    saved: SavedEvidence | None = None


class EvidenceByTest:
    """Gathers evidence for the tests of one worker.

    Args:
        out: Folder of the run.
        source: Where the guests come from.
        dump: When memory dumps are taken.
        end: End the virtual machine of a guest that has crashed for good; off if the user wants to look at it.
    """

    def __init__(self, out: Path, source: GuestSource, *, dump: CrashDump = "auto", end: bool = True) -> None:
        self._out = out
        self._source = source
        self._dump = dump
        self._end = end
        self._run: TestRun | None = None
        self._guests: dict[str, _Guest] = {}

    def begin(self, run: TestRun, lease: Lease) -> int:
        """A test's window opens on a guest. Events of QEMU since the last window belong to this one, as faults do.

        Returns:
            Number of the last event before the window.
        """
        guest = lease.guest
        known = self._guests.get(guest.guest_id)
        if known is None or known.machine is not guest.machine:
            known = self._know(guest, before=known)
        self._run = run
        return known.events_seen or 0

    def crashed(self, run: TestRun, lease: Lease) -> bool:
        """Whether the guest of a test has ended by itself; records QEMU's sign. Waits until its evidence is saved."""
        watch = self._guests[lease.guest.guest_id].watch
        crash = watch.check() if watch is not None else None
        before = run.hang.events_to if run.hang is not None else None
        run.note_sign(crash_sign(events_of(lease.guest.machine, after=run.events_from), before=before))
        return run.sign is not None or crash is not None

    def save_hang(self, run: TestRun, lease: Lease, reason: str) -> Hang:
        """Save the evidence of a guest that answers nothing, and end it."""
        known = self._guests[lease.guest.guest_id]
        if known.watch is not None:
            known.watch.pause()
        known.events_seen = None
        events_to, records_to = event_count(lease.guest.machine) + 1, len(lease.ledger.peek())
        folder, dump = self._folder(run.nodeid), self._wants_dump(lease.guest)
        saved = save_hang(lease.guest, folder, self._packages(run), reason=reason, dump=dump)
        return Hang(events_to=events_to, records_to=records_to, evidence=saved)

    def window_closed(self, run: TestRun, lease: Lease) -> Gathered:
        """Save the evidence of a crash, or of a client that hangs, at the end of a test's window; add the test's prints."""
        known = self._guests[lease.guest.guest_id]
        findings, saved = run.findings, run.gathered.evidence
        faults = findings.faults
        if known.saved is not None:
            saved, known.saved = known.saved, None
        elif saved is None and (faults or run.sign is not None or run.answers is not None):
            folder, dump = self._folder(run.nodeid), self._wants_dump(lease.guest)
            saved = save_crash(lease.guest, folder, self._packages(run), dump=dump, bugcheck=_bugcheck_of(faults))
        where = self._locate(run, faults[0].parameters[0]) if faults and len(faults[0].parameters) == 1 else ""
        if known.events_seen is not None:
            # Events after a crash, such as the reset, do not count.
            ended = saved is not None or run.sign is not None or findings.provoked_the_end
            known.events_seen = None if ended else event_count(lease.guest.machine)
        self._run = None
        if saved is not None and run.window is not None:
            saved = _with_prints(saved, run.window)
        return Gathered(evidence=saved, where=where)

    def unclaimed(self, guest_id: str) -> tuple[CrashSign | None, SavedEvidence | None]:
        """How a guest ended itself outside of every window, and the evidence; called at its end."""
        known = self._guests.pop(guest_id, None)
        if known is None:
            return None, None
        if known.watch is not None:
            if known.events_seen is not None:
                known.watch.check()
            known.watch.stop()
        if known.events_seen is None:
            return None, known.saved
        return crash_sign(events_of(known.machine, after=known.events_seen)), known.saved

    def entries(self, saved: SavedEvidence | None) -> list[EvidenceFile]:
        """The files as the report names them."""
        files = saved.files if saved else ()
        return [EvidenceFile(kind=file.kind, path=self._relative(file.path), note=file.note) for file in files]

    def _know(self, guest: LiveGuest, *, before: _Guest | None) -> _Guest:
        """Start with a guest, or again if it has another virtual machine, whose events are numbered anew."""
        if before is not None and before.watch is not None:
            before.watch.stop()
        known = self._guests[guest.guest_id] = _Guest(guest.machine, event_count(guest.machine))
        if _FINAL in guest.capabilities:
            known.watch = CrashWatch(guest, lambda crash: self._save_watched(known, guest, crash), end=self._end)
            known.watch.start()
        return known

    def _save_watched(self, known: _Guest, guest: LiveGuest, crash: Crash) -> None:
        run = self._run
        if run is not None and crash.bugcheck is not None and crash.bugcheck.code == run.wishes.expected_fault:
            return
        folder, dump = self._folder(run.nodeid if run else guest.guest_id), self._wants_dump(guest)
        known.saved = save_crash(guest, folder, self._packages(run), dump=dump, bugcheck=crash.bugcheck)

    def _wants_dump(self, guest: LiveGuest) -> bool:
        return self._dump == "always" or (self._dump == "auto" and _FINAL in guest.capabilities)

    def _packages(self, run: TestRun | None) -> list[DriverPackage]:
        """The drivers that the test uses; all of the run if that is unknown."""
        drivers = self._source.payload.drivers
        names = run.wishes.drivers if run and run.wishes.drivers else tuple(drivers)
        return [drivers[name] for name in names if name in drivers]

    def _locate(self, run: TestRun, address: int) -> str:
        """Function and line of a fault that reports only its address, as the free guest's do."""
        return next((said for package in self._packages(run) if (said := locate(package, address))), "")

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._out).as_posix() if path.is_relative_to(self._out) else str(path)

    def _folder(self, name: str) -> Path:
        """A new folder: a test may run more than once."""
        base = self._out / FOLDER / folder_name(name)
        numbers = itertools.count(2)
        folder = base
        while folder.exists():
            folder = base.with_name(f"{base.name}.{next(numbers)}")
        return folder


def _bugcheck_of(faults: Iterable[FaultRecord]) -> Bugcheck | None:
    for fault in faults:
        if len(fault.parameters) == 4:
            first, second, third, fourth = fault.parameters
            return Bugcheck(fault.code, (first, second, third, fourth), text=fault.text)
    return None


def _with_prints(saved: SavedEvidence, window: Window) -> SavedEvidence:
    """The test's prints as a text file, which any reader of attachments shows."""
    file = saved.folder / "prints.txt"
    text = render(window.records)
    try:
        saved.folder.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n" if text else "", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        # A failure here is only logged: run.json has the prints, too.
        _LOG.warning("no %s: %s", file, said(error))
        return saved
    return saved.with_file(SavedFile("prints", file, f"{len(window.prints)} kernel prints of the test"))


def folder_name(nodeid: str) -> str:
    """A test's id as a file name: readable, safe on every system, and not the same for two tests."""
    plain = re.sub(r"[^A-Za-z0-9_.\[\]=-]+", "-", nodeid).strip("-.")
    if plain == nodeid and len(plain) <= _LONGEST_NAME:
        return plain
    digest = hashlib.sha256(nodeid.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return f"{plain[:_LONGEST_NAME].rstrip('-.')}-{digest}"
