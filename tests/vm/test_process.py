"""QEMU's supervisor, with a shell as a double of QEMU."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.errors import HostToolError
from lab.vm.process import LOG_FILE, QemuProcess, read_status

Poll = Callable[..., None]
Gone = Callable[[int], bool]
FOREVER = ["sleep", "600"]


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def test_exit_code_and_messages_are_kept(tmp_path: Path) -> None:
    process = QemuProcess.start(shell("echo out; echo err >&2; pwd; exit 7"), tmp_path)
    try:
        assert process.wait(60)
        assert not process.alive
        assert process.exit_code == 7
        assert (tmp_path / LOG_FILE).read_text().splitlines() == ["out", "err", str(tmp_path.resolve())]
        status = read_status(tmp_path)
        assert (status["reason"], status["qemu_pid"]) == ("exit", process.pid)
    finally:
        process.close()


def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(HostToolError, match="no-such-program: No such file"):
        QemuProcess.start(["no-such-program"], tmp_path)
    with pytest.raises(HostToolError, match="Permission denied"):
        QemuProcess.start([str(tmp_path)], tmp_path)


def test_waiting_has_a_deadline(tmp_path: Path) -> None:
    process = QemuProcess.start(FOREVER, tmp_path)
    try:
        assert process.alive
        assert process.exit_code is None
        started = time.monotonic()
        assert not process.wait(0.05)
        assert time.monotonic() - started >= 0.05
    finally:
        process.close()
    assert process.exit_code == -signal.SIGKILL


def test_close_kills_the_whole_group(tmp_path: Path, wait_for: Poll, is_gone: Gone) -> None:
    """A migration's command is a child of QEMU, and must end with it."""
    process = QemuProcess.start(shell("sleep 600 & echo $! > child; wait"), tmp_path)
    child = tmp_path / "child"
    wait_for(lambda: child.exists() and child.read_text().strip(), "the child's pid")
    process.close()
    process.close()
    assert is_gone(process.pid)
    wait_for(lambda: is_gone(int(child.read_text())), "the child to end")


def test_kill_ends_qemu_at_once(tmp_path: Path, wait_for: Poll) -> None:
    process = QemuProcess.start(shell("trap '' TERM; touch ready; while :; do sleep 600 & wait; done"), tmp_path)
    try:
        wait_for((tmp_path / "ready").exists, "the trap")
        process.kill()
        assert process.wait(60)
        assert process.exit_code == -signal.SIGKILL
        assert read_status(tmp_path)["reason"] == "killed"
    finally:
        process.close()


def test_terminate_sends_sigterm_first(tmp_path: Path, wait_for: Poll) -> None:
    script = "trap 'echo flushed; exit 3' TERM; touch ready; while :; do sleep 600 & wait; done"
    process = QemuProcess.start(shell(script), tmp_path)
    try:
        wait_for((tmp_path / "ready").exists, "the trap")
        process.terminate()
        assert process.wait(60)
        assert process.exit_code == 3
        assert "flushed" in (tmp_path / LOG_FILE).read_text()
        assert read_status(tmp_path)["reason"] == "stopped"
    finally:
        process.close()


