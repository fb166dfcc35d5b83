"""New red tests, run again on the new and on the base driver until :mod:`lab.gate.sequential` says what they are.

Of several tests that fail with one signature, two are run first. If one of them is real, so are the others; else these are run,
too. A test that the lab could not judge is run again as well: it may pass, or be red.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from lab.compare.changes import RED
from lab.compare.model import ChangeKind, Confirmation, TestChange
from lab.gate.sequential import MOST, Outcome, Pairs, decide
from lab.gate.verdict import Verdict
from lab.report.model import RunReport, TestEntry

#: Pairs of the first round: as many as the shortest way to `real` takes.
FIRST_ROUND = 8
_ROUND = 8
_FIRST_OF_A_SIGNATURE = 2
_CANDIDATES: tuple[ChangeKind, ...] = ("newly red", "red in another way", "not judged")
#: Rounds in which every pair was lost would go on for ever otherwise.
_MOST_ROUNDS = 8


class Rerun(Protocol):
    """Runs tests again on both drivers."""

    def __call__(self, nodeids: Sequence[str], count: int, /) -> tuple[RunReport | None, RunReport | None]:
        """Run each test so often on the new and on the base driver; None where a run has no report."""


def candidates(changes: Sequence[TestChange]) -> list[TestChange]:
    """What is to be run again: tests that are newly red, or could not be judged. A file that cannot be collected is no test."""
    return [change for change in changes if change.change in _CANDIDATES and "::" in change.nodeid]


def confirm(changes: Sequence[TestChange], rerun: Rerun, say: Callable[[str], None]) -> list[TestChange]:
    """Run again what is newly red, or could not be judged.

    Args:
        changes: Of a comparison.
        rerun: Runs tests.
        say: Shows a line.

    Returns:
        The changes, each with what came of it.
    """
    groups: dict[str, list[TestChange]] = {}
    for change in candidates(changes):
        groups.setdefault(change.new.signature if change.new else "", []).append(change)
    first = [change for group in groups.values() for change in group[:_FIRST_OF_A_SIGNATURE]]
    found = _decided(first, rerun, say)
    rest: list[TestChange] = []
    for group in groups.values():
        real = next((one.nodeid for one in group if (at := found.get(one.nodeid)) is not None and at.outcome == "real"), "")
        for change in group[_FIRST_OF_A_SIGNATURE:]:
            if real and change.change != "not judged":
                found[change.nodeid] = found[real].model_copy(update={"like": real})
            else:
                rest.append(change)
    found |= _decided(rest, rerun, say)
    return [_changed(change, found.get(change.nodeid)) for change in changes]


def _decided(changes: Sequence[TestChange], rerun: Rerun, say: Callable[[str], None]) -> dict[str, Confirmation]:
    """Run tests in rounds until each of them is decided."""
    found: dict[str, Confirmation] = {}
    pairs = {change.nodeid: Pairs() for change in changes}
    for number in range(1, _MOST_ROUNDS + 1):
        left = [change for change in changes if change.nodeid not in found]
        if not left:
            break
        count = FIRST_ROUND if number == 1 else min(_ROUND, max(1, MOST - min(pairs[c.nodeid].judged for c in left)))
        say(f"round {number}: {_tests(len(left))}, {count} times on the new driver and on the base driver")
        new, base = rerun([change.nodeid for change in left], count)
        after, before = _by_id(new), _by_id(base)
        for change in left:
            so_far, outcome = _take(change, pairs[change.nodeid], after, before, count)
            pairs[change.nodeid] = so_far
            if change.change == "not judged" and outcome is None and so_far.new.runs and not so_far.new.failed:
                found[change.nodeid] = _confirmation("passed again", so_far)
            elif outcome is not None:
                found[change.nodeid] = _confirmation(outcome, so_far)
    for change in changes:
        found.setdefault(change.nodeid, _confirmation("no verdict", pairs[change.nodeid]))
    return found


def _take(
    change: TestChange, pairs: Pairs, after: Mapping[str, TestEntry], before: Mapping[str, TestEntry], count: int
) -> tuple[Pairs, Outcome | None]:
    """Add the pairs of one round, one by one, until they decide."""
    new, base = _runs(change, after.get(change.nodeid)), _runs(change, before.get(change.nodeid))
    outcome: Outcome | None = None
    for _ in range(count):
        pairs = pairs.add(next(new, None), next(base, None))
        outcome = decide(pairs)
        if outcome is not None:
            break
    return pairs, outcome


def _runs(change: TestChange, entry: TestEntry | None) -> Iterator[bool | None]:
    """Whether each run of a test was red, in the order of the runs; None: the lab failed, or the test was skipped."""
    if entry is None:
        return
    runs: list[tuple[float, Verdict, str]] = [(a.started, a.verdict, a.signature) for a in entry.history]
    for _, verdict, signature in sorted(runs) or [(entry.started, entry.verdict, entry.signature)]:
        if verdict in RED:
            # What also failed in BASE, but in another way, must come again in this way.
            another = change.change == "red in another way" and change.new is not None and signature != change.new.signature
            yield not another
        else:
            yield False if verdict in ("passed", "known") else None


def _by_id(report: RunReport | None) -> dict[str, TestEntry]:
    return {test.nodeid: test for test in report.tests} if report is not None else {}


def _confirmation(outcome: Outcome | str, pairs: Pairs) -> Confirmation:
    return Confirmation.model_validate(
        {
            "outcome": outcome,
            "new_failed": pairs.new.failed,
            "base_failed": pairs.base.failed,
            "pairs": pairs.judged,
            "lost": pairs.lost,
        }
    )


def _changed(change: TestChange, found: Confirmation | None) -> TestChange:
    if found is None:
        return change
    red: ChangeKind = "newly red" if change.change == "not judged" else change.change
    kinds: dict[str, ChangeKind] = {
        "real": red,
        "flaky": "flaky",
        # A test that the change itself brings may well fail on the old driver; it must pass on the new one.
        "not of this change": "not of this change" if change.base is not None else red,
        "no verdict": "not judged",
        "passed again": "judged again",
    }
    return change.model_copy(update={"change": kinds[found.outcome], "confirmation": found})


def _tests(count: int) -> str:
    return "1 test" if count == 1 else f"{count} tests"
