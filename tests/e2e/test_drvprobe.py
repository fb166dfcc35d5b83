"""Every operation of drvprobe, and every example of docs/fixtures.md, against a driver that answers them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.running import ROOT, FinishedRun

pytestmark = pytest.mark.e2e

PARCEL = ROOT / "tests" / "e2e" / "parcel"


def test_the_operations_and_the_examples_of_the_documentation(finish_run: Callable[..., FinishedRun]) -> None:
    suites = (str(PARCEL / "suite_parcel.py"), str(PARCEL / "suite_examples.py"))
    # A guest of two processors needs a template of its own: tests/plugin/test_reference.py runs that example.
    run = finish_run("--driver", str(PARCEL), "--workers", "1", *suites, "-k", "not two_processors")
    assert run.exit_code == 0, run.output
    assert run.report.totals == {"passed": 25, "skipped": 1}
    assert run.report.skipped_for == {"neither_io": 1}
