"""Which tests go to one worker together, where each test or class has a fork of its own."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

#: More tests than these need not wait at a worker.
_ENOUGH = 2


class ForkScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out one scope after the other to whoever is free; what a dead worker left goes to another one."""

    #: Tests of one class, or outside of classes of one module, stay together.
    classes = True

    def remove_node(self, node: Any) -> Any:
        """A worker ended; only what it had not finished is handed out again.

        pytest-xdist 3.8 hands out finished scopes once more, of which nothing is left to send: the next worker then waits
        for ever.
        """
        work = self.assigned_work.get(node, {})
        for scope in [scope for scope, tests in work.items() if all(tests.values())]:
            del work[scope]
        return super().remove_node(node)

    def _reschedule(self, node: Any) -> None:
        """Give a worker enough to go on with: it starts a test only when it knows the next one, or that there is none."""
        if node.shutting_down:
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


def make_scheduler(config: pytest.Config, log: Any, *, classes: bool) -> ForkScheduling:
    """A scheduler for pytest-xdist."""
    scheduler = ForkScheduling(config, log)
    scheduler.classes = classes
    return scheduler
