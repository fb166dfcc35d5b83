"""What a driver does with requests, buffers and handles of its client, in the free guest."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.e2e.running import ROOT, FinishedRun

pytestmark = pytest.mark.e2e

COUNTER = ROOT / "tests" / "e2e" / "counter"


def test_cancel_safe_queues_mdls_and_events_of_the_client(finish_run: Callable[..., FinishedRun]) -> None:
    run = finish_run("--driver", str(COUNTER), "--workers", "1", "--no-fork", str(COUNTER / "suite_counter.py"))
    assert run.exit_code == 0, run.output
    assert run.report.totals == {"passed": 1}
    # Functions that Wine does not export cannot be replaced: LabCompat then refuses to load.
    said = [line.text for guest in run.report.guests for line in guest.boot_prints if "functions replaced" in line.text]
    assert said, "LabCompat has said nothing"
    counts = re.search(r"labcompat: (\d+) of (\d+) functions replaced", said[0])
    assert counts
    assert counts[1] == counts[2]
