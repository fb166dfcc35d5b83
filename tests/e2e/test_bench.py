"""`lab bench` on a real guest: a measure runs from command to report. Its times do not matter here."""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import psutil
import pytest

from lab.bench.model import BenchReport
from tests.e2e.running import LAB, ROOT, RUN_DEADLINE_S

pytestmark = pytest.mark.e2e


def bench(out: Path, *arguments: str) -> tuple[BenchReport, str]:
    """What `lab bench` measured, and its output."""
    argv = [str(LAB), "bench", "--quick", *arguments, "--guest", "wine", "--out", str(out)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=RUN_DEADLINE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return BenchReport.model_validate_json((out / "bench.json").read_text(encoding="utf-8")), done.stdout


def test_winrm_clients_are_measured_side_by_side(tmp_path: Path) -> None:
    out = tmp_path / "bench"
    report, output = bench(out, "--only", "winrm", "-n", "1")
    assert report.guest.startswith("free guest: Wine")
    assert report.kind == "wine"
    (measure,) = report.measures
    clients = [f"winrm.{command}.{client}" for command in ("echo", "program") for client in ("lab", "session", "pypsrp")]
    assert {one.key: len(one.values) for one in measure.series} == dict.fromkeys([*clients, "winrm.program.reader"], 1)
    (budget,) = (one for one in report.budgets if one.key == "winrm.ratio")
    assert budget.figure is not None
    for text in (report.guest, "not Windows", report.accelerator, "valid for this host"):
        assert text in output
        assert text in (out / "bench.svg").read_text(encoding="utf-8").replace("&#x27;", "'")
    assert ElementTree.parse(out / "bench.svg").getroot().tag.endswith("svg")
    assert list((out / "guests" / "bench").glob("*.log")), "a guest's logs are kept beside the figures"


def test_forks_with_and_without_a_debugger_are_measured_side_by_side(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    report, _ = bench(tmp_path / "bench", "--only", "kdfork", "-n", "4")
    (measure,) = report.measures
    # Each fork's one print arrived: otherwise the measure fails.
    assert {one.key: len(one.values) for one in measure.series} == dict.fromkeys(
        ("kdfork.none", "kdfork.waiting", "kdfork.started"), 4
    )
    (budget,) = (one for one in report.budgets if one.key == "fork.kd")
    assert budget.figure is not None
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
