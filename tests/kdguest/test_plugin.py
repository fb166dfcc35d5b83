"""Verdicts of runs whose guests print by a debugger port: bugcheck, gap, breakpoint, and a collector that dies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lab.report.model import RunReport, TestEntry
from tests.kdguest.drivers import IOCTL_BREAKPOINT, IOCTL_BUGCHECK, IOCTL_LOSE_PRINTS
from tests.kdguest.plugin import FOLDER_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 240.0

_TESTS = f"""
import psutil, pytest
pytestmark = pytest.mark.lab_driver("sync")

def test_bugcheck(reader):
    reader.run("open h {{link}} access=rw; ioctl h {IOCTL_BUGCHECK:#x}")

def test_after_the_bugcheck(reader, prints):
    assert reader.read(length=20)[0].text == "hi, lyshark A"
    prints.expect("读字节长度: 20")
    prints.expect_none()

@pytest.mark.lab_expect_fault(0xD1)
def test_expected_bugcheck(reader):
    with pytest.raises(Exception):
        reader.run("open h {{link}} access=rw; ioctl h {IOCTL_BUGCHECK:#x}")

def test_gap(reader):
    reader.run("open h {{link}} access=rw; ioctl h {IOCTL_LOSE_PRINTS:#x}; read h 20")

def test_breakpoint(reader, prints):
    reader.run("open h {{link}} access=rw; ioctl h {IOCTL_BREAKPOINT:#x}; read h 20")
    prints.expect(["stepped by 1", "读字节长度: 20"])

def test_wrong_print(reader, prints):
    reader.read(length=20)
    prints.expect("读字节长度: 21", timeout=0.1)

def test_collector_dies(reader):
    reader.read(length=20)
    running = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    [collector] = [child for child in running if "lab.prints.kd.attach" in child.cmdline()]
    collector.kill()

def test_after_the_collector_died(reader):
    assert reader.read(length=20)[0].text == "hi, lyshark A"

def test_machine_dies(reader, guest):
    reader.read(length=20)
    guest.machine.kill()
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    folder = tmp_path_factory.mktemp("kd-run")
    (folder / "test_inner.py").write_text(_TESTS, encoding="utf-8")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    argv = [sys.executable, "-m", "pytest", "test_inner.py", "-p", "tests.kdguest.plugin", "-p", "no:cacheprovider"]
    environment = os.environ | {FOLDER_VARIABLE: str(folder / "guest"), "PYTHONPATH": str(ROOT)}
    environment.pop("PYTEST_ADDOPTS", None)
    argv += ["--lab-out", str(folder / "out"), "--rootdir", str(folder)]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (folder / "out" / "run.json").exists(), done.stdout + done.stderr
    # A collector is not a child any more once its owner has ended, but it has the owner's environment.
    left = [
        process.info["pid"]
        for process in psutil.process_iter(["pid", "environ"])
        if (process.info["environ"] or {}).get(FOLDER_VARIABLE) == environment[FOLDER_VARIABLE]
    ]
    assert left == []
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    return RunReport.model_validate_json((folder / "out" / "run.json").read_text(encoding="utf-8"))


def entry(report: RunReport, name: str) -> TestEntry:
    [found] = [test for test in report.tests if test.nodeid.endswith("::" + name)]
    return found


def test_every_way_to_end_has_its_own_verdict(report: RunReport) -> None:
    assert {test.nodeid.rpartition("::")[2]: test.verdict for test in report.tests} == {
        "test_bugcheck": "crash",
        "test_after_the_bugcheck": "passed",
        "test_expected_bugcheck": "passed",
        "test_gap": "infra",
        "test_breakpoint": "passed",
        "test_wrong_print": "product",
        "test_collector_dies": "infra",
        "test_after_the_collector_died": "passed",
        "test_machine_dies": "infra",
    }


def test_a_bugcheck_is_reported_with_its_code_and_its_prints(report: RunReport) -> None:
    crash = entry(report, "test_bugcheck")
    assert crash.fault
    assert (crash.fault.code, crash.fault.parameters) == ("0x000000D1", ["0x0", "0x2", "0x0", "0xf7a40123"])
    assert [print_.text.strip()[:3] for print_ in crash.prints] == ["***", "(0x"]
    assert [event.kind for event in crash.events] == ["load", "exception"]
    assert "first chance: hold" in crash.events[-1].text
    assert report.guests[0].ended.startswith("crash: 0x000000D1")


def test_a_gap_is_reported_for_its_test(report: RunReport) -> None:
    assert "started its packet ids again" in entry(report, "test_gap").reason
    [guest] = [guest for guest in report.guests if guest.guest_id == entry(report, "test_gap").guest_id]
    assert len(guest.gaps) == 1


def test_a_breakpoint_is_stepped_over_and_reported(report: RunReport) -> None:
    stepped = entry(report, "test_breakpoint")
    assert [event.kind for event in stepped.events] == ["load", "exception", "unload"]
    assert stepped.events[1].text.endswith("first chance: step")


def test_a_collector_that_dies_makes_its_test_infra(report: RunReport) -> None:
    assert "collector of the debugger port ended without a message" in entry(report, "test_collector_dies").reason
