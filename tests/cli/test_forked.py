"""pytest in a fork of the command is what a pytest of its own would be."""

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
assert can_fork(argv)
end = run_child(argv, cwd=Path.cwd(), env={**os.environ, "FROM_THE_COMMAND": "yes"})
Path("end.json").write_text(json.dumps([end.exit_code, end.interrupted, os.getpid()]))
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


def command(folder: Path, test: str, *arguments: str) -> tuple[list[Any], str]:
    """Run a suite by a process that is no pytest; how its child ended, and all output."""
    (folder / "test_it.py").write_text(test, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, *arguments],
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


def test_it_is_as_a_pytest_of_its_own(tmp_path: Path) -> None:
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
def test_its_end_is_told(tmp_path: Path, body: str, end: list[Any]) -> None:
    found, _ = command(tmp_path, f"import os\ndef test_it():\n    {body}\n")
    assert found[:2] == end


def test_workers_of_it_are_programs(tmp_path: Path) -> None:
    (code, _, _), output = command(tmp_path, "def test_it(): pass\ndef test_two(): pass\n", "-n", "2")
    assert code == 0, output
    assert "2 passed" in output


def test_no_pytest_is_forked_from_within_another() -> None:
    assert not can_fork([sys.executable, "-m", "pytest"])
    assert not can_fork(["true"])
