"""pytest in a fork of the command behaves like a new pytest process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.cli.forked import can_fork

_COMMAND = """
import atexit, json, logging, os, signal, sys
from pathlib import Path
from lab.cli.child import run_child
from lab.cli.forked import can_fork

atexit.register(lambda: open("ends", "a").write("the command's\\n"))
logging.getLogger().addHandler(logging.FileHandler("command.log"))
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *sys.argv[1:]]
BEFORE
assert can_fork(argv)
end = run_child(argv, cwd=Path.cwd(), env={**os.environ, "FROM_THE_COMMAND": "yes"})
Path("end.json").write_text(json.dumps([end.exit_code, end.interrupted, os.getpid()]))
AFTER
"""
_FRESH = """
import atexit, json, logging, os, signal, sys
from pathlib import Path

atexit.register(lambda: open("ends", "a").write("pytest's\\n"))

def test_what_it_is():
    logging.warning("of a test")
    facts = {
        "parent": os.getppid(), "path": sys.path[0], "argv": sys.argv[0], "from": os.environ["FROM_THE_COMMAND"],
        "int": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "handled": signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL,
        "ignored": signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN,
        "group": os.getpgrp() == os.getpid(),
    }
    Path("facts.json").write_text(json.dumps(facts))
"""


def command(folder: Path, test: str, *arguments: str, before: str = "", after: str = "") -> tuple[list[Any], str]:
    """Run a suite from a process that is not pytest; returns how its child ended, and all output."""
    program = _COMMAND.replace("BEFORE", before).replace("AFTER", after)
    (folder / "test_it.py").write_text(test, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return json.loads((folder / "end.json").read_text(encoding="utf-8")), done.stdout


def test_a_forked_pytest_behaves_like_a_new_process(tmp_path: Path) -> None:
    (code, interrupted, parent), output = command(tmp_path, _FRESH)
    assert (code, interrupted) == (0, "")
    assert "1 passed" in output
    assert "PytestAssertRewriteWarning" not in output
    facts = json.loads((tmp_path / "facts.json").read_text(encoding="utf-8"))
    assert facts.pop("parent") == parent
    assert facts.pop("path") == str(tmp_path)
    assert facts.pop("argv").endswith("/pytest/__main__.py")
    assert facts.pop("from") == "yes"
    assert set(facts.values()) == {True}, facts
    # Each process runs its own exit handlers, and logs to its own places.
    assert (tmp_path / "ends").read_text(encoding="utf-8") == "pytest's\nthe command's\n"
    assert (tmp_path / "command.log").read_text(encoding="utf-8") == ""


@pytest.mark.parametrize(
    ("body", "end"),
    [
        ("assert 1 == 2", [1, ""]),
        ("os.kill(os.getpid(), 9)", [-9, ""]),
        ("os._exit(7)", [7, ""]),
        ("raise SystemExit(0)", [1, ""]),
        ("os.kill(os.getppid(), 2); import time; time.sleep(60)", [2, "SIGINT"]),
    ],
)
def test_the_end_of_a_forked_pytest_is_reported(tmp_path: Path, body: str, end: list[Any]) -> None:
    found, _ = command(tmp_path, f"import os\ndef test_it():\n    {body}\n")
    assert found[:2] == end


def test_workers_of_a_forked_pytest_are_new_programs(tmp_path: Path) -> None:
    (code, _, _), output = command(tmp_path, "def test_it(): pass\ndef test_two(): pass\n", "-n", "2")
    assert code == 0, output
    assert "2 passed" in output


def test_pytest_is_not_forked_inside_of_another_pytest() -> None:
    assert not can_fork([sys.executable, "-m", "pytest"])
    assert not can_fork(["true"])


def test_a_text_in_the_place_of_an_exit_code_is_shown(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import sys\nsys.exit('this suite needs a licence')\n", encoding="utf-8")
    (code, *_), output = command(tmp_path, "def test_it(): pass\n")
    assert code == 1, output
    assert output.count("this suite needs a licence") == 1


def test_exit_handlers_of_tests_run_at_the_end(tmp_path: Path) -> None:
    # The command has made such objects of its own before.
    before = "import tempfile\nours = tempfile.TemporaryDirectory(dir='.', prefix='command-')\n"
    suite = "import tempfile\nkept = tempfile.TemporaryDirectory(dir='.', prefix='suite-')\ndef test_it(): pass\n"
    (code, *_), output = command(tmp_path, suite, before=before, after="assert Path(ours.name).is_dir()\n")
    assert code == 0, output
    assert not list(tmp_path.glob("suite-*"))


def test_a_library_keeps_its_handler_that_does_nothing(tmp_path: Path) -> None:
    before = "logging.getLogger('quiet').addHandler(logging.NullHandler())\n"
    suite = "import logging\ndef test_it(): assert logging.getLogger('quiet').handlers\n"
    (code, *_), output = command(tmp_path, suite, before=before)
    assert code == 0, output


def test_unbuffered_output_is_seen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    # Killed at once: what was buffered would be lost.
    _, output = command(tmp_path, "import os\ndef test_it():\n    print('seen')\n    os.kill(os.getpid(), 9)\n", "-s")
    assert "seen" in output


def test_reading_the_arguments_takes_nothing_from_standard_input(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import os\nopen('read', 'wb').write(os.read(0, 99))\n", encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    ask = (
        "import os, sys\nfrom lab.cli.forked import run_quietly\n"
        "argv = [sys.executable, '-m', 'pytest', '--collect-only', '-p', 'no:cacheprovider']\n"
        "print(run_quietly(argv, 120, env=os.environ).stdout)\nprint('left', repr(sys.stdin.read()))\n"
    )
    argv = [sys.executable, "-c", ask]
    done = subprocess.run(argv, cwd=tmp_path, input="first\n", capture_output=True, text=True, timeout=300, check=False)
    assert (tmp_path / "read").read_bytes() == b"", done.stdout + done.stderr
    assert "left 'first\\n'" in done.stdout


def test_an_error_at_the_end_of_a_forked_pytest_is_reported(tmp_path: Path) -> None:
    """It was ignored: output that could not be written was missing without a message."""
    suite = """
import atexit, sys, threading


class Full:
    def flush(self):
        raise OSError(28, "No space left on device")


def join_nothing():
    raise RuntimeError("a thread that cannot be joined")


def test_it():
    threading._register_atexit(join_nothing)
    atexit.register(lambda: setattr(sys, "stdout", Full()))
"""
    (code, *_), output = command(tmp_path, suite)
    assert code == 0, output
    assert "RuntimeError: a thread that cannot be joined" in output
    assert "OSError: [Errno 28] No space left on device" in output
