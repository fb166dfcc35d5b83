"""The lab's part of one pytest process: its guests, the test that runs now, and what is written down about both."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from lab.crash.faults import FaultWords, title
from lab.errors import ConfigError, EvidenceLost, GuestCrashed, GuestExited, GuestHung, LabError, TransportError
from lab.gate.verdict import leaves
from lab.guest import capability
from lab.plugin.drivers import LoadedDriver
from lab.plugin.evidence import EvidenceKeeper
from lab.plugin.markers import Wishes, unknown_driver
from lab.plugin.options import LabConfig
from lab.plugin.testrun import TestRun
from lab.pool.forking import Forking
from lab.pool.pool import TESTS_OVER, GuestLife, GuestPool, GuestSource, Seat
from lab.pool.slots import Slots, slot_count
from lab.pool.turn import MachineTurn
from lab.prints.stream import PrintStream, first_fault, render
from lab.prints.window import without_faults
from lab.report.collect import ResultWriter, fault_entry, print_entry, sign_entry
from lab.report.junit import user_properties
from lab.report.model import ForksEntry, GuestEntry, TemplateEntry

#: How long the guest may take for a marker or a question when a test has already failed.
_SHORT_S = 10.0
#: How long the guest's word about its crash may be on its way.
_SETTLE_S = 2.0


class LabSession:
    """Lives in each process that runs tests: in every worker, or in the only process without xdist.

    Args:
        config: The lab's options.
        source: Where guests come from.
        out: Folder of the run.
        worker: ``gw0``, …; ``master`` without xdist.
        wishes: What each collected test asks for.
        users: Ids of the tests that use a guest.
        scopes: For each test what its fork is for; tests of one scope share a fork.
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
    ) -> None:
        self.config = config
        self.source = source
        self.out = out
        self.worker = worker
        self.users = users
        self.run: TestRun | None = None
        self._wishes = wishes
        self.guest_text, self._image_key, self._hashes = _run_facts(source)
        self._writer = ResultWriter(out, worker)
        self._scopes = scopes or {}
        self._nextid: str | None = None
        self._executions = 0
        self._last_here = False
        self._forks_written = False
        self._turn = MachineTurn(out / "workers")
        self.evidence = EvidenceKeeper(out, source, dump=config.crash_dump, end=config.keep == "never")
        forks = source.forks if config.boot == "fork" and isinstance(source, Forking) else None
        self._forks = forks
        # Only the lab's own source knows a reason; one that a hook put in its place need not.
        self._no_forks = str(getattr(source, "no_forks", "")) if config.boot == "fork" and forks is None else ""
        self._slots = Slots(out / "workers", slot_count(source, forks=forks is not None))
        self.pool = GuestPool(source, worker, forks=forks, on_change=self._write_guest, keep=config.keep)

    def collected(self, nodeids: Sequence[str]) -> None:
        """Write down which tests the run has."""
        self._writer.collected(nodeids)

    @contextlib.contextmanager
    def turn(self, nodeid: str, nextid: str | None = None) -> Iterator[None]:
        """Hold this worker's share of the machine for a test, or all of it, and a place for its guest.

        Args:
            nodeid: The test.
            nextid: The one after it, where it is known.
        """
        wishes = self._wishes.get(nodeid, Wishes())
        self._nextid = nextid
        self._last_here = False
        # The place first: whoever waits for one must not hold the machine's turn, which a holder of a place may wait for.
        self._slots.take()
        alone = wishes.cpus and not self._will_skip(wishes)
        try:
            with self._turn.alone() if alone else self._turn.shared():
                try:
                    yield
                finally:
                    if self._spent() and self.pool.current is not None:
                        self.pool.release(self.pool.current.condemned or TESTS_OVER)
        finally:
            if self.pool.current is None:
                self._slots.give_back()

    def begin(self, nodeid: str) -> None:
        """A test's setup begins: skip it, or open its window on a guest that is there already."""
        wishes = self._wishes.get(nodeid, Wishes())
        run = self.run = TestRun(nodeid=nodeid, wishes=wishes, started=time.time(), scope=self._scope(nodeid))
        seat = self.pool.current if nodeid in self.users else None
        self._writer.begin(nodeid, started=run.started, guest_id=seat.life.guest_id if seat else None)
        missing = self._lacks(wishes)
        if missing:
            self._skip(run, missing)
        wrong = unknown_driver(wishes, self._hashes) if self._hashes else ""
        if wrong:
            raise ConfigError(wrong, hint="name its folder with --lab-driver")
        if seat is not None and self.pool.fits(smp=wishes.cpus, fresh=wishes.fresh, scope=run.scope):
            self._take(run, seat)

    def seat(self) -> Seat:
        """The guest of the test that runs now, booted if need be.

        Raises:
            GuestError: There is none to be had.
        """
        run = self.running()
        if run.seat is None:
            self._take(run, self._acquire(run))
        assert run.seat is not None
        return run.seat

    def running(self) -> TestRun:
        """The test that runs now."""
        if self.run is None:
            raise LabError(
                "a guest can only be used while a test runs", hint="use the lab's fixtures in tests and function fixtures"
            )
        return self.run

    def phase_ended(self, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
        """Take down how a phase ended; a failure gets the test's prints beside it, and is looked into."""
        run = self.run
        if run is None or run.nodeid != report.nodeid:
            return
        error = call.excinfo.value if call.excinfo is not None else None
        if run.seat is not None and error is not None:
            self._excuse(run, run.seat, report, error)
        run.saw(call, report)
        if run.seat is not None and error is not None and not isinstance(error, pytest.skip.Exception):
            # Also where pytest says "skipped", because the test is expected to fail.
            self._look_into(run, error)
        if report.outcome == "failed" and run.seat is not None:
            run.seat.failed_tests += 1
            report.sections.append(("kernel prints", self._prints_text(run) or "(none)"))
            report.sections.append(("guest", f"{run.seat.life.guest_id}: {self.guest_text}"))
        if report.when == "teardown":
            self._finish(run, report)

    def tear_down(self, nextid: str | None) -> None:
        """A test's teardown begins: which drivers does the next test want as they are?"""
        run = self.run
        if run is None:
            return
        shared = nextid is not None and self._shares(run, nextid)
        run.last_here = self._last_here = self._forked(run) and not shared
        if nextid is not None and shared:
            after = self._wishes.get(nextid, Wishes())
            if not after.reload:
                run.keep_loaded = frozenset(after.drivers)

    def leave_driver(self, driver: LoadedDriver) -> None:
        """Unload a driver behind a test, unless the next test wants it as it is or the guest is spoilt anyway.

        A test that does not care for a fresh load does not see to an unload either, where its fork goes with it.
        """
        run = self.running()
        seat = run.seat
        if run.last_here and not run.wishes.reload:
            return
        if seat is None or seat.condemned or not seat.guest.alive or driver.name in run.keep_loaded:
            return
        if first_fault(seat.ledger.peek()) is not None:
            # The driver is gone with the process that hosted it, or with its machine: there is nothing to unload.
            return
        try:
            driver.leave()
        except TransportError:
            # A guest that has just crashed answers no more; its own word about it may be a moment later than the silence.
            if seat.ledger.fault(timeout=_SETTLE_S) is None:
                raise

    def close_window(self) -> None:
        """A test's fixtures are gone: collect its last prints and judge its guest. Never raises."""
        run = self.run
        if run is None or run.seat is None or run.window is not None:
            return
        seat = run.seat
        if run.hung:
            # The lab has ended it. What it said about that is kept, and no fault of the test's.
            run.window = without_faults(seat.ledger.close(alive=False), behind=run.records_to or 0)
            self.evidence.window_closed(run, seat)
            return
        self.evidence.crashed(run, seat)
        run.guest_alive = seat.guest.alive
        run.window = seat.ledger.close(alive=run.guest_alive)
        self.evidence.crashed(run, seat)
        # The machine may have gone while the marker was waited for.
        run.guest_alive = run.guest_alive and seat.guest.alive
        self.evidence.window_closed(run, seat)
        fault = first_fault(run.window.records)
        if run.sign is not None:
            # This explains whatever the test has run into before, such as a connection that broke.
            seat.condemned = ""
            seat.condemn(f"crash: {run.sign.text} in {run.nodeid}")
        elif fault is not None:
            seat.condemned = ""  # as above
            seat.condemn(f"crash: 0x{fault.code:08X} in {run.nodeid}")
        elif not run.guest_alive:
            seat.condemned = ""  # as above
            seat.condemn(f"exited: {seat.guest.machine.exited_error().message.splitlines()[0]}")
        elif run.window.gaps:
            seat.condemn(f"lost evidence: {run.window.gaps[0]}")

    def check_window(self) -> None:
        """Raise what the window has to say against a test that has not failed so far."""
        run = self.run
        if run is None or run.window is None or run.seat is None or run.failed:
            return
        if run.faults:
            fault = run.faults[0]
            words = FaultWords.of(fault.code, fault.parameters)
            raise GuestCrashed(fault.code, fault.parameters, message=title(fault.code, fault.parameters), hint=words.hint)
        if run.provoked_the_end:
            return
        if run.sign is not None:
            raise GuestCrashed(0, message=run.sign.text)
        if not run.guest_alive:
            raise run.seat.guest.machine.exited_error()
        run.window.check()

    def close(self) -> None:
        """End of this process's tests: end the guest."""
        try:
            self.pool.close()
            self._write_forks()
        finally:
            self._slots.give_back()
            self._writer.close()

    def _take(self, run: TestRun, seat: Seat) -> None:
        """Open the test's window on a guest; one that lost its voice since the last test is replaced, once."""
        try:
            run.stream = self._open_window(run, seat)
        except EvidenceLost as error:
            seat.condemn(f"lost evidence between two tests: {error.message}")
            seat = self._acquire(run)
            run.stream = self._open_window(run, seat)
        run.seat = seat
        self.evidence.begin(run, seat)
        before, seat.last_test = seat.last_test, run.nodeid
        early = first_fault(seat.ledger.peek())
        if early is not None:
            run.behind = f"the test before it ({before})" if before else "the guest's boot"
            raise GuestCrashed(
                early.code,
                early.parameters,
                message=f"the driver crashed before this test did anything, behind {run.behind}: {early.text}",
            )
        self._prepare_next(run)

    def _acquire(self, run: TestRun) -> Seat:
        wishes = run.wishes
        return self.pool.acquire(smp=wishes.cpus, fresh=wishes.fresh, drivers=wishes.drivers, scope=run.scope)

    @staticmethod
    def _open_window(run: TestRun, seat: Seat) -> PrintStream:
        """What a fork's drivers printed when they were loaded belongs to the test that found them freshly loaded."""
        with_load = bool(seat.guest.loaded & set(run.wishes.drivers))
        return seat.ledger.open(run.nodeid, expected_fault=run.wishes.expected_fault, with_load=with_load)

    def _will_skip(self, wishes: Wishes) -> bool:
        """Whether a test needs no guest because it will be skipped; where there are no guests at all, it will say so."""
        try:
            return bool(self._lacks(wishes))
        except LabError:
            return True

    def _lacks(self, wishes: Wishes) -> Sequence[str]:
        """Capabilities that a test needs and the guest has not."""
        return capability.missing(wishes.needs, self.source.manifest.capabilities) if wishes.needs else ()

    def _scope(self, nodeid: str) -> str:
        """What a test's fork is for. A test that is alone in it gets another one when it is run again."""
        scope = self._scopes.get(nodeid, "")
        if scope != nodeid:
            return scope
        self._executions += 1
        return f"{nodeid} #{self._executions}"

    def _shares(self, run: TestRun, nextid: str) -> bool:
        """Whether the next test may use the guest of this one."""
        after = self._wishes.get(nextid, Wishes())
        if after.fresh or after.cpus != run.wishes.cpus:
            return False
        return not self._forked(run) or self._scopes.get(nextid, "") == run.scope

    @staticmethod
    def _forked(run: TestRun) -> bool:
        return run.seat is not None and bool(run.seat.guest.template)

    def _prepare_next(self, run: TestRun) -> None:
        """Have the next test's fork restored while this one runs."""
        nextid = self._nextid
        if self._forks is None or nextid is None or nextid not in self.users or self._shares(run, nextid):
            return
        after = self._wishes.get(nextid, Wishes())
        if not self._lacks(after):
            self.pool.prepare(smp=after.cpus, drivers=after.drivers)

    def _spent(self) -> bool:
        """The guest at work serves no other test: there is no need to keep it until the next one begins."""
        seat = self.pool.current
        return seat is not None and bool(seat.guest.template) and (bool(seat.condemned) or self._last_here)

    def _skip(self, run: TestRun, missing: Sequence[str]) -> NoReturn:
        run.missing = tuple(missing)
        noun = "capability" if len(missing) == 1 else "capabilities"
        run.skip_reason = f"needs {noun} {', '.join(missing)}, which {self.source.manifest.guest} lacks"
        # With the test's own place, not this line's, as pytest does for its skip marker.
        raise pytest.skip.Exception(run.skip_reason, _use_item_location=True)

    def _look_into(self, run: TestRun, failure: BaseException) -> None:
        """After a failure: is the guest still good for the next test?"""
        seat = run.seat
        assert seat is not None
        crashed = self.evidence.crashed(run, seat) or first_fault(seat.ledger.peek()) is not None
        for error in leaves(failure):
            if isinstance(error, GuestHung) and run.guest_answers is None and not crashed:
                run.guest_answers = seat.guest.answers(timeout=2 * _SHORT_S)
                seat.condemn(f"hang: {error.message}")
                if not run.guest_answers and seat.guest.alive:
                    self.evidence.save_hang(run, seat, error.message)
            elif isinstance(error, TransportError) and not crashed and not run.hung and seat.guest.alive:
                # A guest that hangs as a whole does not even say that the command still runs.
                seat.condemn(f"{type(error).__name__}: {error.message}")
                if not seat.guest.answers(timeout=2 * _SHORT_S) and seat.guest.alive:
                    self.evidence.save_hang(run, seat, error.message)
            elif isinstance(error, TransportError | GuestCrashed | EvidenceLost):
                seat.condemn(f"{type(error).__name__}: {error.message}")

    def _excuse(self, run: TestRun, seat: Seat, report: pytest.TestReport, error: BaseException) -> None:
        """Have a phase pass that only met the end of a guest whose end the test provokes."""
        consequences = TransportError | GuestExited | GuestHung | EvidenceLost | GuestCrashed
        if report.outcome != "failed" or run.wishes.expected_fault is None:
            return
        if not all(isinstance(leaf, consequences) for leaf in leaves(error)):
            return
        self.evidence.crashed(run, seat)
        if run.provoked_the_end and not run.faults:
            report.outcome = "passed"
            report.sections.append(("guest", f"it ended by the fault that this test provokes: {error}"))
            report.longrepr = None

    def _prints_text(self, run: TestRun) -> str:
        seat = run.seat
        assert seat is not None
        if run.window is not None:
            return render(run.window.records)
        if seat.guest.alive:
            with contextlib.suppress(EvidenceLost):
                seat.guest.prints.mark(seat.ledger.next_token(), timeout=_SHORT_S)
        return render(seat.ledger.peek())

    def _finish(self, run: TestRun, report: pytest.TestReport) -> None:
        decision = run.decide(self.config.known)
        entry = run.entry(decision, self.worker, self.evidence.entries(run.evidence))
        self._writer.test(entry)
        report.user_properties += user_properties(entry, guest=self.guest_text, image_key=self._image_key, hashes=self._hashes)
        self.run = None

    def _write_forks(self) -> None:
        """Write down which templates the forks came from, and why guests were booted instead."""
        if self._forks_written:
            return
        self._forks_written = True
        if self._forks is None:
            if self._no_forks:
                self._writer.forks(ForksEntry(notes=[f"guests are booted: {self._no_forks}"]))
            return
        figures = self._forks.figures
        templates = [
            TemplateEntry(
                key=template.key,
                name=template.name,
                drivers=list(template.drivers),
                smp=template.smp,
                boot_s=template.boot_s,
                made_s=figures.made.get(template.key),
            )
            for template in figures.used.values()
        ]
        self._writer.forks(ForksEntry(templates=templates, failed=figures.failed, notes=list(figures.notes)))

    def _write_guest(self, life: GuestLife) -> None:
        account = life.attribution
        faults = [fault_entry(record) for record in account.faults]
        sign, saved = self.evidence.unclaimed(life.guest_id) if life.ended else (None, None)
        if sign is not None and not faults:
            faults = [sign_entry(sign)]
        self._writer.guest(
            GuestEntry(
                guest_id=life.guest_id,
                worker=self.worker,
                started=life.started,
                boot_s=life.boot_s,
                fork_s=life.fork_s,
                wait_s=life.wait_s,
                template=life.template,
                copy_s=life.copy_s,
                copied_by=life.copied_by,
                copy_note=life.copy_note,
                load_s=life.load_s,
                ended=life.ended,
                prints=account.total,
                unattributed=[print_entry(record) for record in account.unattributed],
                boot_prints=[print_entry(record) for record in account.boot],
                gaps=list(account.gaps),
                faults=faults,
                evidence=self.evidence.entries(saved),
            )
        )


def _run_facts(source: GuestSource) -> tuple[str, str, dict[str, str]]:
    """The guest in one line, its image's key and the drivers' hashes; also where there is none."""
    try:
        hashes = {driver.name: driver.sha256 for driver in source.payload.drivers.values()}
        return source.manifest.guest, source.manifest.key, hashes
    except LabError:
        return "no guest", "", {}
