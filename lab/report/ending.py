"""How a run ended, from its report and pytest's session, as input of the gate."""

from __future__ import annotations

from lab.gate.exitcode import RunEnd
from lab.report.model import RunReport
from lab.report.sessionfile import SessionFacts
from lab.report.view import RED


def run_end(report: RunReport | None, session: SessionFacts, pytest_code: int, signal: int = 0) -> RunEnd:
    """Put together what the exit code depends on.

    Args:
        report: The run's report; None if there was no test of the lab.
        session: pytest's own record.
        pytest_code: The exit code of pytest's process.
        signal: Number of the signal that ended the run; 0 without one.
    """
    totals: dict[str, int] = {str(verdict): count for verdict, count in report.totals.items()} if report else {}
    if report is None:
        for error in session.collection_errors:
            totals[error.verdict] = totals.get(error.verdict, 0) + 1
    tests = report.tests if report else []
    # An earlier attempt, or a verdict that pytest does not know, explains a failure of pytest as a red verdict does.
    explained = {t.nodeid for t in tests if t.verdict != "passed" or any(attempt.verdict in RED for attempt in t.history)}
    unexplained = [nodeid for nodeid in session.failed if nodeid not in explained]
    return RunEnd(
        totals=totals,
        pytest_code=pytest_code,
        signal=signal,
        stopped_by=session.stopped_by,
        suites_fault=session.blame == "test",
        # Tests that do not use the lab have no verdict; they fail by their own code.
        unexplained=len(unexplained) if report is not None else 0,
        failed=len(session.failed) if report is not None else 0,
        not_run=len(report.not_run) if report is not None else 0,
        no_guest_by=session.no_guest_by,
    )
