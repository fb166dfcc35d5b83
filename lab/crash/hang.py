"""Saves evidence of a guest that does not answer any more, before its VM is ended.

The ladder: screen shot, debugger break-in, NMI, memory dump, kill. Each step has its own deadline and none depends on the
success of the one before, because what exactly is broken is not known when it begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from lab.crash.bugcheck import Bugcheck, from_guest_panicked
from lab.crash.hostdump import dump_guest
from lab.crash.steps import HangKind, Ladder, Outcome, Step
from lab.errors import TransportError
from lab.vm.protocol import Machine

__all__ = [
    "Breaker",
    "HangEvidence",
    "HangKind",
    "HangLimits",
    "collect_hang_evidence",
    "take_dump",
    "take_screenshot",
]

#: QEMU's events for the reaction of a guest to an NMI.
_AFTER_NMI = ("GUEST_PANICKED", "GUEST_CRASHLOADED", "RESET", "SHUTDOWN")
#: How many lines of the console are compared, to find those that an NMI caused.
_CONSOLE_LINES = 40
_LONGEST_QUOTE = 400


@runtime_checkable
class Breaker(Protocol):
    """A connected kernel debugger; a print source of the kind ``kd`` may be one."""

    def break_in(self, timeout: float) -> bool:
        """Ask the kernel to stop; False when it did not within the timeout, in seconds."""


@dataclass(frozen=True, slots=True)
class HangLimits:
    """Seconds for each step.

    Attributes:
        screenshot: For the picture.
        break_in: Until the kernel must have stopped; a live one does so at once.
        nmi: What the guest may take to react to an NMI: Windows stops with bugcheck 0x80, Linux prints a line on its console.
        dump: For the memory dump, some seconds for each GiB.
        kill: For the end of QEMU.
    """

    screenshot: float = 10.0
    break_in: float = 5.0
    nmi: float = 5.0
    dump: float = 180.0
    kill: float = 15.0


@dataclass(frozen=True, slots=True)
class HangEvidence:
    """What is known of a hang.

    Attributes:
        reason: What did not answer, in the caller's words.
        kind: ``soft``: the kernel still obeys its debugger, so a thread hangs. ``hard``: it does not, so interrupts are off
            or a processor spins. ``unknown``: no debugger was connected, or it failed.
        steps: The steps in the order in which they were taken.
        bugcheck: What the guest reported after the NMI; None when it reported none.
    """

    reason: str
    kind: HangKind
    steps: tuple[Step, ...]
    bugcheck: Bugcheck | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that were made."""
        return tuple(step.file for step in self.steps if step.file)

    def step(self, name: str) -> Step:
        """The step of that name."""
        return next(step for step in self.steps if step.name == name)

    def __str__(self) -> str:
        return "\n  ".join([f"the guest hangs ({self.kind}): {self.reason}", *map(str, self.steps)])


def collect_hang_evidence(
    machine: Machine,
    folder: Path,
    *,
    reason: str,
    breaker: Breaker | None = None,
    limits: HangLimits | None = None,
    display: bool = True,
    dump: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> HangEvidence:
    """Save the evidence of a hung guest, then end its VM. A step that fails raises nothing.

    Args:
        machine: The VM; afterwards its QEMU is gone, or the step ``kill`` says why it is not.
        folder: A folder for this hang alone; gets ``hang.png`` and ``hang.dmp`` or ``hang.elf``.
        reason: What did not answer and for how long.
        breaker: The kernel debugger, if one is connected.
        limits: Seconds for each step.
        display: The VM has a display.
        dump: Its memory is wanted.
        clock: Monotonic clock in seconds; it measures the steps.
    """
    limits = limits or HangLimits()
    ladder = Ladder(clock)
    kind: HangKind = "unknown"
    if display:
        ladder.take("screenshot", lambda: take_screenshot(machine, folder / "hang.png", limits.screenshot), limits.screenshot)
    else:
        ladder.leave_out("screenshot", "the guest has no display")
    if breaker:
        kind = ladder.take("break-in", lambda: _break_in(breaker, limits.break_in), limits.break_in).kind
    else:
        ladder.leave_out("break-in", "no kernel debugger is connected")
    bugcheck = None
    if kind == "soft":
        # The kernel is stopped in its debugger; a crash now would hide what it was doing.
        ladder.leave_out("nmi", "the kernel has stopped already, for the debugger")
    else:
        bugcheck = ladder.take("nmi", lambda: _nmi(machine, limits.nmi), limits.nmi).bugcheck
    if dump:
        ladder.take("dump", lambda: take_dump(machine, folder / "hang", limits.dump), limits.dump)
    else:
        ladder.leave_out("dump", "memory dumps are off")
    ladder.take("kill", lambda: _kill(machine), limits.kill)
    return HangEvidence(reason, kind, ladder.steps, bugcheck)


def take_screenshot(machine: Machine, target: Path, seconds: float) -> Outcome:
    """Save what the display shows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    file = machine.screendump(target, timeout=seconds)
    size = file.stat().st_size
    return Outcome(size > 0, f"{size} bytes", file)


def take_dump(machine: Machine, target: Path, seconds: float) -> Outcome:
    """Save the guest's memory; ``target`` is the file without its extension."""
    dump = dump_guest(machine, target, timeout=seconds)
    instead = f"; {'; '.join(dump.refused)}" if dump.refused else ""
    return Outcome(True, f"{dump.format}, {dump.size} bytes{instead}", dump.path)


def _break_in(breaker: Breaker, seconds: float) -> Outcome:
    if breaker.break_in(seconds):
        return Outcome(True, "the kernel stopped for its debugger", kind="soft")
    return Outcome(False, f"the kernel did not stop for its debugger within {seconds:g} s", kind="hard")


def _nmi(machine: Machine, seconds: float) -> Outcome:
    """Send an NMI. The step succeeds when QEMU has sent it; the guest's reaction is in the detail."""
    before = machine.qmp.event_count
    console = machine.console_tail(_CONSOLE_LINES).splitlines()
    deadline = time.monotonic() + seconds
    machine.qmp.execute("inject-nmi", timeout=seconds)
    try:
        event = machine.qmp.wait_event(_AFTER_NMI, timeout=max(0.0, deadline - time.monotonic()), after=before)
    except TransportError:
        said = _new_lines(console, machine.console_tail(_CONSOLE_LINES).splitlines())
        if said:
            return Outcome(True, f"sent; the guest's console said: {said}")
        return Outcome(True, f"sent; the guest showed no reaction within {seconds:g} s")
    if event.name != "GUEST_PANICKED":
        return Outcome(True, f"sent; QEMU reported the event {event.name} {dict(event.data)}")
    bugcheck = from_guest_panicked(event.data)
    return Outcome(True, f"sent; the guest reported {bugcheck or 'a panic without a code'}", bugcheck=bugcheck)


def _new_lines(before: list[str], after: list[str]) -> str:
    """What was added to the end of a console, in one line."""
    for common in range(len(after), -1, -1):
        # The last lines before are the first lines after, as far as they are still in the buffer.
        if common <= len(before) and before[len(before) - common :] == after[:common]:
            added = " / ".join(line.strip() for line in after[common:])
            return added if len(added) <= _LONGEST_QUOTE else added[: _LONGEST_QUOTE - 1] + "…"
    return ""


def _kill(machine: Machine) -> Outcome:
    machine.kill()
    if machine.alive:
        return Outcome(False, "QEMU still runs")
    return Outcome(True, "QEMU has ended")
