"""Every operation of drvprobe in a real guest, against a driver that answers it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lab.errors import ConfigError
from lab.guest.probeflow import check_flow
from lab.guest.probelang import parse_script
from lab.host.accel import choose_accelerator, probe_accelerators
from lab.host.paths import cache_dir, runs_dir
from lab.image.store import find_image
from lab.pool.boot import boot_guest
from lab.pool.live import LiveGuest
from lab.vm.cleanup import RunFolder
from tests.e2e.running import ROOT, FinishedRun
from tests.guest.test_probelang import WRONG

pytestmark = pytest.mark.e2e

PARCEL = ROOT / "tests" / "e2e" / "parcel"


def test_controls_writes_and_flushes_of_all_kinds(finish_run: Callable[..., FinishedRun]) -> None:
    run = finish_run("--driver", str(PARCEL), "--workers", "1", str(PARCEL / "suite_parcel.py"))
    assert run.exit_code == 0, run.output
    assert run.report.skipped_for == {"neither_io": 1}
    assert run.report.totals == {"passed": 9, "skipped": 1}


_WRONG_SCRIPT = 2
