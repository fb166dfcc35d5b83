"""Every operation of drvprobe in a real guest, against a driver that answers it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.running import ROOT, FinishedRun

pytestmark = pytest.mark.e2e

PARCEL = ROOT / "tests" / "e2e" / "parcel"


def test_controls_writes_and_flushes_of_all_kinds(finish_run: Callable[..., FinishedRun]) -> None:
    run = finish_run("--driver", str(PARCEL), "--workers", "1", str(PARCEL / "suite_parcel.py"))
    assert run.exit_code == 0, run.output
    assert run.report.totals == {"passed": 9, "skipped": 1}
    assert run.report.skipped_for == {"neither_io": 1}
