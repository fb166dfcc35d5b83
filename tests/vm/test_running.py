"""A VM with a virtual clock runs during a wait for its guest, and is stopped otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.errors import GuestExited, TransportError
from lab.vm.argv import build_argv
from lab.vm.machine import VirtualMachine
from lab.vm.qmp import CommandRefused
from lab.vm.running import RunGate
from lab.vm.spec import VmSpec


class Processors:
    """Virtual CPUs that record their commands."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def gate(self) -> RunGate:
        return RunGate("g", lambda: self.told.append("cont"), lambda: self.told.append("stop"))


def test_the_first_wait_starts_the_vm_and_the_last_stops_it() -> None:
    cpus = Processors()
    gate = cpus.gate()
    with gate.running():
        with gate.running():
            assert cpus.told == ["cont"]
        assert cpus.told == ["cont"]
    assert cpus.told == ["cont", "stop"]
    with gate.running():
        pass
    assert cpus.told == ["cont", "stop"] * 2


def test_it_stops_after_a_wait_that_failed() -> None:
    cpus = Processors()
    with pytest.raises(ValueError, match="the test's own"), cpus.gate().running():
        raise ValueError("the test's own")
    assert cpus.told == ["cont", "stop"]


def test_two_threads_that_wait_at_once_keep_it_running() -> None:
    cpus = Processors()
    gate = cpus.gate()
    inside, leave = threading.Event(), threading.Event()

    def wait() -> None:
        with gate.running():
            inside.set()
            leave.wait(30)

    other = threading.Thread(target=wait)
    with gate.running():
        other.start()
        assert inside.wait(30)
    assert cpus.told == ["cont"], "the other one still waits for it"
    leave.set()
    other.join(30)
    assert cpus.told == ["cont", "stop"]


def test_the_end_of_a_vm_is_noticed_by_the_wait_and_not_by_the_gate() -> None:
    def gone() -> None:
        raise GuestExited("QEMU was killed")

    done = False
    with RunGate("g", gone, gone).running():
        done = True
    assert done


@pytest.mark.parametrize(("clock", "options"), [(None, []), (0, ["shift=0,sleep=off"]), (3, ["shift=3,sleep=off"])])
def test_a_virtual_clock_is_an_argument_of_qemu(clock: int | None, options: list[str]) -> None:
    argv = build_argv(VmSpec(virtual_clock=clock))
    assert [argv[index + 1] for index, item in enumerate(argv) if item == "-icount"] == options


def test_a_real_qemu_is_stopped_outside_and_its_stops_are_not_in_the_history(
    tmp_path: Path, make_rom: Callable[..., Path], asm: Any, wait_for: Callable[..., None]
) -> None:
    spec = VmSpec(name="tiny", bios=make_rom(asm.say("ready")), memory_mb=32, virtual_clock=0)
    with VirtualMachine(spec, tmp_path / "run") as machine:
        machine.start()
        with machine.running():
            wait_for(lambda: machine.console_tail() == "ready", "the console line")
            assert machine.status == "running"
        assert machine.status == "paused"
        with machine.running():
            assert machine.status == "running"
        assert machine.history() == []
        assert [event.name for event in machine.qmp.events()] == []


def test_a_real_clock_never_stops(tmp_path: Path, make_rom: Callable[..., Path]) -> None:
    with VirtualMachine(VmSpec(name="tiny", bios=make_rom(), memory_mb=32), tmp_path / "run") as machine:
        machine.start()
        with machine.running():
            pass
        assert machine.status == "running"


def test_an_interruption_while_it_is_let_run_leaves_no_one_that_waits() -> None:
    told: list[str] = []

    def cont() -> None:
        told.append("cont")
        if len(told) == 1:
            raise KeyboardInterrupt

    gate = RunGate("g", cont, lambda: told.append("stop"))
    with pytest.raises(KeyboardInterrupt), gate.running():
        raise AssertionError("entered")
    with gate.running():  # as when its end is tidied up
        assert told == ["cont", "cont"]
    assert told == ["cont", "cont", "stop"]


def test_an_unanswered_cont_is_an_error_of_the_transport() -> None:
    def silent() -> None:
        raise TransportError("QEMU's monitor did not answer cont within 10 s")

    with pytest.raises(TransportError, match="did not answer cont"), RunGate("g", silent, silent).running():
        raise AssertionError("a time-out in here would look like the driver's")


def test_a_vm_that_qemu_does_not_let_run_is_found_by_what_waits() -> None:
    def refused() -> None:
        raise CommandRefused("cont", "GenericError", "Resetting the Virtual Machine is required")

    done = False
    with RunGate("g", refused, lambda: None).running():
        done = True
    assert done
