"""Killing QEMU, or the whole run, at a bad moment leaves nothing, and is distinguished from a driver's failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.e2e.running import FinishedRun, StartedRun, is_qemu, poll

pytestmark = pytest.mark.e2e


_READS_ON = """\
import pathlib
import pytest

pytestmark = pytest.mark.lab_driver("sync")

def test_before(reader):
    assert reader.read(length=20)[0].error == 0

def test_reads_on(reader):
    pathlib.Path({started!r}).touch()
    for _ in range(2000):
        reader.read(length=20)

def test_after(reader):
    assert reader.read(length=20)[0].error == 0
"""


def test_sigkill_of_the_run_leaves_no_process_and_no_stale_lock(
    start_run: Callable[..., StartedRun], finish_run: Callable[..., FinishedRun]
) -> None:
    run = start_run("--workers", "2", "suites/sync", "suites/async")
    poll("two running QEMUs", lambda: sum(map(is_qemu, run.descendants())) >= 2, timeout=180)
    family = run.descendants()
    run.process.kill()
    run.process.wait(timeout=30)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    again = finish_run("--workers", "1", "suites/sync", "-k", "first_five")
    assert again.exit_code == 0, again.output


def test_a_killed_qemu_is_infra_for_its_test_and_the_run_goes_on(start_run: Callable[..., StartedRun], tmp_path: Path) -> None:
    started = tmp_path / "started"
    suite = tmp_path / "test_reads_on.py"
    # Between two tests, a guest that has ended is replaced without a failure: a test must be running.
    suite.write_text(_READS_ON.format(started=str(started)), encoding="utf-8")
    run = start_run("--workers", "1", "--no-fork", str(suite))
    poll("the test that reads on", started.exists, timeout=240)
    [victim] = [p for p in run.descendants() if is_qemu(p)]
    victim.kill()
    done = run.finish()
    assert done.exit_code == 10, done.output
    assert done.report.totals == {"passed": 2, "infra": 1}, [(t.nodeid, t.reason) for t in done.report.tests]
    assert done.tests("infra")[0].nodeid.endswith("test_reads_on")
    assert len(done.report.guests) == 2
