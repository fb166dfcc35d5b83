"""Supervisors that wait for a program to supervise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.errors import HostToolError
from lab.host.spare import Spare
from lab.vm.process import QemuProcess, WaitingSupervisor, read_status

Poll = Callable[..., None]
Gone = Callable[[int], bool]
FOREVER = ["sleep", "600"]


def pid_of(waiting: WaitingSupervisor) -> int:
    assert waiting._child is not None
    return waiting._child.pid


@pytest.fixture
def waiting() -> Iterator[WaitingSupervisor]:
    made = WaitingSupervisor()
    yield made
    made.close()


def test_a_waiting_supervisor_starts_and_supervises_a_program(tmp_path: Path, waiting: WaitingSupervisor) -> None:
    pid = pid_of(waiting)
    process = QemuProcess.start(["sh", "-c", 'echo "$1"; exec sleep 600', "sh", ""], tmp_path, waiting=waiting)
    try:
        assert process.supervisor_pid == pid
        assert process.alive
        assert read_status(tmp_path)["supervisor_pid"] == pid
        assert not waiting.alive
        waiting.close()  # it is in use: nothing happens
        assert process.alive
    finally:
        process.close()
    assert process.exit_code == -signal.SIGKILL


def test_arguments_arrive_as_they_are(tmp_path: Path, waiting: WaitingSupervisor) -> None:
    given = ["", "two words", "line\nbreak", "读", "a,b=c", "x" * 100_000]
    script = 'import sys; print(ascii(sys.argv[1:]), file=open("arguments", "w"))'
    process = QemuProcess.start([sys.executable, "-c", script, *given], tmp_path, waiting=waiting)
    try:
        assert process.wait(60)
        assert (tmp_path / "arguments").read_text().strip() == ascii(given)
    finally:
        process.close()


def test_a_supervisor_runs_on_this_python_and_nothing_of_its_environment(waiting: WaitingSupervisor) -> None:
    # The kernel shows no arguments for a moment after it has begun to execute a program.
    deadline = time.monotonic() + 30
    while not (line := Path(f"/proc/{pid_of(waiting)}/cmdline").read_bytes()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    command = line.split(b"\0")
    assert command[:3] == [os.fsencode(sys.executable), b"-I", b"-S"]
    assert Path(f"/proc/{pid_of(waiting)}/exe").resolve() == Path(sys.executable).resolve()


def test_closing_a_waiting_supervisor_ends_it(waiting: WaitingSupervisor, is_gone: Gone) -> None:
    pid = pid_of(waiting)
    assert waiting.alive
    waiting.close()
    waiting.close()
    assert is_gone(pid)
    assert not waiting.alive


def test_a_waiting_supervisor_is_used_once(tmp_path: Path, waiting: WaitingSupervisor) -> None:
    process = QemuProcess.start(FOREVER, tmp_path, waiting=waiting)
    try:
        with pytest.raises(ValueError, match="used only once"):
            waiting.request(["x"])
        with pytest.raises(ValueError, match="used only once"):
            QemuProcess.start(FOREVER, tmp_path, waiting=waiting)
        assert process.alive
    finally:
        process.close()


OWNER = """
import os, signal, sys
from lab.host.spare import Spare
from lab.vm.process import WaitingSupervisor

at_hand = Spare(WaitingSupervisor, "supervisor")
at_hand.refill()
waiting = WaitingSupervisor()
pids = [at_hand._waiting._child.pid, waiting._child.pid]
if sys.argv[1] == "forked":
    child = os.fork()
    if child == 0:
        signal.pause()
    pids.append(child)
os.write(1, (" ".join(map(str, pids)) + "\\n").encode())
signal.pause()
"""


@pytest.mark.parametrize("way", ["plain", "forked"])
def test_killing_the_owner_leaves_no_waiting_supervisor(way: str, wait_for: Poll, is_gone: Gone) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, way], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        first, second, *forks = (int(word) for word in owner.stdout.readline().split())
        assert not is_gone(first)
        assert not is_gone(second)
        owner.kill()
        owner.wait(60)
    try:
        for pid in (first, second):
            wait_for(lambda pid=pid: is_gone(pid), f"supervisor {pid} to end")
    finally:
        for fork in forks:
            os.kill(fork, signal.SIGKILL)


@pytest.fixture
def fork_of_the_owner() -> Iterator[Callable[[], None]]:
    """Starts a process that has all of this process's descriptors open, like a fork without an exec."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        fds = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
        pipes = []
        for fd in fds:
            try:
                if os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:"):  # noqa: PTH115
                    pipes.append(fd)
            except OSError:
                continue
        started.append(subprocess.Popen(FOREVER, pass_fds=pipes))

    yield start
    for process in started:
        process.kill()
        process.wait(60)


