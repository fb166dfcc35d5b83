"""What is saved of a crashed guest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.crash.bugcheck import Bugcheck
from lab.crash.collect import collect_crash_evidence
from lab.crash.dump import read_dump_header
from lab.crash.steps import Step
from tests.crash.conftest import dump64
from tests.crash.fakes import FakeMachine, done

CRASH = Bugcheck(0xD1, (0xFFFFD00012345678, 2, 1, 0xFFFFF80212345678))


def steps_of(machine: FakeMachine, folder: Path, *, bugcheck: Bugcheck | None = None, dump: bool = True) -> dict[str, Step]:
    steps = collect_crash_evidence(machine, folder, events=machine.qmp.events(), display=True, dump=dump, bugcheck=bugcheck)
    return {step.name: step for step in steps}


def windows_machine() -> FakeMachine:
    data = dump64() + bytes(4096)
    return FakeMachine({"win-dmp": (data, done(len(data)))})


def test_everything_is_saved_and_the_header_agrees(tmp_path: Path) -> None:
    machine = windows_machine()
    machine.qmp.happen("GUEST_PANICKED", {"action": "run"})
    steps = steps_of(machine, tmp_path / "evidence", bugcheck=CRASH)
    assert list(steps) == ["screenshot", "dump", "dump-header", "console", "events"]
    assert all(step.ok for step in steps.values())
    names = sorted(step.file.name for step in steps.values() if step.file)
    assert names == ["console.txt", "crash.png", "memory.dmp", "qmp-events.jsonl"]
    assert "as the guest reported; build 19041" in steps["dump-header"].detail
    assert (tmp_path / "evidence" / "console.txt").read_text() == "Linux boots\nlogin:\n"
    [line] = (tmp_path / "evidence" / "qmp-events.jsonl").read_text().splitlines()
    assert json.loads(line)["event"] == "GUEST_PANICKED"


def test_a_header_that_disagrees_is_reported(tmp_path: Path) -> None:
    steps = steps_of(windows_machine(), tmp_path, bugcheck=Bugcheck(0x50, (1, 2, 1, 0xFFFFF80212345678)))
    assert not steps["dump-header"].ok
    detail = steps["dump-header"].detail
    assert "code 0x000000D1, but 0x00000050" in detail
    assert "parameter 1 0xffffd00012345678, but 0x1" in detail
    assert "parameter 2" not in detail


def test_a_vm_that_has_ended_leaves_console_and_events(tmp_path: Path) -> None:
    machine = windows_machine()
    machine.alive = False
    steps = steps_of(machine, tmp_path)
    assert steps["dump"].skipped
    assert steps["screenshot"].detail == "left out: QEMU has ended"
    assert steps["console"].ok
    assert steps["events"].ok
    assert machine.qmp.commands == []


def test_a_dump_that_was_not_asked_for_is_not_taken(tmp_path: Path) -> None:
    machine = windows_machine()
    steps = steps_of(machine, tmp_path, dump=False)
    assert "memory dumps are off" in steps["dump"].detail
    assert machine.qmp.commands == []


def test_a_dump_never_fills_the_disk(tmp_path: Path) -> None:
    machine = windows_machine()
    machine.qmp.memory = 1 << 60
    steps = steps_of(machine, tmp_path)
    assert not steps["dump"].ok
    assert "do not fit into" in steps["dump"].detail
    assert machine.qmp.commands == []


@pytest.mark.parametrize(("code", "agrees"), [(0x7E, True), (0x1000007E, True), (0x7F, False)])
def test_the_bit_of_a_small_dump_and_sign_extension_do_not_count_as_a_difference(
    make_dump: Callable[..., Path], code: int, agrees: bool
) -> None:
    header = read_dump_header(make_dump(32))
    said = header.disagreement(code, (0xFFFFFFFFC0000005, 0xFFFFFFFF804E1234, 0xF8A1, 0xF7A1))
    assert (said == "") is agrees


def test_a_dump_of_a_running_system_contradicts_a_crash(make_dump: Callable[..., Path]) -> None:
    assert "has no crash" in read_dump_header(make_dump(code=0x161)).disagreement(0xD1, ())
