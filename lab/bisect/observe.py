"""What a run says about the failure that is looked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from lab.bisect.model import SkipKind, Tally, Target
from lab.gate.verdict import SEVERITY, Verdict
from lab.report.model import RunReport, TestEntry

#: A known failure is one, too: its entry in the lab file may be the reason for the search.
_RED: frozenset[Verdict] = frozenset({"crash", "product", "test", "known"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a run said.

    Attributes:
        tally: How often.
        kind: Why runs are neither red nor green; None if all are.
        reason: The same for readers, one line.
    """

    tally: Tally
    kind: SkipKind | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failure that a run showed.

    Attributes:
        nodeid: The test.
        signature: See :mod:`lab.gate.signature`.
        reason: One line.
        count: In how many runs of the test.
        drivers: Names of the drivers that the test uses.
    """

    nodeid: str
    signature: str
    reason: str
    count: int
    drivers: tuple[str, ...]


def observe(report: RunReport | None, target: Target, count: int) -> Observed:
    """What a run said.

    Args:
        report: Of the run; None if it has none.
        target: The failure.
        count: How often the test was to be run.
    """
    entry = next((test for test in report.tests if test.nodeid == target.nodeid), None) if report is not None else None
    if report is None or entry is None:
        ended = report.ended if report is not None else ""
        return Observed(
            tally=Tally(lost=count), kind="lab failed", reason=f"the test was not run{f': {ended}' if ended else ''}"
        )
    tally, kind, reason = Tally(), None, ""
    for verdict, signature, said in attempts(entry):
        one, why = _judged(verdict, signature, said, target)
        tally = tally.plus(one)
        if why is not None:
            kind, reason = why
    return Observed(tally=tally, kind=kind, reason=reason)


def _judged(verdict: Verdict, signature: str, said: str, target: Target) -> tuple[Tally, tuple[SkipKind, str] | None]:
    if verdict in _RED:
        if not target.signature or signature == target.signature:
            return Tally(red=1), None
        return Tally(other=1), ("another failure", signature or said)
    if verdict == "passed":
        return Tally(green=1), None
    return Tally(lost=1), ("not tested", f"skipped: {said}") if verdict == "skipped" else ("lab failed", said)


def attempts(entry: TestEntry) -> Iterator[tuple[Verdict, str, str]]:
    """Verdict, signature and reason of each run of a test, in the order of the runs."""
    runs = sorted(entry.history, key=lambda one: one.started)
    if not runs:
        yield entry.verdict, entry.signature, entry.reason
    for one in runs:
        yield one.verdict, one.signature, one.reason


def failures(report: RunReport) -> list[Failure]:
    """The failures of a run, the most frequent first; of equally frequent ones, the gravest."""
    found: list[tuple[tuple[int, int], Failure]] = []
    for entry in report.tests:
        if "::" not in entry.nodeid:
            continue  # a file that cannot be collected is no test
        seen = [one for one in attempts(entry) if one[0] in _RED]
        for signature, count in Counter(signature for _, signature, _ in seen).items():
            verdict, reason = next((verdict, said) for verdict, mark, said in seen if mark == signature)
            failure = Failure(
                nodeid=entry.nodeid, signature=signature, reason=reason, count=count, drivers=tuple(entry.drivers)
            )
            found.append(((-count, SEVERITY.index(verdict)), failure))
    return [failure for _, failure in sorted(found, key=lambda one: one[0])]
