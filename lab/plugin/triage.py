"""What a test has done to its guest: examined after a failure, and judged when the test's window closes.

A guest that is not fit for the next test is condemned here, with the reason; the pool replaces it.
"""

from __future__ import annotations

import logging

import pytest

from lab.errors import EvidenceLost, GuestCrashed, GuestHung, TransportError
from lab.gate.findings import is_refused_load, may_be_the_provoked_end, window_error
from lab.gate.reasons import leaves
from lab.guest.lacks import in_words
from lab.host.passed import passed_over
from lab.lease.lease import Lease, Rank
from lab.plugin.coverage import CoverageByTest
from lab.plugin.evidence_by_test import EvidenceByTest
from lab.plugin.phases import Closing
from lab.plugin.testrun import TestRun
from lab.prints.stream import first_fault, render
from lab.prints.window import without_faults

_LOG = logging.getLogger(__name__)

#: How long the guest may take for a marker or a question when a test has already failed.
_SHORT_S = 10.0


class Triage:
    """Judges guests by the tests that ran on them.

    Args:
        evidence: Saves the evidence of a guest that crashed or hangs.
        coverage: Takes the counters of the drivers; None if they have none.
    """

    def __init__(self, evidence: EvidenceByTest, coverage: CoverageByTest | None = None) -> None:
        self._evidence = evidence
        self._coverage = coverage

    def excuse(self, run: TestRun, lease: Lease, report: pytest.TestReport, error: BaseException) -> None:
        """Let a phase pass that failed only because the guest ended, in a test that provokes this end."""
        if report.outcome != "failed":
            return
        if run.findings.loaded_in and report.when == "teardown":
            self._evidence.crashed(run, lease)  # its report may not have been read yet
        if not may_be_the_provoked_end(run.findings, error):
            return
        self._evidence.crashed(run, lease)
        findings = run.findings
        if findings.left_by and report.when != "teardown":
            return  # the test itself could not run
        if findings.provoked_the_end and not findings.faults:
            report.outcome = "passed"
            whose = f"another test's driver left ({findings.left_by})" if findings.left_by else "this test provokes"
            report.sections.append(("guest", f"it ended by the fault that {whose}: {error}"))
            report.longrepr = None

    def excuse_lack(self, run: TestRun, lease: Lease, report: pytest.TestReport, error: BaseException) -> None:
        """Let a phase count as skipped that failed because a driver needs something that this guest lacks."""
        if is_refused_load(error):
            run.refuse_load()
        if report.outcome != "failed":
            return
        if not any(isinstance(leaf, GuestHung | TransportError) for leaf in leaves(error)):
            # A guest that has just not answered would only cost another wait.
            self._let_prints_come(run, lease)
        lacks = run.findings.lacks
        if not lacks:
            return
        report.outcome = "skipped"
        report.sections.append(("guest", f"{in_words(lacks)}; as a consequence: {report.longreprtext}"))
        path, line, _name = report.location
        report.longrepr = (path, (line or 0) + 1, lack_reason(lacks))

    def look_into(self, run: TestRun, lease: Lease, failure: BaseException) -> None:
        """After a failure: is the guest still fit for the next test?"""
        crashed = self._evidence.crashed(run, lease) or first_fault(lease.ledger.peek()) is not None
        for error in leaves(failure):
            if isinstance(error, GuestHung) and run.answers is None and not crashed:
                answers = lease.guest.answers(timeout=2 * _SHORT_S)
                run.note_answer(answers)
                lease.condemn(f"hang: {error.message}")
                if not answers:
                    self._end_by_hang(run, lease, error)
            elif isinstance(error, TransportError) and not crashed and run.hang is None and lease.guest.alive:
                # A guest that hangs completely does not even report that the command still runs.
                lease.condemn(f"{type(error).__name__}: {error.message}")
                if not lease.guest.answers(timeout=2 * _SHORT_S):
                    self._end_by_hang(run, lease, error)
            elif isinstance(error, TransportError | GuestCrashed | EvidenceLost):
                lease.condemn(f"{type(error).__name__}: {error.message}")

    def _end_by_hang(self, run: TestRun, lease: Lease, error: GuestHung | TransportError) -> None:
        if lease.guest.alive:
            run.end_by_hang(self._evidence.save_hang(run, lease, error.message))

    def prints_text(self, run: TestRun, lease: Lease) -> str:
        """The test's prints so far, for people; a guest that can is asked to let all of them come first."""
        if run.window is not None:
            return render(run.window.records)
        self._let_prints_come(run, lease)
        return render(lease.ledger.peek())

    @staticmethod
    def _let_prints_come(run: TestRun, lease: Lease) -> None:
        """Wait until all prints so far are in the open window; a guest that cannot write a marker is left alone."""
        if run.window is None and lease.guest.alive:
            with passed_over(_LOG, f"{lease.guest.guest_id}: a marker did not arrive", EvidenceLost):
                lease.guest.prints.mark(lease.ledger.next_token(), timeout=_SHORT_S)

    def close_window(self, run: TestRun) -> None:
        """A test's fixtures are gone: collect its last prints and judge its guest. Never raises."""
        lease = run.lease
        if lease is None or run.window is not None:
            return
        run.note_processor(lease.guest.processor_reading())
        if self._coverage is not None:
            self._coverage.window_closes(run, lease)
        if run.hang is not None:
            # The lab has ended it. The guest's messages about that are recorded, and do not count against the test.
            run.close(Closing(window=without_faults(lease.ledger.close(alive=False), after=run.hang.records_to)))
            run.gather(self._evidence.window_closed(run, lease))
            return
        self._evidence.crashed(run, lease)
        alive = lease.guest.alive
        window = lease.ledger.close(alive=alive)
        self._evidence.crashed(run, lease)
        # The virtual machine may have ended during the wait for the marker.
        alive = alive and lease.guest.alive
        run.close(Closing(window=window, guest_alive=alive))
        run.gather(self._evidence.window_closed(run, lease))
        fault = first_fault(window.records)
        if run.sign is not None:
            lease.condemn(f"crash: {run.sign.text} in {run.nodeid}", Rank.END)
        elif fault is not None:
            what = f"lacks {fault.lacks}, called" if fault.lacks else f"crash: 0x{fault.code:08X}"
            lease.condemn(f"{what} in {run.nodeid}", Rank.END)
        elif not alive:
            lease.condemn(f"exited: {lease.guest.machine.exited_error().message.splitlines()[0]}", Rank.END)
        elif window.gaps:
            lease.condemn(f"lost evidence: {window.gaps[0]}")

    @staticmethod
    def check_window(run: TestRun) -> None:
        """Raise the error of the window, if it shows one and the test has not failed so far.

        Raises:
            LabError: See :func:`lab.gate.findings.window_error`.
            pytest.skip.Exception: A driver called what this guest does not have.
        """
        findings = run.findings
        if findings.window is None or run.lease is None or findings.failed:
            return
        if findings.lacks and not any(phase.outcome == "skipped" for phase in findings.phases):
            raise pytest.skip.Exception(lack_reason(findings.lacks), _use_item_location=True)
        error = window_error(findings, run.lease.guest.machine.exited_error)
        if error is not None:
            raise error


def lack_reason(lacks: str) -> str:
    """Why a test is skipped that needs something which a stand-in for a kernel lacks."""
    return f"needs {lacks}: {in_words(lacks)}"
