"""Workers that are forks behave like workers that are new interpreters."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.cli import worker_forks
from tests.warm import WarmProcess, WarmPython

_DEADLINE_S = 300
#: Each worker writes what it is.
_FACTS = """
import json, os, random, signal, sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", range(2))
def test_what_it_is(number):
    facts = {
        "pid": os.getpid(), "argv": sys.argv, "cwd": os.getcwd(), "from": os.environ["FROM_THE_CONTROLLER"],
        "random": random.random(), "in": os.read(0, 1).decode(),
        "int": signal.getsignal(signal.SIGINT) is signal.default_int_handler, "told": os.environ.get("LAB_WORKER_PYTHON"),
        "path": sys.path, "group": os.getpgrp(), "parent": os.getppid(),
    }
    Path(f"facts-{number}.json").write_text(json.dumps(facts))
"""
#: Lasts until the test has seen it.
_WAITS = """
import os, pathlib, time

def test_it():
    pathlib.Path(f"worker-{os.getpid()}").touch()
    while True:
        time.sleep(0.05)
"""


class Workers:
    """Starts pytest with workers.

    Args:
        folder: That it runs in.
        warm: Starts it.
    """

    def __init__(self, folder: Path, warm: WarmPython) -> None:
        self.folder = folder
        self._warm = warm

    def start(self, suite: str, *arguments: str, **environment: str) -> WarmProcess:
        (self.folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (self.folder / "test_it.py").write_text(suite, encoding="utf-8")
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        return self._warm.start(argv, cwd=self.folder, env=kept | environment, group=True)

    def run(self, suite: str, *arguments: str, **environment: str) -> tuple[int, str]:
        process = self.start(suite, *arguments, **environment)
        output, _ = process.communicate(_DEADLINE_S)
        assert process.returncode is not None
        return process.returncode, output

    def facts(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self.folder.glob("facts-*.json"))]

    def worker(self) -> psutil.Process:
        """The worker whose test waits."""
        deadline = time.monotonic() + _DEADLINE_S
        while not (found := list(self.folder.glob("worker-*"))):
            assert time.monotonic() < deadline, "no worker has begun its test"
            time.sleep(0.05)
        return psutil.Process(int(found[0].name.partition("-")[2]))


@pytest.fixture
def workers(tmp_path: Path, warm: WarmPython) -> Workers:
    return Workers(tmp_path, warm)


def gone(process: psutil.Process) -> bool:
    _, alive = psutil.wait_procs([process], timeout=60)
    return not alive or process.status() == psutil.STATUS_ZOMBIE


def test_they_are_forks_and_to_the_tests_they_are_new_processes(workers: Workers) -> None:
    # A variable that the controller sets itself, as a plugin may do it before the workers start.
    conftest = "import os\ndef pytest_configure(config):\n    os.environ.setdefault('FROM_THE_CONTROLLER', str(os.getpid()))\n"
    (workers.folder / "conftest.py").write_text(conftest, encoding="utf-8")
    code, output = workers.run(_FACTS, "-n", "2")
    assert code == 0, output
    assert "PytestAssertRewriteWarning" not in output
    one, other = workers.facts()
    assert one["pid"] != other["pid"]
    assert one["random"] != other["random"], "they would draw the same numbers"
    assert one["parent"] == other["parent"] != one["group"], "they are no forks of one process"
    for facts in (one, other):
        assert facts["argv"] == ["-c"]
        assert facts["cwd"] == str(workers.folder)
        assert int(facts["from"]) == facts["group"], "the controller's environment, and its process group"
        assert facts["in"] == "", "its standard input is not the pipe of its controller"
        assert facts["int"]
        assert facts["told"] is None
        assert str(workers.folder) in facts["path"]


def test_a_worker_that_dies_is_replaced_by_another_fork(workers: Workers) -> None:
    suite = "import os, pathlib\ndef test_dies():\n    pathlib.Path('dead').touch()\n    os._exit(7)\ndef test_lives(): pass\n"
    code, output = workers.run(suite, "-n", "1")
    assert code == 1, output
    assert "worker 'gw0' crashed while running" in output
    assert "1 failed, 1 passed" in output


@pytest.mark.parametrize("killed", ["controller", "the process that forks", "the command that asks for a fork"])
def test_no_worker_stays_when_the_run_is_killed(workers: Workers, killed: str) -> None:
    controller = workers.start(_WAITS, "-n", "1")
    worker = workers.worker()
    forks = worker.parent()
    assert forks is not None
    assert forks.ppid() == controller.pid, "the worker is no child of a process that the controller has forked"
    [link] = [one for one in psutil.Process(controller.pid).children() if one != forks]
    victims: dict[str, WarmProcess | psutil.Process] = {
        "controller": controller,
        "the process that forks": forks,
        "the command that asks for a fork": link,
    }
    victims[killed].kill()
    for process in (worker, *([forks, link] if killed == "controller" else [])):
        assert gone(process), process
    controller.kill()


def test_an_interrupt_of_the_group_ends_them_all(workers: Workers) -> None:
    controller = workers.start(_WAITS, "-n", "1")
    family = [workers.worker(), *psutil.Process(controller.pid).children()]
    os.killpg(controller.pid, 2)
    output, _ = controller.communicate(_DEADLINE_S)
    assert controller.returncode == 2, output
    assert "KeyboardInterrupt" in output
    assert all(map(gone, family))


def test_an_environment_that_is_too_large_for_a_message_gets_new_interpreters(workers: Workers) -> None:
    large = "import os\ndef pytest_configure():\n    for i in range(8):\n        os.environ[f'LARGE_{i}'] = 'x' * 100_000\n"
    (workers.folder / "conftest.py").write_text(large, encoding="utf-8")
    code, output = workers.run(_FACTS, "-n", "1", FROM_THE_CONTROLLER="no")
    assert code == 0, output
    assert {facts["parent"] == facts["group"] for facts in workers.facts()} == {True}, "the controller's own children"


def test_no_process_waits_where_no_workers_are_asked_for() -> None:
    wants = worker_forks._wants_workers
    for asked in (["-n", "2"], ["-n2"], ["-nauto"], ["--numprocesses=auto"], ["--numprocesses", "1"], ["--tx", "popen"]):
        assert wants(["-q", *asked, "suites"]), asked
    for none in ([], ["-n", "0"], ["-n0"], ["--numprocesses=0"], ["suites", "-k", "n"]):
        assert not wants(none), none


def test_a_link_that_no_process_serves_becomes_the_interpreter(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as taken:
        taken.bind("")
        name = taken.getsockname()[1:].decode()
    argv = [sys.executable, "-I", "-S", str(worker_forks._LINK), name, sys.executable, "-u", "-c", "print(input())"]
    done = subprocess.run(argv, cwd=tmp_path, input="said\n", capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    assert (done.returncode, done.stdout) == (0, "said\n"), done.stderr
