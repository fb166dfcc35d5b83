"""What became of each test between two runs.

A test is *red* if its verdict is ``crash``, ``product`` or ``test``. ``infra`` is not red: it says nothing about the driver, so
that a test with it was not judged. An attempt counts in the same way.

| BASE | NEW | change |
|---|---|---|
| any | infra | not judged |
| passed, known, skipped, infra, absent | red | newly red |
| red | red | still red; with another signature: red in another way |
| passed or red | known | newly known |
| red or known | passed | fixed |
| passed, red or known | skipped | newly skipped |
| passed, red or known | absent | not run |
| skipped or infra | passed | judged again |
| absent | passed, known or skipped | new test |

A test with passing and red attempts in NEW is flaky, and so is one that is red in NEW and was flaky in BASE. There is one
exception: both runs have so many attempts that Fisher's exact test excludes equal rates (p at most 0.01); then it is newly red.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.compare.model import ChangeKind, Side, TestChange
from lab.gate.proportions import Rate, fisher
from lab.gate.signature import text_signature
from lab.gate.verdict import Verdict
from lab.report.model import RunReport, TestEntry

RED: frozenset[Verdict] = frozenset({"crash", "product", "test"})
#: From this probability on, a higher rate of failures may be chance.
CHANCE = 0.01


def side_of(test: TestEntry) -> Side:
    """A test as a comparison has it."""
    verdicts = [attempt.verdict for attempt in test.history] or [test.verdict]
    red = sum(verdict in RED for verdict in verdicts)
    signature = test.signature
    if not signature and test.verdict in RED:
        signature = text_signature(test.verdict, test.reason)  # a report of a lab that had no signatures
    return Side(
        verdict=test.verdict,
        reason=test.reason,
        signature=signature,
        failed=red,
        runs=red + sum(verdict in ("passed", "known") for verdict in verdicts),
    )


def compare_tests(base: RunReport, new: RunReport) -> Iterator[TestChange]:
    """The tests that changed or are red, by their ids. Each other test has the same result in both runs."""
    before = {test.nodeid: side_of(test) for test in base.tests}
    after = {test.nodeid: side_of(test) for test in new.tests}
    ended = f": {new.ended}" if new.ended else ""
    for nodeid in sorted({*before, *after}):
        old, now = before.get(nodeid), after.get(nodeid)
        kind = change_of(old, now)
        if kind is None:
            continue
        why = ""
        if kind == "flaky" or (now is not None and now.failed and now.runs > 1):
            why = _rates(old, now)
        elif kind == "not run":
            why = f"the run ended before it{ended}" if nodeid in new.not_run else "deselected, renamed or removed"
        yield TestChange(nodeid=nodeid, change=kind, base=old, new=now, why=why)


def change_of(old: Side | None, now: Side | None) -> ChangeKind | None:
    """What became of a test; None if it has the same result. See the module's text."""
    if now is None:
        return "not run" if old is not None and old.verdict not in ("skipped", "infra") else None
    if now.verdict == "infra":
        return "not judged"
    if _is_flaky(now) or (now.verdict in RED and old is not None and _is_flaky(old)):
        return "newly red" if old is not None and _more_often(old, now) else "flaky"
    if now.verdict in RED:
        if old is None or old.verdict not in RED:
            return "newly red"
        return "still red" if old.signature == now.signature else "red in another way"
    return _of_green(old, now)


def _of_green(old: Side | None, now: Side) -> ChangeKind | None:
    """The change of a test that passed, is known, or was skipped."""
    if old is None:
        return "new test"
    if now.verdict == "skipped":
        return "newly skipped" if old.verdict not in ("skipped", "infra") else None
    if old.verdict in ("skipped", "infra"):
        return "judged again"
    if now.verdict == "known":
        return None if old.verdict == "known" else "newly known"
    return None if old.verdict == "passed" else "fixed"


def _is_flaky(side: Side) -> bool:
    return 0 < side.failed < side.runs


def _more_often(old: Side, now: Side) -> bool:
    return fisher(Rate(old.failed, old.runs), Rate(now.failed, now.runs)) <= CHANCE


def _rates(old: Side | None, now: Side | None) -> str:
    parts = [f"{side.failed} of {side.runs} red in {name}" for side, name in ((old, "BASE"), (now, "NEW")) if side is not None]
    return ", ".join(parts)
