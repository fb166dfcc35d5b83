"""Killing QEMU, or the whole run, at a bad moment leaves nothing behind and is told apart from a driver's failure."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import pytest

from tests.e2e.running import FinishedRun, StartedRun, is_qemu, poll

pytestmark = pytest.mark.e2e


def a_test_has_ended(run: StartedRun) -> bool:
    return any(path.stat().st_size > 0 for path in run.out.glob("workers/*.tests.jsonl"))


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


def test_a_killed_qemu_is_infra_for_its_test_and_the_run_goes_on(start_run: Callable[..., StartedRun]) -> None:
    # Booted: with forks, a test may have ended before QEMU is killed, and the next one has another one ready.
    run = start_run("--workers", "1", "--no-fork", "suites/sync/test_device.py")
    poll("the first finished test", lambda: a_test_has_ended(run), timeout=240)
    [victim] = [p for p in run.descendants() if is_qemu(p)]
    victim.kill()
    done = run.finish()
    assert done.exit_code == 10, done.output
    assert len(done.tests("infra")) == 1, [(t.nodeid, t.reason) for t in done.tests("infra")]
    assert not done.tests("product")
    assert not done.tests("crash")
    assert len(done.tests("passed")) >= 5
    assert len(done.report.guests) == 2
