"""Runs of `lab run` that end early: interrupted, killed, a worker that dies, a full disk."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.running import Suite, lab, read


@pytest.mark.parametrize(("words", "worker"), [((), "master"), (("-n", "1"), "gw")])
def test_a_test_that_ends_its_process_loses_only_itself_without_a_worker(
    suite: Suite, tmp_path: Path, words: tuple[str, ...], worker: str
) -> None:
    suite("import os\ndef test_one(): pass\ndef test_two(): os._exit(3)\ndef test_three(): pass\n")
    assert lab("run", "--workers", "3", "--out", "o", "suites", *words).exit_code == 10
    found = {test.nodeid.rpartition("::")[2]: (test.verdict, test.reason) for test in read(tmp_path / "o").tests}
    assert found["test_one"] == ("passed", "")
    assert found["test_two"][1].startswith(f"worker {worker}")
    assert "ended in the middle of this test" in found["test_two"][1]
    assert found["test_three"] == ("infra", "never started: pytest ended before this test")


def test_pytest_that_dies_leaves_a_report(suite: Suite, tmp_path: Path) -> None:
    suite(
        """\
        import os, signal
        def test_a(): pass
        def test_b(): os.kill(os.getpid(), signal.SIGKILL)
        def test_c(): pass
        """
    )
    result = lab("run", "-n0", "--out", "o")
    assert result.exit_code == 10
    report = read(tmp_path / "o")
    assert [(test.verdict, test.reason) for test in report.tests] == [
        ("passed", ""),
        ("infra", "worker master ended in the middle of this test"),
        ("infra", "never started: pytest was ended by SIGKILL"),
    ]
    assert (tmp_path / "o" / "report.html").exists()
    assert re.search(r"lab doctor && \S*lab run", result.output)


def test_a_worker_that_dies_is_an_attempt(suite: Suite, tmp_path: Path) -> None:
    suite(
        """\
        import os, pathlib, signal
        def test_a(): pass
        def test_b():
            if not pathlib.Path("once").exists():
                pathlib.Path("once").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert lab("run", "--workers", "1", "--out", "o").exit_code == 0
    [a, b] = read(tmp_path / "o").tests
    assert a.attempts == 1
    assert [attempt.verdict for attempt in b.history] == ["infra", "passed"]


SLOW = """\
import os, pathlib, time
def test_a(): pass
def test_b():
    pathlib.Path("started").write_text(str(os.getpid()))
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.05)
def test_c(): pass
"""


#: The command with image and drivers replaced, as a process of its own that can be sent signals.
PROGRAM = """\
import sys, types
from pathlib import Path
from lab.cli import resolved
from lab.live import chosen_drivers, resolve
resolved.ensure_image = lambda name, progress: Path("image")
none = types.SimpleNamespace(source="none")
resolve.read_manifest = lambda image: types.SimpleNamespace(
    name="wine", kind="wine", arch="x64", kernel=None, prints=none, machine=types.SimpleNamespace(smp=1)
)
chosen_drivers.resolve_drivers = lambda *args, **options: ()
resolve.choose_accelerator = lambda wanted, found: "tcg"
resolve.probe_accelerators = lambda cache: None
from lab.cli.main import main
main()
"""


def start_lab(tmp_path: Path, *arguments: str, before: Sequence[str] = ()) -> tuple[subprocess.Popen[str], int]:
    """Start `lab run` in the background; returns it and the process that runs its slow test, once it does."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", PROGRAM, "run", "--out", "o", *arguments],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists() or not (tmp_path / "started").read_text():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the slow test did not start"
        time.sleep(0.02)
    return process, int((tmp_path / "started").read_text())


def gone(pid: int) -> bool:
    """The process ends within some seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, "-n1"), (signal.SIGTERM, "-n0")])
def test_an_interrupt_is_passed_on_and_reported(suite: Suite, tmp_path: Path, number: signal.Signals, workers: str) -> None:
    suite(SLOW)
    process, worker = start_lab(tmp_path, workers)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert gone(worker)
    report = read(tmp_path / "o")
    assert report.totals == {"passed": 1}
    assert report.not_run == ["suites/test_it.py::test_b", "suites/test_it.py::test_c"]
    assert report.ended == f"the run was interrupted ({number.name})"
    assert report.exit_code == 128 + number
    assert f"2 tests were not run: the run was interrupted ({number.name})" in output
    assert "lab failure" not in output
    junit = ElementTree.parse(tmp_path / "o" / "junit.xml").getroot()
    told = {case.get("name"): [child.get("message") for child in case] for case in junit.iter("testcase")}
    reason = f"not run: the run was interrupted ({number.name})"
    assert told == {"test_a": [], "test_b": [reason], "test_c": [reason]}


def test_an_interrupt_reaches_a_run_that_was_started_with_it_ignored(suite: Suite, tmp_path: Path) -> None:
    """As a background job of a shell script is."""
    suite(SLOW)
    process, worker = start_lab(tmp_path, "-n0", before=["sh", "-c", "trap '' INT HUP; exec \"$@\"", "sh"])
    process.send_signal(signal.SIGHUP)  # as under nohup: no reason to end
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)  # well below the grace after which it would be killed
    assert process.returncode == 143, output
    assert gone(worker)
    assert "suites/test_it.py::test_c" in read(tmp_path / "o").not_run


def test_nothing_outlives_a_killed_run(suite: Suite, tmp_path: Path) -> None:
    suite(SLOW)
    process, worker = start_lab(tmp_path, "-n2")
    process.kill()
    process.communicate(timeout=60)
    assert gone(worker)


def test_a_full_disk_loses_no_result(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    suite(
        """\
        from pathlib import Path
        def test_fills_the_disk(request):
            out = Path(request.config.getoption("lab_out"))
            for name in ("run.json.part", "report.html.part", "junit.xml", "junit.xml.part", "session.json.part"):
                (out / name).symlink_to("/dev/full")
        def test_red(): assert 0
        """
    )
    result = lab("run", "-n0", "--out", "o")
    assert result.exit_code == 1, result.output
    [folder] = (tmp_path / "state" / "results").iterdir()
    assert {"run.json", "report.html", "junit.xml"} <= {path.name for path in folder.iterdir()}
    assert read(folder).totals == {"passed": 1, "product": 1}
    assert "1 product failure" in result.output
    assert f"results of this run are in {folder}" in result.output
    assert "unexpected error" not in result.output
    assert "<failure" in (folder / "junit.xml").read_text(encoding="utf-8")
