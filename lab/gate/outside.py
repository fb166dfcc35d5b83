"""Verdicts outside of a test's own window: faults between and after tests, tests that never ended, broken collections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from lab.config import KnownIssue
from lab.crash.faults import FaultWords
from lab.crash.signs import NO_CODE
from lab.gate.blame import blame
from lab.gate.signature import fault_signature, text_signature
from lab.gate.verdict import Decision, Verdict, excused


class ReportedFault(Protocol):
    """A driver fault as a report has it; see :class:`lab.report.model.Fault`."""

    code: str
    parameters: list[str]
    text: str
    driver: str | None
    name: str
    where: str


#: How a run ended for which pytest gave no reason.
NO_REASON = "pytest ended before this test"
_Fault = TypeVar("_Fault", bound=ReportedFault)


@dataclass(frozen=True, slots=True)
class FaultVerdict(Generic[_Fault]):
    """A verdict for a fault outside of all windows.

    Attributes:
        decision: The verdict and why.
        fault: The fault that it is about.
    """

    decision: Decision
    fault: _Fault


def fault_before_tests(guest_id: str, faults: Sequence[_Fault]) -> FaultVerdict[_Fault] | None:
    """Judge the faults of a guest on which no test ran; None without any.

    Args:
        guest_id: The guest.
        faults: Its driver faults, in order.
    """
    if not faults:
        return None
    reason = f"before any test, on guest {guest_id}: {_say(faults[0])}"
    return FaultVerdict(_crash(reason, faults[0]), faults[0])


def fault_after_test(
    faults: Sequence[_Fault], *, verdict: Verdict, reason: str, known_code: str | None
) -> FaultVerdict[_Fault] | None:
    """Judge the faults of a guest outside of every window: they count for the last test that ran on it.

    Args:
        faults: The guest's driver faults, in order.
        verdict: That of its last test so far.
        reason: Why it has that verdict.
        known_code: Code of the fault that the test's own window has; None where it has none.

    Returns:
        The test's new verdict; None when it keeps its own.
    """
    # The process of a driver may report its end again after the window of the fault.
    new = [fault for fault in faults if known_code is None or fault.code != known_code]
    if verdict == "crash" or not new:
        return None
    was = f" (it was {verdict}{': ' if reason else ''}{reason})"
    return FaultVerdict(_crash(f"after the test, on its guest: {_say(new[0])}{was}", new[0]), new[0])


def left_at_unload(
    fault: _Fault, *, found_in: str, verdict: Verdict, reason: str, known: Sequence[KnownIssue] = ()
) -> FaultVerdict[_Fault] | None:
    """Judge what a test's driver had left, as its unload in a later test showed.

    Args:
        fault: The fault.
        found_in: The later test.
        verdict: That of the test that loaded the driver so far.
        reason: Why it has that verdict.
        known: The entries in force of the lab file that name that test (:func:`lab.gate.known_issues.match_known`).

    Returns:
        The test's new verdict; None when it keeps its own: it is a crash already, or the leak is known and another failure is
        not.
    """
    if verdict == "crash":
        return None
    was = f" (it was {verdict}{': ' if reason else ''}{reason})"
    decision = excused(_crash(f"its driver was unloaded in {found_in}: {_say(fault)}{was}", fault), known)
    if decision.verdict == "known" and verdict in ("product", "test", "infra"):
        return None
    return FaultVerdict(decision, fault)


def never_started(ended: str) -> Decision:
    """Judge a collected test that never ran and was not left out on purpose.

    Args:
        ended: How the run ended; empty where pytest gave no reason.
    """
    # Without a reason, pytest died or lost the test, as when xdist gives up after some dead workers.
    return _decided("infra", f"never started: {ended or NO_REASON}")


def never_ended(worker: str) -> Decision:
    """Judge a test during which its worker ended."""
    return _decided("infra", f"worker {worker} ended in the middle of this test")


def not_collected(verdict: Literal["test", "infra"], reason: str) -> Decision:
    """Judge a suite that cannot be collected; ``verdict`` comes from :func:`collection_verdict`."""
    return _decided(verdict, f"cannot be collected: {reason}")


def collection_verdict(error: BaseException | None) -> Literal["test", "infra"]:
    """Whose mistake a failed collection is: the suite's, or that of a host without room for it.

    Args:
        error: The exception, with its causes; None where it is unknown.
    """
    while error is not None:
        if blame(error) == "host":
            return "infra"
        error = error.__cause__
    return "test"


def internal_error_of(error: BaseException) -> Literal["test", "lab"]:
    """Whose code raised an internal error of pytest: a hook of a suite's conftest.py may raise, too."""
    return "test" if blame(error) == "test" and type(error).__name__ != "AssertionError" else "lab"


def ended_on_purpose(stopped_by: str, *, suites_fault: bool, interrupted: bool) -> bool:
    """Whether the run left out tests on purpose: it was interrupted, stopped, or ended by the suite.

    Args:
        stopped_by: What ended pytest's session early; see :class:`lab.report.sessionfile.SessionFacts`.
        suites_fault: The suite's own code raised the internal error that ended it.
        interrupted: A person or a signal ended the run.
    """
    return interrupted or stopped_by in ("interrupt", "exit", "stop") or (bool(stopped_by) and suites_fault)


def _decided(verdict: Literal["test", "infra"], reason: str) -> Decision:
    return Decision(verdict=verdict, reason=reason, signature=text_signature(verdict, reason))


def _crash(reason: str, fault: ReportedFault) -> Decision:
    rule = FaultWords.of(int(fault.code, 16), [int(value, 16) for value in fault.parameters]).rule
    signature = fault_signature(fault.code, name=fault.name, rule=rule, text=fault.text, place=fault.where, driver=fault.driver)
    return Decision(verdict="crash", reason=reason, signature=signature)


def _say(fault: ReportedFault) -> str:
    """A fault in one line."""
    if fault.code == NO_CODE:
        return fault.text
    kind = "bugcheck" if len(fault.parameters) == 4 else "driver fault"
    return f"{kind} {fault.code}: {fault.text}"
