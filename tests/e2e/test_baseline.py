"""A defect against its baseline in real guests: newly red and real; an unsteady test is flaky; what did not run is said."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.compare.model import Comparison
from tests.e2e.running import LAB, ROOT, RUN_DEADLINE_S

pytestmark = pytest.mark.e2e

SUITE = '''
import pathlib

import pytest

RUNS = pathlib.Path(__file__).with_name("runs")
pytestmark = pytest.mark.lab_driver("sync")


def test_the_strings(reader):
    assert [read.text for read in reader.read(length=20, times=5)] == [f"hi, lyshark {letter}" for letter in "ABCDE"]


def test_unsteady(reader):
    """Every fifth run fails, whatever the driver; the first one after that of the baseline is such a run."""
    reader.read(length=20)
    with RUNS.open("a") as file:
        file.write("x")
    assert RUNS.stat().st_size % 5 != 2


def test_steady(reader):
    assert reader.read(length=20)
'''


def lab(project: Path, *arguments: str, code: int) -> str:
    """Run the real command in a project, and check how it ends."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        [str(LAB), *arguments],
        cwd=project,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=RUN_DEADLINE_S,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def compared(project: Path) -> Comparison:
    text = (project / "out" / "latest" / "comparison.json").read_text(encoding="utf-8")
    return Comparison.model_validate_json(text)


def test_a_defect_is_real_an_unsteady_test_is_flaky_and_a_deselected_one_is_missed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "driver" / "sync", tmp_path / "driver")
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "test_gate.py").write_text(SUITE, encoding="utf-8")
    (tmp_path / "lab.yaml").write_text("drivers: [driver]\nbaselines: baselines\n", encoding="utf-8")
    lab(tmp_path, "run", code=0)
    lab(tmp_path, "baseline", "save", "main", code=0)
    source = tmp_path / "driver" / "sync.c"
    sound = source.read_text(encoding="utf-8")
    source.write_text(sound.replace("hi, lyshark C", "hi, lyshark c"), encoding="utf-8")
    output = lab(tmp_path, "run", "--baseline", "main", code=1)
    result = compared(tmp_path)
    found = {change.nodeid.rpartition("::")[2]: change for change in result.changes}
    assert {name: change.change for name, change in found.items()} == {
        "test_the_strings": "newly red",
        "test_unsteady": "flaky",
    }, output
    real, flaky = found["test_the_strings"].confirmation, found["test_unsteady"].confirmation
    assert real is not None
    assert (real.outcome, real.new_failed, real.base_failed, real.pairs) == ("real", 8, 0, 8), output
    assert flaky is not None
    assert flaky.outcome == "flaky", output
    assert not result.same_drivers
    # The sound driver again, and one test left out: nothing is red, and still it is not green.
    source.write_text(sound, encoding="utf-8")
    output = lab(tmp_path, "run", "--baseline", "main", "-k", "strings", code=5)
    assert "not run             suites/test_gate.py::test_steady" in output
    assert compared(tmp_path).same_drivers
