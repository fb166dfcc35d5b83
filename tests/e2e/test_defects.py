"""`lab selftest defects` on the free guest: some faults of each kind, in one run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.defects.model import DefectsReport
from lab.report.runfiles import read_run
from tests.e2e.running import LAB, ROOT, RUN_DEADLINE_S

pytestmark = pytest.mark.e2e

#: A wrong byte, a fault, a wrong order, and one that the free guest cannot show.
DEFECTS = ("async-lifo", "sync-slots-come-again", "sync-wrong-string", "sync-writes-to-null")


def test_faults_of_each_kind_are_noticed_by_the_tests_that_the_catalogue_names(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    argv = [str(LAB), "selftest", "defects", "--guest", "wine", "--out", str(tmp_path / "out"), *DEFECTS]
    done = subprocess.run(argv, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=RUN_DEADLINE_S, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    report = DefectsReport.model_validate_json((tmp_path / "out" / "defects.json").read_text(encoding="utf-8"))
    found = {entry.name: entry for entry in report.defects}
    assert {name: entry.outcome for name, entry in found.items()} == {
        "async-lifo": "caught",
        "sync-slots-come-again": "not on this guest",
        "sync-wrong-string": "caught",
        "sync-writes-to-null": "caught",
    }
    for name, verdict in (("async-lifo", "product"), ("sync-wrong-string", "product"), ("sync-writes-to-null", "crash")):
        entry = found[name]
        assert entry.caught_by == entry.first, said
        assert [test.verdict for test in entry.tests] == [verdict]
        run = read_run(tmp_path / "out" / name / "1")
        assert run is not None
        assert [test.nodeid for test in run.tests] == entry.first
        # Each run had its own driver, and the unchanged other one.
        drivers = {driver.name: driver.sha256 for driver in run.drivers}
        reference = read_run(tmp_path / "out" / "unchanged" / "1")
        assert reference is not None
        unchanged = {driver.name: driver.sha256 for driver in reference.drivers}
        assert [driver for driver in drivers if drivers[driver] != unchanged[driver]] == [entry.driver]
    assert found["sync-slots-come-again"].reason == "needs direct_io"
    assert report.reference_tests == 3
    assert not report.red_without
    assert "lyshark c" in found["sync-wrong-string"].tests[0].reason
    text = (tmp_path / "out" / "defects.md").read_text(encoding="utf-8")
    assert "| `sync-writes-to-null` |" in text
    assert "caught            sync-wrong-string: product after" in said