def test_a_fork_of_the_owner_that_holds_the_pipes_delays_nothing(
    tmp_path: Path, waiting: WaitingSupervisor, fork_of_the_owner: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.vm.process._START_SECONDS", 5.0)
    fork_of_the_owner()
    process = QemuProcess.start(FOREVER, tmp_path, waiting=waiting)
    try:
        assert process.alive
        process.kill()
        assert process.wait(60)
    finally:
        process.close()


def test_a_waiting_supervisor_ends_even_if_a_fork_of_the_owner_holds_its_pipes(
    waiting: WaitingSupervisor, fork_of_the_owner: Callable[[], None], is_gone: Gone, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork_of_the_owner()
    pid = pid_of(waiting)
    waited: list[float | None] = []
    wait = subprocess.Popen.wait

    def noted(child: Any, timeout: float | None = None) -> int:
        code = wait(child, timeout)
        waited.append(timeout)
        return code

    monkeypatch.setattr(subprocess.Popen, "wait", noted)
    waiting.close()
    assert is_gone(pid)
    assert len(waited) == 1  # the deadline, after which it would be killed, did not pass


def test_a_missing_run_folder_is_reported_and_leaves_no_process(
    tmp_path: Path, waiting: WaitingSupervisor, is_gone: Gone, open_fds: Callable[[], Iterable[str]]
) -> None:
    before = len(list(open_fds()))
    pid = pid_of(waiting)
    with pytest.raises(HostToolError, match=r"missing is not a folder to run in"):
        QemuProcess.start(FOREVER, tmp_path / "missing", waiting=waiting)
    assert is_gone(pid)
    assert len(list(open_fds())) == before - 3


def test_a_log_that_cannot_be_written_leaves_no_process(tmp_path: Path, waiting: WaitingSupervisor, is_gone: Gone) -> None:
    (tmp_path / "qemu.log").symlink_to(tmp_path / "no" / "folder")
    pid = pid_of(waiting)
    with pytest.raises(FileNotFoundError):
        QemuProcess.start(FOREVER, tmp_path, waiting=waiting)
    assert is_gone(pid)


def test_an_interruption_while_qemu_starts_leaves_no_process(
    tmp_path: Path, waiting: WaitingSupervisor, is_gone: Gone, wait_for: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_fd: int, _timeout: float) -> list[str]:
        wait_for(lambda: "qemu_pid" in read_status(tmp_path), "QEMU's start")
        raise KeyboardInterrupt

    monkeypatch.setattr("lab.vm.process._read_words", interrupted)
    pid = pid_of(waiting)
    with pytest.raises(KeyboardInterrupt):
        QemuProcess.start(FOREVER, tmp_path, waiting=waiting)
    assert is_gone(pid)
    assert is_gone(int(read_status(tmp_path)["qemu_pid"]))


def test_a_program_that_cannot_be_started_uses_the_supervisor_up(
    tmp_path: Path, waiting: WaitingSupervisor, is_gone: Gone
) -> None:
    pid = pid_of(waiting)
    with pytest.raises(HostToolError, match="no-such-program: No such file"):
        QemuProcess.start(["no-such-program"], tmp_path, waiting=waiting)
    assert is_gone(pid)


def test_a_relative_folder_is_relative_to_the_owners_current_folder(
    tmp_path: Path, waiting: WaitingSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)  # after the supervisor was started
    process = QemuProcess.start(["pwd"], Path("run"), waiting=waiting)
    try:
        assert process.wait(60)
        assert (tmp_path / "run" / "qemu.log").read_text().strip() == str((tmp_path / "run").resolve())
    finally:
        process.close()


def test_a_supervisor_that_was_killed_meanwhile_is_not_handed_out(wait_for: Poll, is_gone: Gone) -> None:
    at_hand = Spare(WaitingSupervisor, "supervisor")
    at_hand.refill()
    assert at_hand._waiting is not None
    pid = pid_of(at_hand._waiting)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_gone(pid), "the supervisor to end")
    assert at_hand.take() is None
    at_hand.close()


def test_without_a_process_no_supervisor_is_ready(
    monkeypatch: pytest.MonkeyPatch, open_fds: Callable[[], Iterable[str]]
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    before = len(list(open_fds()))
    at_hand = Spare(WaitingSupervisor, "supervisor")
    at_hand.refill()
    assert at_hand.take() is None
    at_hand.close()
    assert len(list(open_fds())) == before
