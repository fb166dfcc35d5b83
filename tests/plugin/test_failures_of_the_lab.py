"""Failures injected where guests are made: no driver is accused, and the next test runs if a guest can be started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

CONFTEST = """
import pathlib, sys
sys.path.insert(0, {root!r})
import pytest
from lab.errors import BootTimeout, GuestExited, SnapshotFailed, TransportError
from tests.snapshot.fakes import World
from tests.snapshot.making import SimulatedSteps

@pytest.hookimpl
def pytest_lab_guest_source(config, lab_config):
    folder = pathlib.Path({folder!r})
    folder.mkdir(exist_ok=True)
    world = World(folder)
    steps = SimulatedSteps(world.source)
    {inject}
    world.source.forks = world.make(steps.maker())
    return world.source
"""
TESTS = """
def test_one(guest): assert guest.transport.run("echo one", timeout=5).stdout == b"one\\r\\n"
def test_two(guest): assert guest.transport.run("echo two", timeout=5).stdout == b"two\\r\\n"
"""
RESUME, PARK, BOOT = "GuestExited('QEMU ended')", "TransportError('the waiting cmd has ended')", "BootTimeout('too slow')"
FIRMWARE = "GuestExited('QEMU ended with exit code 1: could not load the firmware')"
PASSED, INFRA = {"test_one": "passed", "test_two": "passed"}, {"test_one": "infra", "test_two": "infra"}


@pytest.mark.parametrize(
    ("inject", "verdicts", "code", "failed", "note"),
    [
        (f"world.vms.resume_errors = [{RESUME}]", PASSED, 0, 1, ""),
        (f"world.vms.resume_errors = [{RESUME}] * 2", PASSED, 0, 2, "QEMU ended"),
        (f"world.vms.restore_errors = [{RESUME}] * 2", PASSED, 0, 2, "QEMU ended"),
        (f"steps.errors['park'] = [{PARK}]", PASSED, 0, 0, ""),
        (f"steps.errors['park'] = [{PARK}] * 4", PASSED, 0, 0, "waiting cmd"),
        (f"steps.errors['boot'] = [{FIRMWARE}] * 4", PASSED, 0, 0, "could not load the firmware"),
        (
            f"steps.errors['park'] = [{PARK}] * 4; world.source.boot_errors = [{BOOT}]",
            PASSED,
            0,
            0,
            "waiting cmd",
        ),
        (f"steps.errors['boot'] = [{FIRMWARE}] * 4; world.source.boot_errors = [{FIRMWARE}] * 2", INFRA, 10, 0, "firmware"),
    ],
    ids=["resume", "resume twice", "fork twice", "park", "park always", "firmware", "park and boot", "firmware always"],
)
def test_a_failure_of_the_lab_is_infra_or_nothing_and_the_next_guest_serves(
    inner: Any, inject: str, verdicts: dict[str, str], code: int, failed: int, note: str
) -> None:
    folder = str(inner.pytester.path / "world")
    inner.pytester.makeconftest(CONFTEST.format(root=str(ROOT), folder=folder, inject=inject))
    inner.run(TESTS, "--lab-isolation", "test")
    assert inner.verdicts == verdicts
    assert inner.report.exit_code == code
    assert inner.report.failed_forks == failed
    assert note in " ".join(inner.report.fork_notes)
    assert [test.fault for test in inner.report.tests] == [None, None]
    runs = inner.pytester.path / "world" / "runs"
    assert [path.name for path in runs.glob("*")] in ([], [".lock"])  # no run folder is left
    templates = inner.pytester.path / "world" / "templates"
    assert [path.name for path in templates.glob(".*") if not path.name.endswith(".lock")] == []  # and no work folder


TWO_RUNS = """
import pathlib, time
HERE = pathlib.Path({meeting!r})

def meet(mine, deadline=60.0):
    (HERE / mine).touch()
    end = time.monotonic() + deadline
    while len(list(HERE.glob("begun-*"))) < 2:
        assert time.monotonic() < end, "the other run did not begin"
        time.sleep(0.01)

def test_beside_the_other_run(guest):
    meet("begun-{run}")

@pytest.mark.lab_cpus(2)
@pytest.mark.parametrize("number", range(3))
def test_alone(guest, number):
    inside = HERE / "inside-{run}"
    inside.touch()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:  # room for the other run to come in, if it could
        assert list(HERE.glob("inside-*")) == [inside]
        time.sleep(0.01)
    inside.unlink()
"""


def test_two_runs_at_once_on_one_host_share_it_and_keep_apart(inner: Any) -> None:
    """Both are in their first test at the same time; tests that need the host to themselves exclude those of the other run."""
    meeting = inner.pytester.mkdir("meeting")
    running = []
    for run in ("a", "b"):
        suite = inner.pytester.path / f"test_{run}.py"
        suite.write_text("import pytest\n" + TWO_RUNS.format(meeting=str(meeting), run=run), encoding="utf-8")
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", suite.name]
        environ = dict(os.environ, LAB_LOCKS=str(inner.pytester.path / "locks"))
        running.append(
            subprocess.Popen(argv, cwd=inner.pytester.path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        )
    said = [process.communicate(timeout=120)[0].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(said)
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(inner.pytester.path.glob("out/2*/run.json"))]
    assert [report["totals"] for report in reports] == [{"passed": 4}, {"passed": 4}]
    assert {test["nodeid"].partition("::")[0] for report in reports for test in report["tests"]} == {"test_a.py", "test_b.py"}
    assert (inner.pytester.path / "out" / "latest").is_symlink()
