"""Records pytest's own view of a session: what failed, what was not collected, and why it ended early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import pytest

# Gate and report are imported when there is something to judge or to write; see lab.plugin.hooks.
if TYPE_CHECKING:
    from lab.report.sessionfile import CollectionError, SessionFacts

NoGuestBy = Literal["", "usage", "infra"]

#: Set on a collection's report in the process that has the exception, which is a worker.
_VERDICT = "lab_verdict"


class Recorder:
    """The recorder of the controller; a plugin of pytest. Without workers it is the only process."""

    def __init__(self) -> None:
        self._ran: set[str] = set()
        self._failed: dict[str, None] = {}
        self._errors: list[pytest.CollectReport] = []
        self._deselected = 0
        self._stopped = ""
        self._stopped_by: Literal["", "interrupt", "exit", "stop", "internal error"] = ""
        self._blame: Literal["test", "lab"] = "lab"
        self._no_guest = ""
        self._no_guest_by: NoGuestBy = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record each test, and each that failed; workers' reports arrive here, too."""
        self._ran.add(report.nodeid)
        if report.failed:
            self._failed[report.nodeid] = None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record what could not be collected."""
        if report.failed:
            self._errors.append(report)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Count what was left out by ``-k`` and ``-m``."""
        self._deselected += len(items)

    def deselected_by_workers(self, count: int) -> None:
        """Each worker leaves out the same tests."""
        self._deselected = max(self._deselected, count)

    def no_guest(self, reason: str, by: NoGuestBy) -> None:
        """Record that no guest can be started; each process finds the same, so the last one's reason stays."""
        self._no_guest, self._no_guest_by = reason, by

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Record why the session ended early; a stop after a number of failures also arrives here."""
        error = excinfo.value
        self._stopped = str(error).strip() or "interrupted"
        if isinstance(error, pytest.exit.Exception):
            self._stopped_by = "exit"
        else:
            self._stopped_by = "stop" if type(error).__name__ == "Interrupted" else "interrupt"

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Record whose error it was: a hook of a suite's conftest.py may raise, too."""
        from lab.gate.outside import internal_error_of

        self._stopped_by = "internal error"
        self._stopped = f"{type(excinfo.value).__name__}: {excinfo.value}"
        self._blame = internal_error_of(excinfo.value)

    @property
    def of_worker(self) -> tuple[int, tuple[str, NoGuestBy]]:
        """What the controller cannot see: how many tests were deselected; why there is no guest, and the cause of that."""
        return self._deselected, (self._no_guest, self._no_guest_by)

    def facts(self, exit_status: int, stopped: str = "") -> SessionFacts:
        """The facts so far.

        Args:
            exit_status: pytest's.
            stopped: Why pytest's session reports that it stops (``-x`` without workers is reported only there).
        """
        from lab.gate.reasons import one_line
        from lab.report.sessionfile import SessionFacts

        by = self._stopped_by or ("stop" if stopped else "")
        return SessionFacts(
            exit_status=exit_status,
            stopped=one_line(self._stopped or stopped),
            stopped_by=by,
            blame=self._blame,
            ran=len(self._ran),
            failed=list(self._failed),
            deselected=self._deselected,
            no_guest=self._no_guest,
            no_guest_by=self._no_guest_by,
            collection_errors=[_collection_error(report) for report in self._errors],
        )


def mark_collection(report: pytest.CollectReport) -> None:
    """Record on a failed collection's report whether this host is the cause; the exception stays in its process."""
    from lab.gate.outside import collection_verdict

    call = getattr(report, "call", None)
    error: BaseException | None = call.excinfo.value if call is not None and call.excinfo is not None else None
    setattr(report, _VERDICT, collection_verdict(error))


def _collection_error(report: pytest.CollectReport) -> CollectionError:
    from lab.gate.outside import collection_verdict
    from lab.report.sessionfile import CollectionError

    text = report.longreprtext
    verdict = getattr(report, _VERDICT, None) or collection_verdict(None)
    return CollectionError(nodeid=report.nodeid or "collection", verdict=verdict, reason=last_error(text), details=text)


def last_error(text: str) -> str:
    """The line of pytest's traceback that says what was wrong."""
    from lab.gate.reasons import one_line

    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line[1:].strip() for line in lines if line.startswith("E ")]
    return one_line((errors or lines or ["cannot be collected"])[-1])
