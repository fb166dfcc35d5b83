"""What is saved of a guest that crashed or hangs: what QEMU provides from outside, the guest's logs, and its drivers."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lab.crash.bugcheck import Bugcheck
from lab.crash.collect import (
    CONSOLE_FILE,
    EVENTS_FILE,
    collect_crash_evidence,
    save_console,
    save_events,
)
from lab.crash.hang import HangKind, HangLimits, collect_hang_evidence
from lab.crash.steps import Ladder, Outcome, Step
from lab.errors import GuestExited
from lab.host.passed import passed_over
from lab.live.guest import LiveGuest
from lab.live.guest_logs import find_logs
from lab.toolchain.select import DriverPackage
from lab.vm.protocol import Machine
from lab.vm.qmp import QmpEvent

_LOG = logging.getLogger(__name__)

#: A guest may print for hours; larger files stay in the guest's own folder, if that is kept.
_LARGEST_LOG = 64 << 20
_KINDS = {"screenshot": "screenshot", "dump": "dump", "console": "console", "events": "events"}


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file of evidence: its kind (see :class:`lab.report.model.EvidenceFile`), where it is, and a line about it."""

    kind: str
    path: Path
    note: str = ""


@dataclass(frozen=True, slots=True)
class SavedEvidence:
    """What was saved of one crash or hang.

    Attributes:
        folder: The folder of this crash or hang; it exists when there are files.
        files: The files.
        steps: How they were gathered.
        hang: What kind of hang; None for a crash, and for a hang of a client alone.
    """

    folder: Path
    files: tuple[SavedFile, ...]
    steps: tuple[Step, ...]
    hang: HangKind | None = None

    def with_file(self, file: SavedFile) -> SavedEvidence:
        """The same with one file more."""
        return replace(self, files=(*self.files, file))


def events_of(machine: Machine, *, after: int = 0) -> list[QmpEvent]:
    """QEMU's events, also of a VM that has ended; none of one that was never started."""
    with passed_over(_LOG, "QEMU's events cannot be read", GuestExited, level=logging.DEBUG):
        return machine.qmp.events(after=after)
    return []


def event_count(machine: Machine) -> int:
    """Number of the newest event."""
    events = events_of(machine)
    return events[-1].index if events else 0


def save_crash(
    guest: LiveGuest, folder: Path, packages: Iterable[DriverPackage], *, dump: bool, bugcheck: Bugcheck | None = None
) -> SavedEvidence:
    """Save the evidence of a crash; see :func:`lab.crash.collect.collect_crash_evidence`. Failed steps raise nothing.

    Args:
        guest: The guest; its VM may have ended.
        folder: A new folder for it.
        packages: The drivers under test, whose images and symbols are put beside the dump.
        dump: The guest's memory is wanted.
        bugcheck: What is known of the crash.
    """
    machine = guest.machine
    steps = collect_crash_evidence(
        machine, folder, events=events_of(machine), display=machine.spec.display, dump=dump, bugcheck=bugcheck
    )
    return _finish(guest, folder, packages, steps)


def save_hang(
    guest: LiveGuest,
    folder: Path,
    packages: Iterable[DriverPackage],
    *,
    reason: str,
    dump: bool,
    limits: HangLimits | None = None,
) -> SavedEvidence:
    """Save the evidence of a guest that answers nothing, then end it; see :func:`lab.crash.hang.collect_hang_evidence`."""
    machine = guest.machine
    with guest.running():  # it is given time to react
        found = collect_hang_evidence(
            machine,
            folder,
            reason=reason,
            breaker=guest.prints.breaker,
            limits=limits,
            display=machine.spec.display,
            dump=dump,
        )
    ladder = Ladder()
    # Last, so that the guest's output about the NMI is included.
    ladder.take("console", lambda: save_console(machine, folder), 10.0)
    ladder.take("events", lambda: save_events(events_of(machine), folder), 10.0)
    return _finish(guest, folder, packages, (*found.steps, *ladder.steps), hang=found.kind)


def _finish(
    guest: LiveGuest,
    folder: Path,
    packages: Iterable[DriverPackage],
    steps: tuple[Step, ...],
    *,
    hang: HangKind | None = None,
) -> SavedEvidence:
    files = [SavedFile(_KINDS.get(step.name, step.name), step.file, _note(step)) for step in steps if step.file]
    ladder = Ladder()
    ladder.take("drivers", lambda: _copy_drivers(packages, folder / "drivers", files), 30.0)
    ladder.take("guest-logs", lambda: _copy_logs(find_logs(guest.run_dir, guest.manifest), folder / "guest", files), 60.0)
    return SavedEvidence(folder, tuple(files), (*steps, *ladder.steps), hang)


def _note(step: Step) -> str:
    if step.file is not None and step.file.name in (CONSOLE_FILE, EVENTS_FILE):
        what = "of the guest's console" if step.file.name == CONSOLE_FILE else "of QEMU"
        return f"{step.detail} {what}"
    return step.detail


def _copy_drivers(packages: Iterable[DriverPackage], folder: Path, files: list[SavedFile]) -> Outcome:
    """A dump can be read only with the drivers that ran and their symbols, which the next build replaces."""
    names = []
    for package in packages:
        folder.mkdir(parents=True, exist_ok=True)
        image = folder / package.image.name
        shutil.copy2(package.image, image)
        files.append(SavedFile("driver", image, f"{package.name}, SHA-256 {package.sha256}"))
        names.append(image.name)
        for symbols in package.symbols:
            target = folder / symbols.name
            shutil.copy2(symbols, target)
            files.append(SavedFile("symbols", target, f"of {image.name}"))
            names.append(target.name)
    return Outcome(True, ", ".join(names) or "the run has none")


def _copy_logs(found: Sequence[Path], folder: Path, files: list[SavedFile]) -> Outcome:
    left = []
    for file in found:
        if file.stat().st_size > _LARGEST_LOG:
            left.append(file.name)
            continue
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, folder / file.name)
        files.append(SavedFile("guest-log", folder / file.name))
    copied = f"{len(found) - len(left)} files"
    return Outcome(True, f"{copied}; too large: {', '.join(left)}" if left else copied)
