"""Which tests go to one worker together, where each test or class has a fork of its own, and which go first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from lab.report.runfiles import read_run

#: Most tests that wait at a worker.
_ENOUGH = 2


class ForkScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out one scope after the other to the next free worker; the scopes of a dead worker go to another one."""

    #: Tests of one class, or outside of classes of one module, stay together.
    classes = True
    #: Seconds that scopes took in an earlier run; those that had the host without other guests have a negative number.
    seconds: Mapping[str, float] = {}

    def _assign_work_unit(self, node: Any) -> None:
        """Longest first, so that no worker begins a long piece when the others are almost done."""
        known = [seconds for seconds in self.seconds.values() if seconds > 0]
        # New scopes count by their number of tests.
        each = sum(known) / len(known) / 5 if known else 1.0
        longest = max(self.workqueue, key=lambda scope: self.seconds.get(scope, each * len(self.workqueue[scope])))
        self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)

    def remove_node(self, node: Any) -> Any:
        """A worker ended; only its unfinished scopes are handed out again.

        pytest-xdist 3.8 also hands out finished scopes, which have no tests left: the next worker then waits for ever.
        """
        work = self.assigned_work.get(node, {})
        for scope in [scope for scope, tests in work.items() if all(tests.values())]:
            del work[scope]
        return super().remove_node(node)

    def _reschedule(self, node: Any) -> None:
        """Give a worker enough tests: it starts one only when it knows the next one, or that there is none.

        pytest-xdist 3.8 also hands out tests to a worker that took the place of a dead one and still collects; that fails.
        """
        if node.shutting_down or node not in self.registered_collections:
            return
        while self.workqueue and self._pending_of(self.assigned_work[node]) <= _ENOUGH:
            self._assign_work_unit(node)
        if not self.workqueue:
            node.shutdown()

    def _split_scope(self, nodeid: str) -> str:
        """What a test shares its fork with."""
        return scope_of_id(nodeid, classes=self.classes)


def scope_of_id(nodeid: str, *, classes: bool) -> str:
    """What a test shares its fork with, by its id alone: its class or its module if those count, else nothing."""
    # Parameters may hold anything, also "::".
    place = nodeid.partition("[")[0].rpartition("::")[0]
    return place if classes and place else nodeid


def last_seconds(folder: Path, *, classes: bool) -> dict[str, float]:
    """Seconds of each scope in an earlier run; empty without a readable one.

    Args:
        folder: Folder of that run.
        classes: See :func:`scope_of_id`.
    """
    try:
        report = read_run(folder)
    except (OSError, ValueError):
        report = None
    if report is None:
        return {}
    several = {template.key for template in report.templates if template.smp > 1}
    alone = {guest.guest_id for guest in report.guests if guest.template in several}
    found: defaultdict[str, float] = defaultdict(float)
    for test in report.tests:
        scope = scope_of_id(str(test.nodeid), classes=classes)
        # They wait until no other test runs: handed out early, they would block their worker.
        found[scope] += -1e6 if test.guest_id in alone else test.duration_s
    return dict(found)


def make_scheduler(config: pytest.Config, log: Any, *, classes: bool, last_run: Path) -> ForkScheduling:
    """A scheduler for pytest-xdist.

    Args:
        config: pytest's configuration.
        log: Its log.
        classes: Tests of one class or module stay together.
        last_run: Folder of an earlier run, which has how long tests take.
    """
    scheduler = ForkScheduling(config, log)
    scheduler.classes = classes
    scheduler.seconds = last_seconds(last_run, classes=classes)
    return scheduler
