"""The suites without changes, on a simulated guest whose prints are packets of a debugger port. It is not Windows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.report.model import RunReport
from tests.kdguest.plugin import FOLDER_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
#: The async suite waits for some sixty ticks of a second each.
DEADLINE_S = 500.0


def run_suite(suite: str, folder: Path, *arguments: str) -> RunReport:
    argv = [sys.executable, "-m", "pytest", str(ROOT / "suites" / suite), "-p", "tests.kdguest.plugin"]
    argv += ["-p", "no:cacheprovider", "--lab-out", str(folder / "out"), *arguments]
    environment = os.environ | {FOLDER_VARIABLE: str(folder / "guest"), "PYTHONPATH": str(ROOT)}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return RunReport.model_validate_json((folder / "out" / "run.json").read_text(encoding="utf-8"))


def check(report: RunReport) -> None:
    """Everything ran, on one guest, and every print of it belongs to the boot or to a test."""
    assert {test.verdict for test in report.tests} == {"passed"}, [t.nodeid for t in report.tests if t.verdict != "passed"]
    [guest] = report.guests
    assert guest.ended == "end of run"
    assert guest.gaps == []
    assert [entry.text for entry in guest.boot_prints] == ["a print of the boot\n"]
    assert report.unattributed_prints == 0
    assert {entry.source for test in report.tests for entry in test.prints} == {"kd"}


def test_the_sync_suite_runs_unchanged_over_a_debugger_port(tmp_path: Path) -> None:
    report = run_suite("sync", tmp_path)
    check(report)
    [slots] = [test for test in report.tests if test.nodeid.endswith("::test_the_first_five_reads_deliver_the_five_strings")]
    assert [entry.text for entry in slots.prints] == ["读字节长度: 20 \n"] * 5
    assert [bytes.fromhex(entry.raw) for entry in slots.prints] == ["读字节长度: 20 \n".encode()] * 5
    # The kernel reports loads and unloads, in the test in which they happened.
    assert [event.kind for event in slots.events] == ["load", "unload"]
    assert all("sync.sys" in event.text for event in slots.events)
    evidence = tmp_path / "guest" / "guests" / "master-1"
    assert {"kd.jsonl", "kd.raw", "kd.log"} <= {path.name for path in evidence.iterdir()}


@pytest.mark.e2e
@pytest.mark.parametrize("suite", ["async", "lifecycle"])
def test_the_slow_suites_run_unchanged_over_a_debugger_port(suite: str, tmp_path: Path) -> None:
    check(run_suite(suite, tmp_path))


def test_the_plugin_runs_two_workers_with_a_debugger_each(tmp_path: Path) -> None:
    report = run_suite("sync", tmp_path, "-n", "2", "-k", "counter or five")
    assert {test.verdict for test in report.tests} == {"passed"}
    assert sorted(guest.guest_id for guest in report.guests) == ["gw0-1", "gw1-1"]
    assert report.unattributed_prints == 0
