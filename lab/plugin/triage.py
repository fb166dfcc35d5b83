"""What a test has done to its guest: looked into after a failure, and judged when the test's window closes.

A guest that is no good for the next test is condemned here, with the reason; the pool replaces it.
"""

from __future__ import annotations

import logging

import pytest

from lab.crash.faults import FaultWords, title
from lab.errors import EvidenceLost, GuestCrashed, GuestExited, GuestHung, ServiceError, TransportError
from lab.gate.verdict import leaves
from lab.guest.lacks import in_words
from lab.host.passed import passed_over
from lab.lease.lease import Lease, Rank
from lab.plugin.evidence import EvidenceKeeper
from lab.plugin.testrun import TestRun
from lab.prints.stream import first_fault, render
from lab.prints.window import without_faults

_LOG = logging.getLogger(__name__)

#: How long the guest may take for a marker or a question when a test has already failed.
_SHORT_S = 10.0
#: What sc start says when a driver's file was not loaded: a module is missing, or an image's initialisation failed.
_NOT_LOADED = (126, 1114)


class Triage:
    """Judges guests by the tests that ran on them.

    Args:
        evidence: Keeps what a guest that crashed or hangs leaves.
    """

    def __init__(self, evidence: EvidenceKeeper) -> None:
        self._evidence = evidence

    def excuse(self, run: TestRun, lease: Lease, report: pytest.TestReport, error: BaseException) -> None:
        """Have a phase pass that only met the end of a guest whose end the test provokes."""
        consequences = TransportError | GuestExited | GuestHung | EvidenceLost | GuestCrashed
        if report.outcome != "failed" or run.wishes.expected_fault is None:
            return
        if not all(isinstance(leaf, consequences) for leaf in leaves(error)):
            return
        self._evidence.crashed(run, lease)
        if run.provoked_the_end and not run.faults:
            report.outcome = "passed"
            report.sections.append(("guest", f"it ended by the fault that this test provokes: {error}"))
            report.longrepr = None

    def excuse_lack(self, run: TestRun, lease: Lease, report: pytest.TestReport, error: BaseException) -> None:
        """Have a phase count as skipped that failed because a driver wants what this guest does not have."""
        refused = any(isinstance(leaf, ServiceError) and leaf.exit_code in _NOT_LOADED for leaf in leaves(error))
        run.load_refused = run.load_refused or refused
        if report.outcome != "failed":
            return
        if not any(isinstance(leaf, GuestHung | TransportError) for leaf in leaves(error)):
            # A guest that has just not answered would only be waited for once more.
            self._let_prints_come(run, lease)
        lacks = run.lacks
        if not lacks:
            return
        report.outcome = "skipped"
        report.sections.append(("guest", f"{in_words(lacks)}; what followed from that: {report.longreprtext}"))
        path, line, _name = report.location
        report.longrepr = (path, (line or 0) + 1, lack_reason(lacks))

    def look_into(self, run: TestRun, lease: Lease, failure: BaseException) -> None:
        """After a failure: is the guest still good for the next test?"""
        crashed = self._evidence.crashed(run, lease) or first_fault(lease.ledger.peek()) is not None
        for error in leaves(failure):
            if isinstance(error, GuestHung) and run.guest_answers is None and not crashed:
                run.guest_answers = lease.guest.answers(timeout=2 * _SHORT_S)
                lease.condemn(f"hang: {error.message}")
                if not run.guest_answers and lease.guest.alive:
                    self._evidence.save_hang(run, lease, error.message)
            elif isinstance(error, TransportError) and not crashed and not run.hung and lease.guest.alive:
                # A guest that hangs as a whole does not even say that the command still runs.
                lease.condemn(f"{type(error).__name__}: {error.message}")
                if not lease.guest.answers(timeout=2 * _SHORT_S) and lease.guest.alive:
                    self._evidence.save_hang(run, lease, error.message)
            elif isinstance(error, TransportError | GuestCrashed | EvidenceLost):
                lease.condemn(f"{type(error).__name__}: {error.message}")

    def prints_text(self, run: TestRun, lease: Lease) -> str:
        """The test's prints so far, for people; a guest that can is asked to let all of them come first."""
        if run.window is not None:
            return render(run.window.records)
        self._let_prints_come(run, lease)
        return render(lease.ledger.peek())

    @staticmethod
    def _let_prints_come(run: TestRun, lease: Lease) -> None:
        """Have everything that was printed so far in the open window; a guest that cannot any more is left alone."""
        if run.window is None and lease.guest.alive:
            with passed_over(_LOG, f"{lease.guest.guest_id}: a marker did not come back", EvidenceLost):
                lease.guest.prints.mark(lease.ledger.next_token(), timeout=_SHORT_S)

    def close_window(self, run: TestRun) -> None:
        """A test's fixtures are gone: collect its last prints and judge its guest. Never raises."""
        lease = run.lease
        if lease is None or run.window is not None:
            return
        if run.hung:
            # The lab has ended it. What it said about that is kept, and no fault of the test's.
            run.window = without_faults(lease.ledger.close(alive=False), behind=run.records_to or 0)
            self._evidence.window_closed(run, lease)
            return
        self._evidence.crashed(run, lease)
        run.guest_alive = lease.guest.alive
        run.window = lease.ledger.close(alive=run.guest_alive)
        self._evidence.crashed(run, lease)
        # The machine may have gone while the marker was waited for.
        run.guest_alive = run.guest_alive and lease.guest.alive
        self._evidence.window_closed(run, lease)
        fault = first_fault(run.window.records)
        if run.sign is not None:
            lease.condemn(f"crash: {run.sign.text} in {run.nodeid}", Rank.END)
        elif fault is not None:
            what = f"lacks {fault.lacks}, called" if fault.lacks else f"crash: 0x{fault.code:08X}"
            lease.condemn(f"{what} in {run.nodeid}", Rank.END)
        elif not run.guest_alive:
            lease.condemn(f"exited: {lease.guest.machine.exited_error().message.splitlines()[0]}", Rank.END)
        elif run.window.gaps:
            lease.condemn(f"lost evidence: {run.window.gaps[0]}")

    @staticmethod
    def check_window(run: TestRun) -> None:
        """Raise what the window has to say against a test that has not failed so far.

        Raises:
            GuestCrashed: A driver faulted, or QEMU told that the guest crashed.
            GuestExited: The guest's machine has ended.
            EvidenceLost: Prints are missing.
            pytest.skip.Exception: A driver called what this guest does not have.
        """
        if run.window is None or run.lease is None or run.failed:
            return
        if run.lacks and not any(phase.outcome == "skipped" for phase in run.phases):
            raise pytest.skip.Exception(lack_reason(run.lacks), _use_item_location=True)
        if run.faults:
            fault = run.faults[0]
            words = FaultWords.of(fault.code, fault.parameters)
            raise GuestCrashed(fault.code, fault.parameters, message=title(fault.code, fault.parameters), hint=words.hint)
        if run.provoked_the_end:
            return
        if run.sign is not None:
            raise GuestCrashed(0, message=run.sign.text)
        if not run.guest_alive:
            raise run.lease.guest.machine.exited_error()
        run.window.check()


def lack_reason(lacks: str) -> str:
    """Why a test is skipped that needs what a stand-in for a kernel does not have."""
    return f"needs {lacks}: {in_words(lacks)}"
