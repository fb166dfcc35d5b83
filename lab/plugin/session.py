"""The lab's part of one pytest process: its guests, the present test, and the records of both."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import LabError, SuiteError, TransportError
from lab.gate.blame import hang_of, is_of_the_suite
from lab.gate.findings import judge
from lab.gate.repeats import RED
from lab.gate.verdict import Decision
from lab.host.locks import locks_dir
from lab.lease.host_lock import HostLock
from lab.lease.lease import Lease
from lab.lease.life import TESTS_OVER, GuestLife
from lab.lease.pool import GuestPool
from lab.lease.protocol import GuestSource
from lab.lease.slots import Slots, slot_count
from lab.lease.starter import GuestStarter
from lab.lease.waiting import Patience
from lab.plugin.coverage import CoverageByTest
from lab.plugin.drivers import LoadedDriver
from lab.plugin.evidence_by_test import EvidenceByTest
from lab.plugin.host_sleep import HostSleep
from lab.plugin.imports import DriverImports
from lab.plugin.isolation import Isolation
from lab.plugin.markers import Wishes, with_needs
from lab.plugin.options import LabConfig
from lab.plugin.phases import PhaseEnd, Plan
from lab.plugin.repeat import RedTests, origin
from lab.plugin.requirements import Requirements
from lab.plugin.second_run import SecondRuns
from lab.plugin.serving import Serving
from lab.plugin.testrun import TestRun
from lab.plugin.triage import Triage
from lab.prints.stream import first_fault
from lab.report.entries import forks_entry, guest_entry
from lab.report.junit import user_properties
from lab.report.model import ForksEntry
from lab.report.worker_files import WORKERS_DIR, ResultWriter
from lab.snapshot.fork_request import Forking

#: Seconds that the guest's report of its crash may take to arrive.
_CRASH_REPORT_S = 2.0


class LabSession:
    """One object in each process that runs tests: in every worker, or in the only process without xdist.

    Args:
        config: The lab's options.
        source: Boots guests.
        out: Folder of the run.
        worker: ``gw0``, …; ``master`` without xdist.
        wishes: What each collected test asks for.
        users: Ids of the tests that use a guest.
        scopes: For each test what its fork is for; tests of one scope share a fork.
        debugged: A user may stop a test for any time (``--pdb``): no other run waits for this one's tests.
        say: Shows a line on the terminal.
    """

    def __init__(
        self,
        config: LabConfig,
        source: GuestSource,
        *,
        out: Path,
        worker: str,
        wishes: dict[str, Wishes],
        users: frozenset[str],
        scopes: Mapping[str, str] | None = None,
        debugged: bool = False,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.config = config
        self.source = source
        self.out = out
        self.worker = worker
        self.users = users
        self.run: TestRun | None = None
        self.guest_text, self._image_key, self._hashes = _run_facts(source)
        self.imports = DriverImports(source)
        self._requirements = Requirements(source, self.imports, self._hashes)
        self._writer = ResultWriter(out, worker)
        self._red = RedTests(out / WORKERS_DIR)
        with contextlib.suppress(LabError):  # no guest can be started, and each test reports why
            wishes = {nodeid: with_needs(wish, source.payload) for nodeid, wish in wishes.items()}
        self._isolation = Isolation(wishes, scopes or {}, apart=config.coverage != "none")
        self._nextid: str | None = None
        self._last_here = False
        self._share: contextlib.ExitStack | None = None
        self._forks_written = False
        patience = Patience(say)
        self._host_lock = HostLock(out / "workers", out / "workers" if debugged else locks_dir(), patience=patience)
        self.evidence = EvidenceByTest(out, source, dump=config.crash_dump, end=config.keep == "never")
        self._coverage = CoverageByTest.of(source, self._writer)
        self._triage = Triage(self.evidence, self._coverage)
        forks = source.forks if config.boot == "fork" and isinstance(source, Forking) else None
        self._forks = forks
        # Only the lab's own source has a reason; that of a hook may have none.
        self._no_forks = str(getattr(source, "no_forks", "")) if config.boot == "fork" and forks is None else ""
        # Guests that write to a file of the user run alone on the host, without those of other runs.
        places = 1 if config.vm.writes else slot_count(source, forks=forks is not None)
        self._slots = Slots(locks_dir(), places, patience=patience)
        starter = GuestStarter(source, worker, forks=forks, on_change=self._write_guest, kernel_prints=config.kernel_prints)
        self.pool = GuestPool(starter, keep=config.keep)
        self._serving = Serving(self.pool, self.evidence)
        self.second_runs = SecondRuns(source, self.pool, debugged=debugged, say=say)
        self.host_sleep = HostSleep(self._time_is_the_guests, lambda what: self.running().sleep_on_host(what))

    def collected(self, nodeids: Sequence[str]) -> None:
        """Record the tests of the run, and announce which forks it will request."""
        self._writer.collected(list(dict.fromkeys(map(origin, nodeids))))
        if self._forks is not None:
            served = [one for one in nodeids if one in self.users and not self._requirements.will_skip(self.wishes_of(one))]
            counts = self._isolation.forks(served, self.source)
            self._forks.expect(counts, beside=self._host_lock.shared)

    def wishes_of(self, nodeid: str) -> Wishes:
        """What a test asks for."""
        return self._isolation.wishes(nodeid)

    @contextlib.contextmanager
    def host_share(self, nodeid: str, nextid: str | None = None) -> Iterator[None]:
        """Hold this worker's share of the host for a test, or all of it, and a slot for its guest.

        Args:
            nodeid: The test.
            nextid: The one after it, where it is known.
        """
        if self._share is not None:
            # The second run of a test whose guest was starved, perhaps by this run's own workers: nothing runs beside it.
            self._share.close()
            self._share.enter_context(self._host_lock.alone())
            yield
            return
        wishes = self._isolation.wishes(nodeid)
        self._nextid = nextid
        self._last_here = False
        # The slot first: a worker that waits for one must not hold the host lock, which the holder of a slot may wait for.
        self._slots.take()
        alone = wishes.cpus and not self._requirements.will_skip(wishes)
        try:
            with contextlib.ExitStack() as share:
                share.enter_context(self._host_lock.alone() if alone else self._host_lock.shared())
                self._share = share
                try:
                    yield
                finally:
                    self._share = None
                    if self._spent() and self.pool.current is not None:
                        self.pool.release(self.pool.current.condemned or TESTS_OVER)
        finally:
            if self.pool.current is None:
                self._slots.give_back()

    def begin(self, nodeid: str) -> None:
        """A test's setup begins: skip it, or open its window on a guest that is there already."""
        wishes = self._isolation.wishes(nodeid)
        plan = Plan(
            nodeid=nodeid,
            wishes=wishes,
            started=time.time(),
            uses_guest=nodeid in self.users,
            own_modules=self.imports.own,
            privileged_at=self.imports.privileged_at,
            pool_tags_of=self.imports.pool_tags_of,
            scope=self._isolation.next_scope(nodeid),
            can_repeat=self.second_runs.possible,
            first_run=self.second_runs.begin(),
        )
        run = self.run = TestRun(plan)
        self.host_sleep.begin()
        lease = self.pool.current if plan.uses_guest else None
        self._writer.begin(origin(nodeid), started=plan.started, guest_id=lease.life.guest_id if lease else None)
        skip = self._requirements.check(wishes)
        if skip is not None:
            run.skip(skip)
            # With the line of the test instead of this one, as in pytest's skip marker.
            raise pytest.skip.Exception(skip.reason, _use_item_location=True)
        if lease is not None:
            self._serving.take_current(run)
            self._prepare_next(run)

    def lease(self) -> Lease:
        """The guest of the present test, booted if necessary.

        Raises:
            GuestError: None can be started.
        """
        run = self.running()
        served = run.lease is not None
        lease = self._serving.lease_of(run)
        if not served:
            self._prepare_next(run)
        return lease

    def running(self) -> TestRun:
        """The present test."""
        if self.run is None:
            raise SuiteError(
                "a guest can only be used while a test runs", hint="use the lab's fixtures in tests and function fixtures"
            )
        return self.run

    def phase_ended(self, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
        """Record how a phase ended; for a failure, add the test's prints and examine the guest."""
        run = self.run
        if run is None or run.nodeid != report.nodeid:
            return
        error = call.excinfo.value if call.excinfo is not None else None
        error = hang_of(error) or error
        if run.lease is not None and error is not None:
            run.note_processor(run.lease.guest.processor_reading())
            self._triage.excuse(run, run.lease, report, error)
            self._triage.excuse_lack(run, run.lease, report, error)
        if isinstance(error, SuiteError) and report.outcome == "failed" and not is_of_the_suite(error):
            report.longrepr = str(error)  # of a marker or a fixture's use; the lab's own lines would not help
        run.end_phase(PhaseEnd.of(report, error))
        if run.lease is not None and error is not None and not isinstance(error, pytest.skip.Exception):
            # Also if pytest reports "skipped", because the test is expected to fail.
            self._triage.look_into(run, run.lease, error)
        if report.outcome == "failed" and run.lease is not None:
            run.lease.note_failure()
            if self.config.keep == "failed" and self.pool.kept is None:
                # Drivers, processes and handles stay as the test left them: no other test may use this guest or clean it up.
                run.lease.condemn(f"left running after {run.nodeid}")
            report.sections.append(("kernel prints", self._triage.prints_text(run, run.lease) or "(none)"))
            report.sections.append(("guest", f"{run.lease.life.guest_id}: {self.guest_text}"))
        if report.outcome == "failed":
            self.second_runs.phase_failed(self._judge(run))
        if report.when == "teardown":
            self._finish(run, report)

    def tear_down(self, nextid: str | None) -> None:
        """A test's teardown begins: find the drivers that the next test needs as they are."""
        if self.run is not None:
            hand_over = self._isolation.hand_over(self.run, nextid)
            if self._coverage is not None and nextid is not None and self._requirements.will_skip(self.wishes_of(nextid)):
                # The lines of the unload are counted, and a test that is skipped unloads nothing.
                hand_over = replace(hand_over, keep_loaded=frozenset())
            self.run.hand_over(hand_over)
            self._last_here = self.run.last_here

    def leave_driver(self, driver: LoadedDriver) -> None:
        """Unload a driver after a test, unless the next test needs it as it is or the guest is unfit anyway.

        A test that does not need a fresh load needs no unload either, if its fork ends with it; unless the lines of the unload
        are counted, or Driver Verifier looks for what is left at the unload.
        """
        run = self.running()
        lease = run.lease
        if run.last_here and not run.wishes.reload and self._coverage is None and not self._verified(run):
            return
        if lease is None or lease.condemned or not lease.guest.alive or driver.name in run.keep_loaded:
            return
        if first_fault(lease.ledger.peek()) is not None:
            # The driver has ended with its process or its virtual machine: there is nothing to unload.
            return
        try:
            driver.leave()
        except TransportError:
            # A guest that has just crashed does not answer; its report of the crash may come a moment later.
            if lease.ledger.fault(timeout=_CRASH_REPORT_S) is None:
                raise

    @staticmethod
    def _verified(run: TestRun) -> bool:
        """Whether Driver Verifier is on in the test's guest."""
        return run.lease is not None and run.lease.guest.verifier is not None

    def close_window(self) -> None:
        """A test's fixtures are gone: collect its last prints and judge its guest. Never raises."""
        if self.run is not None:
            self._triage.close_window(self.run)

    def check_window(self) -> None:
        """Raise what the window has to say against a test that has not failed so far."""
        if self.run is not None:
            self._triage.check_window(self.run)

    def close(self) -> None:
        """End of this process's tests: end the guest."""
        try:
            self.pool.close()
            self._write_forks()
        finally:
            self._slots.give_back()
            self._writer.close()

    def _prepare_next(self, run: TestRun) -> None:
        """Restore the next test's fork while this one runs."""
        nextid = self._nextid
        if run.lease is None or self._forks is None or nextid is None or nextid not in self.users:
            return
        if self._isolation.shares(run, nextid):
            return
        after = self._isolation.wishes(nextid)
        if not self._requirements.lacking(after):
            self.pool.prepare(smp=after.cpus, real_clock=after.real_clock, drivers=after.drivers)

    def _time_is_the_guests(self) -> bool:
        """Whether the guest of the test that runs now has a virtual clock."""
        return self.run is not None and self.run.lease is not None and self.run.lease.guest.clock == "virtual"

    def _spent(self) -> bool:
        """No other test uses the current guest: it need not run until the next one begins."""
        lease = self.pool.current
        return lease is not None and bool(lease.guest.template) and (bool(lease.condemned) or self._last_here)

    def _judge(self, run: TestRun) -> Decision:
        return judge(run.findings, self.config.known, today=datetime.datetime.now(tz=datetime.UTC).date())

    def _finish(self, run: TestRun, report: pytest.TestReport) -> None:
        decision = self._judge(run)
        self.second_runs.end(decision, run.processor)
        entry = run.entry(decision, self.worker, self.evidence.entries(run.gathered.evidence))
        self._writer.test(entry)
        if self.config.until_red and decision.verdict in RED:
            self._red.note(run.nodeid)
        report.user_properties += user_properties(entry, guest=self.guest_text, image_key=self._image_key, hashes=self._hashes)
        self.run = None

    def _write_forks(self) -> None:
        """Record which templates the forks came from, and why guests were booted instead."""
        if self._forks_written:
            return
        self._forks_written = True
        if self._forks is None:
            if self._no_forks:
                self._writer.forks(ForksEntry(notes=[f"guests are booted: {self._no_forks}"]))
            return
        self._writer.forks(forks_entry(self._forks.figures))

    def _write_guest(self, life: GuestLife) -> None:
        """Record the facts about a guest, again whenever there are more."""
        if life.prints_in is not None and not life.ended:
            self._writer.prints(life.prints_in)
        sign, saved = self.evidence.unclaimed(life.guest_id) if life.ended else (None, None)
        self._writer.guest(guest_entry(life, worker=self.worker, sign=sign, evidence=self.evidence.entries(saved)))


def _run_facts(source: GuestSource) -> tuple[str, str, dict[str, str]]:
    """The guest in one line, its image's key and the drivers' hashes; also without a guest."""
    try:
        hashes = {driver.name: driver.sha256 for driver in source.payload.drivers.values()}
        return source.manifest.guest, source.manifest.key, hashes
    except LabError:
        return "no guest", "", {}
