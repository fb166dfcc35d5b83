"""A closed pipe, a full disk, a closed stream: none of them decides the exit code."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.cli.child import run_child

_MAIN = "from lab.cli.main import main; main()"

#: A double of the command `lab ps` that does what a test says.
_COMMAND = """
import errno, sys
import typer
from lab.cli import guest
from lab.cli.main import main
from lab.host.console import open_console

def ps():
    {body}

guest.ps = ps
sys.argv = ["lab", "ps"]
main()
"""


def run(program: str, *arguments: str, stdout: Any = subprocess.PIPE, stderr: Any = subprocess.PIPE) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", program, *arguments], stdout=stdout, stderr=stderr, text=True, timeout=120)
    return done.returncode, done.stderr or ""


def without_reader(program: str, *arguments: str) -> tuple[int, str]:
    """Run a program whose output is not read."""
    source, end = os.pipe()
    os.close(source)
    try:
        return run(program, *arguments, stdout=end)
    finally:
        os.close(end)


@pytest.mark.parametrize("arguments", [("driver", "list"), ("--help",), ("ps",), ("image", "list"), ("templates",)])
def test_a_closed_pipe_changes_no_exit_code(arguments: Sequence[str]) -> None:
    assert without_reader(_MAIN, *arguments) == (0, "")


@pytest.mark.parametrize(
    "body", ["typer.echo('x' * 100_000)", "open_console().print('x' * 100_000, soft_wrap=True)", "print('x' * 100_000)"]
)
@pytest.mark.parametrize("code", [0, 3])
def test_the_exit_code_of_a_command_is_kept(body: str, code: int) -> None:
    program = _COMMAND.format(body=f"{body}; raise typer.Exit({code})")
    assert without_reader(program) == (code, "")


def test_wrong_usage_is_usage_even_if_standard_error_is_closed() -> None:
    source, end = os.pipe()
    os.close(source)
    try:
        assert run(_MAIN, "bogus", stdout=end, stderr=end)[0] == 2
    finally:
        os.close(end)


def test_a_full_disk_is_reported_and_is_not_a_success() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        code, told = run(_MAIN, "driver", "list", stdout=full)
    assert code == 10
    assert told == "lab: standard output is not complete: No space left on device\n"


def test_a_connection_that_breaks_is_a_reported_error_of_the_lab() -> None:
    code, told = run(_COMMAND.format(body="raise BrokenPipeError(errno.EPIPE, 'Broken pipe')"))
    assert code == 10
    assert "unexpected error" in told


@pytest.mark.parametrize(
    ("body", "code"), [("raise KeyboardInterrupt", 130), ("raise typer.Abort", 130), ("raise typer.BadParameter('n')", 2)]
)
def test_no_library_chooses_the_code(body: str, code: int) -> None:
    assert run(_COMMAND.format(body=body))[0] == code


def test_closed_streams_are_the_null_device() -> None:
    line = [sys.executable, "-c", _MAIN, "driver", "list"]
    done = subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *line], timeout=120)
    assert done.returncode == 0


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_characters_outside_of_the_encoding_are_shown_as_escapes(encoding: str) -> None:
    program = _COMMAND.format(body="print('half \\ud800, 长')")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=120, env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    assert done.returncode == 0
    assert done.stdout.startswith(b"half \\ud800, ")


_CHILD = """
import sys
from pathlib import Path
for number in range(20_000):
    print("line", number, flush=number % 100 == 0)
print("error", file=sys.stderr)
Path(sys.argv[1]).touch()
"""

_PARENT = """
import sys
from pathlib import Path
from lab.cli.child import run_child
from lab.cli.output import Output
output = Output()
end = run_child([sys.executable, "-c", *sys.argv[1:]], cwd=Path.cwd(), env={})
raise SystemExit(output.finish(end.exit_code))
"""


def test_a_child_does_not_notice_a_closed_pipe(tmp_path: Path) -> None:
    assert without_reader(_PARENT, _CHILD, str(tmp_path / "ended")) == (0, "error\n")
    assert (tmp_path / "ended").exists()


def test_a_child_does_not_notice_a_full_disk(tmp_path: Path) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        code, told = run(_PARENT, _CHILD, str(tmp_path / "ended"), stdout=full)
    assert code == 10
    assert "not complete" in told
    assert (tmp_path / "ended").exists()


def test_all_of_a_childs_output_arrives_in_its_order(tmp_path: Path) -> None:
    child = "import sys\nfor n in range(500):\n print(n, file=(sys.stdout, sys.stderr)[n % 2], flush=True)"
    file = tmp_path / "log"
    with file.open("w", encoding="utf-8") as stream:
        assert run(_PARENT, child, stdout=stream, stderr=stream)[0] == 0
    assert file.read_text(encoding="utf-8").split() == [str(number) for number in range(500)]


def test_a_process_left_by_a_child_delays_nothing(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    # It has the child's output open for a minute more.
    child = "import subprocess, sys; subprocess.Popen(['sleep', '60'], start_new_session=True); print('done')"
    watch = threading.Timer(50, lambda: None)
    watch.start()
    try:
        end = run_child([sys.executable, "-c", child], cwd=tmp_path, env=dict(os.environ))
        assert watch.is_alive()
    finally:
        watch.cancel()
    assert end.exit_code == 0
    assert capsysbinary.readouterr().out == b"done\n"