OWNER = """
import os, signal, sys, time
from pathlib import Path
from lab.vm.process import QemuProcess

# A shell without job control starts its background jobs with SIGINT ignored, and that is inherited down to here.
signal.signal(signal.SIGINT, signal.default_int_handler)

process = QemuProcess.start(["sleep", "600"], Path(sys.argv[1]))
if sys.argv[2] == "detached":
    process.detach()
if sys.argv[2] == "forked" and os.fork() == 0:
    # A child that has everything its parent had open, and lives on.
    # One write each: two processes share the pipe, and an unbuffered print writes its newline by itself.
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(600)
else:
    os.write(1, f"{process.pid} {process.supervisor_pid}\\n".encode())
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_survives_the_owner(tmp_path: Path, wait_for: Poll, is_gone: Gone, number: signal.Signals) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path), "plain"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as owner:
        assert owner.stdout
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        assert not any(is_gone(pid) for pid in pids)
        owner.send_signal(number)
        owner.wait(60)
    for pid in pids:
        wait_for(lambda pid=pid: is_gone(pid), f"process {pid} to end")
    wait_for(lambda: read_status(tmp_path).get("reason") == "owner ended", "the supervisor's last words")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_detached_qemu_survives_any_end_of_its_starter(tmp_path: Path, wait_for: Poll, is_gone: Gone, number: int) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path), "detached"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as owner:
        assert owner.stdout
        pid, supervisor_pid = (int(word) for word in owner.stdout.readline().split())
        owner.send_signal(number)
        owner.wait(60)
    try:
        wait_for(lambda: read_status(tmp_path).get("detached"), "the supervisor to note it")
        found = QemuProcess.attach(tmp_path)
        assert found
        assert (found.pid, found.supervisor_pid, found.alive) == (pid, supervisor_pid, True)
        found.terminate()
        assert found.wait(60)
        assert found.exit_code == -signal.SIGTERM
    finally:
        if not is_gone(supervisor_pid):
            os.kill(supervisor_pid, signal.SIGUSR1)
    assert is_gone(pid)


def test_an_end_before_detaching_leaves_nothing_to_detach(tmp_path: Path) -> None:
    process = QemuProcess.start(shell("exit 7"), tmp_path)
    assert process.wait(60)
    process.detach()
    assert (process.alive, process.exit_code) == (False, 7)
    process.close()


def test_a_fork_of_the_owner_does_not_keep_qemu_alive(tmp_path: Path, wait_for: Poll, is_gone: Gone) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path), "forked"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        lines = sorted((owner.stdout.readline().split() for _ in range(2)), key=len)
        (forked,), pids = lines
        owner.kill()
        owner.wait(60)
    try:
        assert not is_gone(int(forked))
        for pid in pids:
            wait_for(lambda pid=int(pid): is_gone(pid), f"process {pid} to end")
    finally:
        os.kill(int(forked), signal.SIGKILL)


def test_qemu_survives_the_thread_that_started_it_but_not_the_supervisor(tmp_path: Path, wait_for: Poll, is_gone: Gone) -> None:
    started: list[QemuProcess] = []
    thread = threading.Thread(target=lambda: started.append(QemuProcess.start(FOREVER, tmp_path)))
    thread.start()
    thread.join(60)
    process = started[0]
    try:
        assert not process.wait(0.2)
        os.kill(process.supervisor_pid, signal.SIGKILL)
        wait_for(lambda: is_gone(process.pid), "QEMU to end with its supervisor")
        assert process.exit_code is None
    finally:
        process.close()


def test_the_supervisor_holds_the_lock_and_qemu_inherits_nothing(tmp_path: Path, wait_for: Poll) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    process = QemuProcess.start(FOREVER, tmp_path, lock_file=lock)
    try:
        with lock.open() as mine, pytest.raises(BlockingIOError):
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its loader opens libraries while it starts.
        wait_for(lambda: sorted(os.listdir(f"/proc/{process.pid}/fd")) == ["0", "1", "2"], "its own files alone")  # noqa: PTH208
    finally:
        process.close()
    with lock.open() as mine:
        fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_attach_finds_only_what_still_runs(tmp_path: Path) -> None:
    assert QemuProcess.attach(tmp_path) is None
    process = QemuProcess.start(FOREVER, tmp_path)
    try:
        process.detach()
        process.detach()
        found = QemuProcess.attach(tmp_path)
        assert found
        assert (found.pid, found.supervisor_pid) == (process.pid, process.supervisor_pid)
        assert (found.alive, found.detached) == (True, True)
        process.close()
        assert found.alive  # close leaves a detached one alone
    finally:
        process.kill()
    assert process.wait(60)
    assert process.exit_code == -signal.SIGKILL
    assert QemuProcess.attach(tmp_path) is None


def test_a_pid_of_another_process_is_not_attached_to(tmp_path: Path) -> None:
    status = f'{{"qemu_pid": {os.getpid()}, "supervisor_pid": {os.getpid()}, "started": 1000.0}}'
    (tmp_path / "supervisor.json").write_text(status)
    assert QemuProcess.attach(tmp_path) is None


def test_a_detached_guest_of_the_last_release_is_attached_to(tmp_path: Path) -> None:
    process = QemuProcess.start(FOREVER, tmp_path)
    process.detach()
    status = read_status(tmp_path)
    try:
        status["keeper_pid"] = status.pop("supervisor_pid")
        (tmp_path / "supervisor.json").unlink()
        (tmp_path / "keeper.json").write_text(json.dumps(status))
        found = QemuProcess.attach(tmp_path)
        assert found
        assert (found.pid, found.supervisor_pid) == (process.pid, process.supervisor_pid)
    finally:
        process.kill()
    assert process.wait(60)
