"""Every operation of drvprobe, and every example of docs/fixtures.md, against drivers that answer them.

One of the drivers uses structured exception handling, so Clang compiles it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.running import ROOT, FinishedRun

pytestmark = pytest.mark.e2e

PARCEL = ROOT / "tests" / "e2e" / "parcel"
GUARD = ROOT / "tests" / "e2e" / "guard"
TALLY = ROOT / "tests" / "e2e" / "tally"


def test_the_operations_and_the_examples_of_the_documentation(finish_run: Callable[..., FinishedRun]) -> None:
    suites = (
        str(PARCEL / "suite_parcel.py"),
        str(PARCEL / "suite_examples.py"),
        str(GUARD / "suite_guard.py"),
        str(TALLY / "suite_standing.py"),
    )
    # A guest of two processors needs a template of its own: tests/plugin/test_reference.py runs that example.
    drivers = ("--driver", str(PARCEL), "--driver", str(GUARD), "--driver", str(TALLY))
    run = finish_run(*drivers, "--workers", "1", *suites, "-k", "not two_processors")
    assert run.exit_code == 0, run.output
    assert run.report.totals == {"passed": 39, "skipped": 2}
    assert run.report.skipped_for == {"neither_io": 1, "exit_cancels_io": 1}
    compilers = {driver.name: driver.compiler for driver in run.report.drivers}
    assert "clang" in compilers["guard"]
    assert "clang" not in compilers["parcel"]
