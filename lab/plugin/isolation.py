"""Which tests share a guest: the scope of a fork, and what one test leaves for the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pytest

from lab.lease.protocol import GuestSource
from lab.lease.wish import guest_wish
from lab.plugin.markers import Wishes
from lab.plugin.phases import HandOver
from lab.plugin.testrun import TestRun
from lab.snapshot.fork_request import ForkWish


def scope_of(item: pytest.Item, isolation: str) -> str:
    """What a test shares its fork with, as an id: the test itself, its class, its module, or the session.

    Tests outside of classes share one with the others outside of classes of their module.
    """
    if isolation == "session":
        return "session"
    if isolation == "test":
        return item.nodeid
    of_class = item.getparent(pytest.Class) if isolation == "class" else None
    parent = of_class or item.getparent(pytest.Module) or item
    return parent.nodeid


class Isolation:
    """The tests of one process, as far as they share guests.

    Args:
        wishes: What each collected test asks for.
        scopes: For each test what its fork is for, by :func:`scope_of`; tests of one scope share a fork.
        apart: Drivers are never kept loaded for a test of another scope, in a booted guest either: so their lines run equally
            often with and without forks.
    """

    def __init__(self, wishes: Mapping[str, Wishes], scopes: Mapping[str, str], *, apart: bool = False) -> None:
        self._wishes = wishes
        self._scopes = scopes
        self._apart = apart
        self._executions = 0

    def wishes(self, nodeid: str) -> Wishes:
        """What a test asks for; nothing if it was not collected."""
        return self._wishes.get(nodeid, Wishes())

    def forks(self, nodeids: Iterable[str], source: GuestSource) -> dict[ForkWish, int]:
        """How many forks of each kind some tests need, in all workers.

        Args:
            nodeids: The tests, in their order.
            source: Where the guests come from.
        """
        first: dict[tuple[str, int, str, str], ForkWish] = {}
        for nodeid in nodeids:
            wishes = self.wishes(nodeid)
            wish = guest_wish(source, smp=wishes.cpus, real_clock=wishes.real_clock, drivers=wishes.drivers)
            first.setdefault((self._scopes.get(nodeid, ""), wish.smp, wish.clock, nodeid if wishes.fresh else ""), wish)
        return dict(Counter(first.values()))

    def next_scope(self, nodeid: str) -> str:
        """The scope of the fork for a test's next execution.

        A test with a scope of its own gets another fork when it is run again.
        """
        scope = self._scopes.get(nodeid, "")
        if scope != nodeid:
            return scope
        self._executions += 1
        return f"{nodeid} #{self._executions}"

    def shares(self, run: TestRun, nextid: str) -> bool:
        """Whether the next test may use the guest of this one."""
        after = self.wishes(nextid)
        if after.fresh or after.cpus != run.wishes.cpus:
            return False
        return not _is_forked(run) or self._scopes.get(nextid, "") == run.plan.scope

    def hand_over(self, run: TestRun, nextid: str | None) -> HandOver:
        """Whether the next test uses the fork of a test that is about to end, and which drivers it needs as they are.

        Args:
            run: The test.
            nextid: The test after it, where it is known.
        """
        if nextid is None or not self.shares(run, nextid):
            return HandOver(last_here=_is_forked(run))
        after = self.wishes(nextid)
        if self._apart and self._scopes.get(nextid, "") != run.plan.scope:
            return HandOver()
        return HandOver(keep_loaded=frozenset() if after.reload else frozenset(after.drivers))


def _is_forked(run: TestRun) -> bool:
    return run.lease is not None and bool(run.lease.guest.template)
