"""What is saved of a guest that does not answer any more, before its virtual machine is ended.

The ladder: screen shot, debugger break-in, NMI, memory dump, kill. Each step has its own deadline and none depends on the
success of the one before, because what exactly is broken is not known when it begins.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from lab.crash.bugcheck import Bugcheck, from_guest_panicked
from lab.crash.hostdump import DumpSource, dump_guest
from lab.errors import LabError, TransportError

HangKind: TypeAlias = Literal["soft", "hard", "unknown"]
#: What a guest may do about an NMI, as QEMU tells it.
_AFTER_NMI = ("GUEST_PANICKED", "GUEST_CRASHLOADED", "RESET", "SHUTDOWN")
#: A step that ignores its own deadline is given up after this many seconds more.
_GRACE_S = 2.0


class Breaker(Protocol):
    """A connected kernel debugger."""

    def break_in(self, timeout: float) -> bool:
        """Ask the kernel to stop; False when it did not within the timeout, in seconds."""


class HungMachine(DumpSource, Protocol):
    """What of :class:`lab.vm.machine.VirtualMachine` is needed here."""

    @property
    def alive(self) -> bool:
        """QEMU runs."""

    def screendump(self, target: Path, *, timeout: float = 10.0) -> Path:
        """Take a screen shot."""

    def kill(self) -> None:
        """End QEMU at once."""


@dataclass(frozen=True, slots=True)
class HangLimits:
    """Seconds for each step.

    Attributes:
        screenshot: For the picture.
        break_in: Until the kernel must have stopped; a live one does so at once.
        nmi: What the guest may take to react to an NMI: Windows stops with bugcheck 0x80.
        dump: For the memory dump, some seconds for each GiB.
        kill: For the end of QEMU.
    """

    screenshot: float = 10.0
    break_in: float = 5.0
    nmi: float = 5.0
    dump: float = 180.0
    kill: float = 15.0


@dataclass(frozen=True, slots=True)
class HangStep:
    """One step of the ladder.

    Attributes:
        name: ``screenshot``, ``break-in``, ``nmi``, ``dump`` or ``kill``.
        seconds: What it took.
        ok: It did what it is for.
        detail: What came of it, or why it failed or was left out.
        file: The file that it made; None: none.
    """

    name: str
    seconds: float
    ok: bool
    detail: str
    file: Path | None = None

    def __str__(self) -> str:
        return f"{self.name}: {'ok' if self.ok else 'failed'} after {self.seconds:.1f} s: {self.detail}"


@dataclass(frozen=True, slots=True)
class HangEvidence:
    """What is known of a hang.

    Attributes:
        reason: What did not answer, as the caller said it.
        kind: ``soft``: the kernel still obeys its debugger, so a thread hangs. ``hard``: it does not, so interrupts are off
            or a processor spins. ``unknown``: no debugger was there to ask, or asking failed.
        steps: The steps in the order in which they were taken.
        bugcheck: What the guest reported after the NMI; None when it reported none.
    """

    reason: str
    kind: HangKind
    steps: tuple[HangStep, ...]
    bugcheck: Bugcheck | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that was made."""
        return tuple(step.file for step in self.steps if step.file)

    def step(self, name: str) -> HangStep:
        """The step of that name."""
        return next(step for step in self.steps if step.name == name)

    def __str__(self) -> str:
        lines = [f"the guest hangs ({self.kind}): {self.reason}", *(f"  {step}" for step in self.steps)]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Outcome:
    ok: bool
    detail: str
    file: Path | None = None
    kind: HangKind = "unknown"
    bugcheck: Bugcheck | None = None


