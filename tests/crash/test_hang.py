"""The ladder of a hang: what is saved, and that no broken step prevents the next ones."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest

from lab.crash import steps as steps_module
from lab.crash.hang import HangLimits, collect_hang_evidence
from lab.errors import GuestExited
from tests.crash.fakes import FakeClock, FakeMachine

STEPS = ["screenshot", "break-in", "nmi", "dump", "kill"]
CODE_80 = {"type": "hyper-v", "arg1": 0x80, "arg2": 0x4F4454, "arg3": 0, "arg4": 0, "arg5": 0}


class FakeBreaker:
    def __init__(self, answer: bool | Exception) -> None:
        self.answer = answer
        self.timeouts: list[float] = []

    def break_in(self, timeout: float) -> bool:
        self.timeouts.append(timeout)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_every_step_is_taken_in_order(tmp_path: Path) -> None:
    machine = FakeMachine()
    evidence = collect_hang_evidence(machine, tmp_path / "hang", reason="no answer for 60 s")
    assert [step.name for step in evidence.steps] == STEPS
    assert [step.ok for step in evidence.steps] == [True, False, True, True, True]
    assert evidence.files == (tmp_path / "hang" / "hang.png", tmp_path / "hang" / "hang.dmp")
    assert all(file.is_file() for file in evidence.files)
    assert (evidence.kind, evidence.bugcheck) == ("unknown", None)
    assert machine.qmp.commands == ["inject-nmi", "dump-guest-memory win-dmp"]
    assert not machine.alive
    text = str(evidence)
    assert text.startswith("the guest hangs (unknown): no answer for 60 s\n  screenshot: ok after 0.0 s: 4 bytes")
    with pytest.raises(dataclasses.FrozenInstanceError):
        evidence.kind = "hard"  # type: ignore[misc]


def test_a_kernel_that_obeys_its_debugger_hangs_softly_and_gets_no_nmi(tmp_path: Path) -> None:
    machine, breaker = FakeMachine(), FakeBreaker(True)
    evidence = collect_hang_evidence(machine, tmp_path, reason="r", breaker=breaker, limits=HangLimits(break_in=3))
    assert evidence.kind == "soft"
    assert breaker.timeouts == [3]
    assert "left out" in evidence.step("nmi").detail
    assert machine.qmp.commands == ["dump-guest-memory win-dmp"]


def test_a_kernel_that_ignores_its_debugger_hangs_hard_and_reports_the_nmi(tmp_path: Path) -> None:
    machine = FakeMachine()
    machine.qmp.after_nmi = (("GUEST_PANICKED", {"action": "run", "info": CODE_80}),)
    evidence = collect_hang_evidence(machine, tmp_path, reason="r", breaker=FakeBreaker(False))
    assert evidence.kind == "hard"
    assert evidence.bugcheck is not None
    assert (evidence.bugcheck.code, evidence.bugcheck.parameters[0]) == (0x80, 0x4F4454)
    assert "NMI_HARDWARE_FAILURE" in evidence.step("nmi").detail


def test_other_reactions_to_the_nmi(tmp_path: Path) -> None:
    machine = FakeMachine()
    machine.qmp.after_nmi = (("RESET", {"guest": True, "reason": "guest-reset"}),)
    evidence = collect_hang_evidence(machine, tmp_path / "a", reason="r")
    assert "RESET" in evidence.step("nmi").detail
    machine = FakeMachine()
    machine.qmp.after_nmi = (("GUEST_PANICKED", {"action": "run"}),)
    evidence = collect_hang_evidence(machine, tmp_path / "b", reason="r")
    assert evidence.step("nmi").detail == "sent; the guest reported a panic without a code"


def test_a_debugger_that_fails_leaves_the_kind_of_hang_unknown(tmp_path: Path) -> None:
    evidence = collect_hang_evidence(FakeMachine(), tmp_path, reason="r", breaker=FakeBreaker(OSError("connection reset")))
    assert evidence.kind == "unknown"
    assert evidence.step("break-in").detail == "OSError: connection reset"
    assert evidence.step("dump").ok


def test_no_failing_step_stops_the_following_ones(tmp_path: Path) -> None:
    machine = FakeMachine()

    def gone(*_: object) -> Path:
        raise GuestExited("QEMU is gone\n  last lines", hint="x")

    machine.picture = gone
    machine.qmp.answers = {"inject-nmi": gone, "dump-guest-memory": gone}
    machine.immortal = True
    evidence = collect_hang_evidence(machine, tmp_path, reason="r", breaker=FakeBreaker(False))
    assert [step.name for step in evidence.steps] == STEPS
    assert not any(step.ok for step in evidence.steps)
    assert evidence.step("dump").detail == "QEMU is gone last lines"
    assert evidence.step("kill").detail == "QEMU still runs"
    assert evidence.files == ()


def test_a_step_that_ignores_its_deadline_is_abandoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = steps_module.bounded
    monkeypatch.setattr(steps_module, "bounded", lambda work, seconds: real(work, seconds - steps_module.GRACE_S))
    machine, release = FakeMachine(), threading.Event()

    def stuck(target: Path) -> Path:
        release.wait(60)
        return target

    machine.picture = stuck
    try:
        evidence = collect_hang_evidence(machine, tmp_path, reason="r", limits=HangLimits(screenshot=0.05))
    finally:
        release.set()
    assert evidence.step("screenshot").detail == "did not end within 0.05 s"
    assert evidence.step("dump").ok
    assert evidence.step("kill").ok


def test_the_clock_measures_each_step(tmp_path: Path) -> None:
    clock, machine = FakeClock(), FakeMachine()

    def slow(target: Path) -> Path:
        clock.now += 1.5
        target.write_bytes(b"\x89PNG")
        return target

    machine.picture = slow
    evidence = collect_hang_evidence(machine, tmp_path, reason="r", clock=clock)
    assert [step.seconds for step in evidence.steps] == [1.5, 0, 0, 0, 0]


def test_what_linux_says_about_the_nmi_is_quoted(tmp_path: Path) -> None:
    machine = FakeMachine()
    machine.qmp.said_after_nmi = ["[   9.1] Uhhuh. NMI received for unknown reason 30 on CPU 0.", "[   9.1] Dazed and confused"]
    evidence = collect_hang_evidence(machine, tmp_path, reason="r")
    assert evidence.step("nmi").detail == (
        "sent; the guest's console said: [   9.1] Uhhuh. NMI received for unknown reason 30 on CPU 0. "
        "/ [   9.1] Dazed and confused"
    )


def test_steps_that_are_not_wanted_are_recorded_as_such(tmp_path: Path) -> None:
    machine = FakeMachine()
    evidence = collect_hang_evidence(machine, tmp_path, reason="r", display=False, dump=False)
    assert [step.name for step in evidence.steps] == STEPS
    assert [step.skipped for step in evidence.steps] == [True, True, False, True, False]
    assert str(evidence.step("dump")) == "dump: left out: memory dumps are off"
    assert not machine.alive
