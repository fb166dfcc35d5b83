from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lab.errors import HostToolError
from lab.host.process import find_program, run, run_quick


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def ended(pid: int, timeout: float = 60.0) -> bool:
    """The process has ended, or ends within the deadline."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def test_both_streams_and_the_exit_code_come_back() -> None:
    result = run(shell("echo out; echo err >&2; exit 3"), 60, check=False)
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert result.argv[0] == "sh"


def test_a_failure_carries_command_code_and_last_lines() -> None:
    with pytest.raises(HostToolError) as caught:
        run(shell("seq 100 >&2; exit 4"), 60, hint="read the manual")
    error = caught.value
    assert (error.exit_code, error.argv[0], error.hint) == (4, "sh", "read the manual")
    assert "sh ended with 4" in str(error)
    assert "\n    100" in str(error)
    assert "\n    85\n" not in str(error)


def test_the_last_lines_are_of_standard_output_when_there_are_no_others() -> None:
    with pytest.raises(HostToolError, match="only this"):
        run(shell("echo only this; exit 1"), 60)


def test_large_output_and_large_input_do_not_block_each_other() -> None:
    data = os.urandom(300_000).hex().encode()
    result = run(shell("tee /dev/stderr"), 60, stdin=data)
    assert result.stdout.encode() == data
    assert result.stderr.encode() == data


def test_undecodable_bytes_are_shown_as_escapes() -> None:
    assert run(shell(r"printf '\377 ok'"), 60).stdout == "\\xff ok"


def test_lines_are_passed_on_as_they_come() -> None:
    seen: list[str] = []
    run(shell("echo one; echo two >&2; printf three"), 60, on_line=seen.append)
    assert sorted(seen) == ["one", "three", "two"]


def test_a_program_is_killed_at_its_deadline_with_its_children(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(HostToolError, match=r"did not end within 0\.5 s and was killed") as caught:
        run(shell("sleep 600 & echo $! > child; echo begun; wait"), 0.5, cwd=tmp_path)
    assert time.monotonic() - started < 60
    assert caught.value.exit_code is None
    assert "begun" in str(caught.value)
    assert ended(int((tmp_path / "child").read_text()))


def test_a_daemon_that_keeps_the_streams_open_does_not_delay_the_end(tmp_path: Path) -> None:
    result = run(shell("setsid sleep 600 & echo $! > daemon; echo done"), 60, cwd=tmp_path)
    try:
        assert result.stdout == "done\n"
        assert result.duration_s < 30
    finally:
        # setsid forks when it leads a group already, so the process is either itself or its child.
        pid = int((tmp_path / "daemon").read_text())
        os.kill(pid, signal.SIGKILL)


def test_a_missing_program_is_named() -> None:
    with pytest.raises(HostToolError, match="no-such-tool: there is no such program") as caught:
        run(["no-such-tool"], 60)
    assert caught.value.exit_code is None
    assert "lab doctor" in caught.value.hint


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostToolError):
        run(["true"], 60, cwd=tmp_path / "nowhere")


def test_system_folders_are_searched_too() -> None:
    assert find_program("mke2fs", search="/nonexistent").endswith("/mke2fs")
    assert find_program("no-such-tool") == ""


def test_the_environment_can_be_replaced() -> None:
    result = run(shell("echo $LAB_X-$HOME"), 60, env={"LAB_X": "1", "PATH": os.environ["PATH"]})
    assert result.stdout == "1-\n"


def test_the_quick_runner_does_not_judge() -> None:
    assert run_quick(["false"], 60).exit_code == 1


OWNER = """
import sys
from pathlib import Path
from lab.host.process import run

run(["sh", "-c", f"echo $$ > {sys.argv[1]}.new; mv {sys.argv[1]}.new {sys.argv[1]}; exec sleep 600"], 900)
"""


def test_a_program_does_not_survive_its_killed_owner(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", OWNER, str(pid_file)]) as owner:
        deadline = time.monotonic() + 60
        while not pid_file.exists():
            assert time.monotonic() < deadline, "waited 60 s for the program to start"
            time.sleep(0.01)
        owner.kill()
    assert ended(int(pid_file.read_text()))