def collect_hang_evidence(
    machine: HungMachine,
    folder: Path,
    *,
    reason: str,
    breaker: Breaker | None = None,
    limits: HangLimits | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> HangEvidence:
    """Save what a hung guest has to say, then end its virtual machine. Never raises over a step that fails.

    Args:
        machine: The virtual machine; afterwards its QEMU is gone, or the step ``kill`` says why it is not.
        folder: A folder for this hang alone; gets ``hang.png`` and ``hang.dmp`` or ``hang.elf``.
        reason: What did not answer and for how long.
        breaker: The kernel debugger, if one is connected.
        limits: Seconds for each step.
        clock: Monotonic clock in seconds; it measures the steps.
    """
    limits = limits or HangLimits()
    steps: list[HangStep] = []
    kind: HangKind = "unknown"

    def take(name: str, work: Callable[[], _Outcome], seconds: float) -> _Outcome:
        before = clock()
        outcome = _bounded(work, seconds + _GRACE_S)
        steps.append(HangStep(name, clock() - before, outcome.ok, outcome.detail, outcome.file))
        return outcome

    take("screenshot", lambda: _screenshot(machine, folder, limits.screenshot), limits.screenshot)
    if breaker:
        kind = take("break-in", lambda: _break_in(breaker, limits.break_in), limits.break_in).kind
    else:
        steps.append(HangStep("break-in", 0.0, False, "left out: no kernel debugger is connected"))
    bugcheck = None
    if kind == "soft":
        # The kernel stands still for its debugger; a crash now would only cover up what it was doing.
        steps.append(HangStep("nmi", 0.0, False, "left out: the kernel has stopped already, for the debugger"))
    else:
        bugcheck = take("nmi", lambda: _nmi(machine, limits.nmi), limits.nmi).bugcheck
    take("dump", lambda: _dump(machine, folder, limits.dump), limits.dump)
    take("kill", lambda: _kill(machine), limits.kill)
    return HangEvidence(reason, kind, tuple(steps), bugcheck)


def _bounded(work: Callable[[], _Outcome], seconds: float) -> _Outcome:
    """Run a step in a thread of its own, which is left behind when it does not end in time."""
    outcomes: list[_Outcome] = []

    def run() -> None:
        try:
            outcomes.append(work())
        except LabError as error:
            outcomes.append(_Outcome(False, " ".join(error.message.split())))
        except Exception as error:
            # A fault of the lab's own, too, must not cost the evidence of the steps that follow.
            outcomes.append(_Outcome(False, f"{type(error).__name__}: {error}"))

    thread = threading.Thread(target=run, name="hang-step", daemon=True)
    thread.start()
    thread.join(seconds)
    return outcomes[0] if outcomes else _Outcome(False, f"did not end within {seconds:g} s")


def _screenshot(machine: HungMachine, folder: Path, seconds: float) -> _Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    file = machine.screendump(folder / "hang.png", timeout=seconds)
    size = file.stat().st_size
    return _Outcome(size > 0, f"{size} bytes", file)


def _break_in(breaker: Breaker, seconds: float) -> _Outcome:
    if breaker.break_in(seconds):
        return _Outcome(True, "the kernel stopped for its debugger", kind="soft")
    return _Outcome(False, f"the kernel did not stop for its debugger within {seconds:g} s", kind="hard")


def _nmi(machine: HungMachine, seconds: float) -> _Outcome:
    """Success is that QEMU sent it; what the guest made of it is in the detail."""
    before = machine.qmp.event_count
    deadline = time.monotonic() + seconds
    machine.qmp.execute("inject-nmi", timeout=seconds)
    try:
        event = machine.qmp.wait_event(_AFTER_NMI, timeout=max(0.0, deadline - time.monotonic()), after=before)
    except TransportError:
        return _Outcome(True, f"sent; the guest showed no reaction within {seconds:g} s")
    if event.name != "GUEST_PANICKED":
        return _Outcome(True, f"sent; then came the event {event.name} {dict(event.data)}")
    bugcheck = from_guest_panicked(event.data)
    return _Outcome(True, f"sent; the guest reported {bugcheck or 'a panic without a code'}", bugcheck=bugcheck)


def _dump(machine: HungMachine, folder: Path, seconds: float) -> _Outcome:
    dump = dump_guest(machine, folder / "hang", timeout=seconds)
    instead = f"; {'; '.join(dump.refused)}" if dump.refused else ""
    return _Outcome(True, f"{dump.format}, {dump.size} bytes{instead}", dump.path)


def _kill(machine: HungMachine) -> _Outcome:
    machine.kill()
    if machine.alive:
        return _Outcome(False, "QEMU still runs")
    return _Outcome(True, "QEMU has ended")
