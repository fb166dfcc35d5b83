"""Saves evidence of a guest that has crashed, while its VM is still there. Nothing here needs the guest's help."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.crash.bugcheck import Bugcheck
from lab.crash.dump import read_dump_header
from lab.crash.hang import take_dump, take_screenshot
from lab.crash.steps import Ladder, Outcome, Step
from lab.errors import LabError
from lab.vm.protocol import Machine
from lab.vm.qmp import QmpEvent

CONSOLE_FILE = "console.txt"
EVENTS_FILE = "qmp-events.jsonl"
_CONSOLE_LINES = 200


@dataclass(frozen=True, slots=True)
class CrashLimits:
    """Seconds for each step: the picture, and the memory dump, which takes some seconds for each GiB."""

    screenshot: float = 10.0
    dump: float = 180.0


def collect_crash_evidence(
    machine: Machine,
    folder: Path,
    *,
    events: Iterable[QmpEvent],
    display: bool,
    dump: bool,
    bugcheck: Bugcheck | None = None,
    limits: CrashLimits | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Step, ...]:
    """Save the evidence of a crash: a picture, the memory, the console's last lines, QEMU's events. Failed steps raise nothing.

    Args:
        machine: The VM; of one that has ended, only console and events are left.
        folder: A folder for this crash alone; made when it is missing.
        events: QEMU's events so far.
        display: The VM has a display.
        dump: The guest's memory is wanted.
        bugcheck: What is known of the crash; the dump's header is compared with it.
        limits: Seconds for each step.
        clock: Monotonic clock in seconds; it measures the steps.

    Returns:
        The steps ``screenshot``, ``dump``, ``dump-header``, ``console`` and ``events``.
    """
    limits = limits or CrashLimits()
    ladder = Ladder(clock)
    gone = "" if machine.alive else "QEMU has ended"
    if gone or not display:
        ladder.leave_out("screenshot", gone or "the guest has no display")
    else:
        ladder.take("screenshot", lambda: take_screenshot(machine, folder / "crash.png", limits.screenshot), limits.screenshot)
    if gone or not dump:
        ladder.leave_out("dump", gone or "memory dumps are off")
    else:
        outcome = ladder.take("dump", lambda: take_dump(machine, folder / "memory", limits.dump), limits.dump)
        file = outcome.file
        if file is not None and file.suffix == ".dmp":
            ladder.take("dump-header", lambda: check_header(file, bugcheck), 10.0)
    ladder.take("console", lambda: save_console(machine, folder), 10.0)
    ladder.take("events", lambda: save_events(events, folder), 10.0)
    return ladder.steps


def check_header(file: Path, bugcheck: Bugcheck | None) -> Outcome:
    """Read a dump's header and compare it with the bugcheck that is already known."""
    try:
        header = read_dump_header(file)
    except LabError as error:
        return Outcome(False, error.message)
    said = str(header.bugcheck or "a running system, not a crash")
    wrong = header.disagreement(bugcheck.code, bugcheck.parameters) if bugcheck else ""
    if wrong:
        return Outcome(False, wrong)
    return Outcome(True, said + (", as the guest reported" if bugcheck else "") + f"; build {header.build}")


def save_console(machine: Machine, folder: Path) -> Outcome:
    """Save the last lines of the guest's console."""
    text = machine.console_tail(_CONSOLE_LINES)
    if not text:
        return Outcome(True, "the guest printed nothing on its console")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / CONSOLE_FILE
    file.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    return Outcome(True, f"last {len(text.splitlines())} lines", file)


def save_events(events: Iterable[QmpEvent], folder: Path) -> Outcome:
    """Save QEMU's events, one JSON object a line."""
    lines = [
        json.dumps({"time": event.qemu_time, "event": event.name, "data": dict(event.data)}, ensure_ascii=False)
        for event in events
    ]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / EVENTS_FILE
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return Outcome(True, f"{len(lines)} events", file)
