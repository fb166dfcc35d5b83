"""Gives a test its guest: the current one or a new one, with the test's window open on it."""

from __future__ import annotations

from lab.errors import EvidenceLost
from lab.lease.lease import Lease
from lab.lease.pool import GuestPool
from lab.plugin.evidence_by_test import EvidenceByTest
from lab.plugin.phases import Service
from lab.plugin.testrun import TestRun
from lab.prints.stream import PrintStream, fault_error, first_fault


class Serving:
    """Gets guests from the pool for tests.

    Args:
        pool: This worker's guests.
        evidence: Watches the guest for the test.
    """

    def __init__(self, pool: GuestPool, evidence: EvidenceByTest) -> None:
        self._pool = pool
        self._evidence = evidence

    def lease_of(self, run: TestRun) -> Lease:
        """The guest of a test, booted if necessary.

        Raises:
            GuestError: None can be started, or it had faulted before the test did anything.
        """
        if run.lease is None:
            self._take(run, self._acquire(run))
        assert run.lease is not None
        return run.lease

    def take_current(self, run: TestRun) -> None:
        """Open the test's window on the current guest, if the test may use it.

        Raises:
            GuestError: It had faulted before the test did anything.
        """
        lease, wishes = self._pool.current, run.wishes
        if lease is not None and self._pool.fits(
            smp=wishes.cpus, fresh=wishes.fresh, real_clock=wishes.real_clock, scope=run.plan.scope
        ):
            self._take(run, lease)

    def _take(self, run: TestRun, lease: Lease) -> None:
        """Open the test's window on a guest; a guest that writes no markers any more is replaced, once."""
        try:
            stream = self._open_window(run, lease)
        except EvidenceLost as error:
            lease.condemn(f"lost evidence between two tests: {error.message}")
            lease = self._acquire(run)
            stream = self._open_window(run, lease)
        events_from = self._evidence.begin(run, lease)
        before = lease.serve(run.nodeid)
        early = first_fault(lease.ledger.peek())
        if early is not None and early.lacks and before:
            # A driver of the test before called a function that this guest lacks, which does not concern this test.
            lease.ledger.close(alive=lease.guest.alive)
            lease.condemn(f"lacks {early.lacks}, called after {before}")
            self._take(run, self._acquire(run))
            return
        behind = None if early is None else f"the test before it ({before})" if before else "the guest's boot"
        processor = lease.guest.processor_reading()
        run.serve(Service(lease=lease, stream=stream, events_from=events_from, behind=behind, processor=processor))
        if early is not None:
            raise fault_error(early, f"the driver crashed before this test did anything, after {behind}: {early.text}")

    def _acquire(self, run: TestRun) -> Lease:
        wishes = run.wishes
        return self._pool.acquire(
            smp=wishes.cpus,
            fresh=wishes.fresh,
            real_clock=wishes.real_clock,
            drivers=wishes.drivers,
            scope=run.plan.scope,
        )

    def _open_window(self, run: TestRun, lease: Lease) -> PrintStream:
        """The prints of a fork's drivers from their load belong to the test that finds them freshly loaded."""
        wishes = run.wishes
        with_load = bool(lease.guest.loaded & set(wishes.drivers))
        encoding = self._pool.source.payload.encoding_of(wishes.drivers)
        return lease.ledger.open(run.nodeid, expected_fault=wishes.expected_fault, with_load=with_load, encoding=encoding)
