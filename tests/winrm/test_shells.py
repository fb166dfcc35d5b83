"""Shells and their table, with a fake clock and a launcher of idle processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from labwinrm.faults import SHELL_NOT_FOUND, TOO_MANY_SHELLS, WsmanFault
from labwinrm.processes import StartError, StartRequest
from labwinrm.shells import MAX_COMMANDS, ShellSettings, ShellTable


class IdleProcess:
    """Runs until it is ended."""

    def __init__(self) -> None:
        self.far_stdin, self.stdin = os.pipe()
        self.stdout, self.far_stdout = os.pipe()
        self.stderr, self.far_stderr = os.pipe()
        self.exit_fd = os.eventfd(0)
        self.code: int | None = None
        self.interrupts: list[bool] = []
        self.released = 0

    def exit_code(self) -> int | None:
        return self.code

    def interrupt(self, *, hard: bool) -> None:
        self.interrupts.append(hard)

    def end(self, code: int) -> None:
        self.code = code
        os.eventfd_write(self.exit_fd, 1)

    def terminate(self) -> None:
        self.end(1)

    def release(self) -> None:
        self.released += 1
        for descriptor in (self.far_stdin, self.far_stdout, self.far_stderr, self.exit_fd):
            os.close(descriptor)


class IdleLauncher:
    def __init__(self) -> None:
        self.started: list[StartRequest] = []
        self.processes: list[IdleProcess] = []
        self.ended: list[str] = []

    def start(self, request: StartRequest) -> IdleProcess:
        if request.command == "missing":
            raise StartError(2, "no such program")
        self.started.append(request)
        self.processes.append(IdleProcess())
        return self.processes[-1]

    def end_shell(self, shell: str) -> None:
        self.ended.append(shell)

    def close(self) -> None:
        pass


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Lab:
    def __init__(self) -> None:
        self.clock = Clock()
        self.launcher = IdleLauncher()
        self.table = ShellTable(self.launcher, max_shells=3, exit_grace_s=0.1, clock=self.clock)


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.table.close()


def settings(**changes: float) -> ShellSettings:
    return ShellSettings(owner="me", client="here", **changes)  # type: ignore[arg-type]


def test_idle_shells_are_reaped_and_busy_ones_are_not(lab: Lab) -> None:
    idle, busy = lab.table.create(settings(idle_timeout_s=60)), lab.table.create(settings(idle_timeout_s=60))
    with busy:
        lab.clock.now += 59.9
        assert lab.table.reap() == 0
        lab.clock.now += 0.1
        assert (idle.idle_s, busy.idle_s) == (60, 0)
        assert lab.table.reap() == 1
    assert lab.launcher.ended == [idle.identifier]
    lab.clock.now += 59
    assert lab.table.get(busy.identifier.lower()) is busy
    lab.clock.now += 1
    assert lab.table.reap() == 1
    with pytest.raises(WsmanFault) as caught:
        lab.table.get(busy.identifier)
    assert caught.value.kind is SHELL_NOT_FOUND


def test_a_life_time_ends_a_busy_shell_too(lab: Lab) -> None:
    shell = lab.table.create(settings(lifetime_s=10))
    process_count = 2
    for _ in range(process_count):
        shell.start(StartRequest(command="x"))
    with shell:
        lab.clock.now += 10
        assert lab.table.reap() == 1
    assert [process.released for process in lab.launcher.processes] == [1, 1]
    with pytest.raises(WsmanFault):
        shell.start(StartRequest(command="x"))


def test_a_new_shell_makes_room_by_reaping(lab: Lab) -> None:
    for _ in range(3):
        lab.table.create(settings(idle_timeout_s=60))
    with pytest.raises(WsmanFault) as caught:
        lab.table.create(settings())
    assert caught.value.kind is TOO_MANY_SHELLS
    lab.clock.now += 60
    lab.table.create(settings())
    assert len(lab.table.all()) == 1


def test_identifiers(lab: Lab) -> None:
    shell = lab.table.create(settings(), "c0ffee00-0000-4000-8000-000000000001")
    assert shell.identifier == "C0FFEE00-0000-4000-8000-000000000001"
    for wrong in (shell.identifier.lower(), "no uuid"):
        with pytest.raises(WsmanFault) as caught:
            lab.table.create(settings(), wrong)
        assert caught.value.kind.code == 87
    command = shell.start(StartRequest(command="x"), "abc")
    assert shell.command("ABC") is command
    with pytest.raises(WsmanFault):
        shell.start(StartRequest(command="x"), "Abc")


def test_a_start_that_fails_is_a_fault_with_windows_number(lab: Lab) -> None:
    shell = lab.table.create(settings())
    with pytest.raises(WsmanFault) as caught:
        shell.start(StartRequest(command="missing"))
    assert (caught.value.kind.code, caught.value.message) == (2, "no such program")


def test_ending_a_command_forgets_it(lab: Lab) -> None:
    shell = lab.table.create(settings())
    command = shell.start(StartRequest(command="x"))
    command.interrupt(hard=True)
    shell.end_command(command.identifier)
    command.close()
    assert lab.launcher.processes[0].released == 1
    assert lab.launcher.processes[0].interrupts == [True]
    with pytest.raises(WsmanFault):
        shell.command(command.identifier)


def test_the_number_of_commands_is_limited(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_COMMANDS == 1500
    monkeypatch.setattr("labwinrm.shells.MAX_COMMANDS", 2)
    shell = lab.table.create(settings())
    shell.start(StartRequest(command="x"))
    shell.start(StartRequest(command="x"))
    with pytest.raises(WsmanFault) as caught:
        shell.start(StartRequest(command="x"))
    assert caught.value.kind.code == 2150859174
