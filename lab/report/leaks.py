"""Moves a leak to the execution that loaded the driver, where the unload in a later test has shown it.

It is done before executions of a test are put together: of a repeated one, the leak is of the execution on the finder's guest.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from lab.config import KnownIssue
from lab.crash.codes import plain_code
from lab.crash.rules import is_left_at_unload
from lab.gate.known_issues import match_known
from lab.gate.outside import left_at_unload
from lab.report.model import Fault, TestEntry


def move_leaks(entries: Iterable[TestEntry], known: Sequence[KnownIssue] = ()) -> list[TestEntry]:
    """Let each leak count for the execution that loaded the driver.

    Args:
        entries: All executions of the run, each once.
        known: The lab file's known issues; those that name the test which loaded the driver count.

    Returns:
        The same, in this order; that which has found a leak still has the fault, until :func:`forget_leaks`.
    """
    moved = list(entries)
    for index, finder in enumerate(moved):
        place = _loader(moved, finder)
        if finder.fault is None or place is None:
            continue
        loader = moved[place]
        today = datetime.datetime.fromtimestamp(finder.started, tz=datetime.UTC).date()
        late = left_at_unload(
            finder.fault,
            found_in=finder.nodeid,
            verdict=loader.verdict,
            reason=loader.reason,
            known=match_known(known, loader.nodeid, loader.drivers, today=today),
        )
        if late is not None:
            decision = late.decision
            changed = {"verdict": decision.verdict, "reason": decision.reason, "signature": decision.signature}
            more = {"fault": finder.fault, "evidence": [*loader.evidence, *finder.evidence]}
            moved[place] = loader.model_copy(update=changed | more)
        moved[index] = finder.model_copy(update={"evidence": []})
    return moved


def forget_leaks(tests: list[TestEntry]) -> None:
    """Take the faults that were moved from the tests that found them; changes ``tests`` in place.

    Until then a guest's second report of the same fault is known by it.
    """
    for index, test in enumerate(tests):
        if test.left_by and test.fault is not None and _is_left(test.fault):
            tests[index] = test.model_copy(update={"fault": None})


def _loader(entries: list[TestEntry], finder: TestEntry) -> int | None:
    """Where the execution is that loaded the driver whose leak another has found: the last one before it on its guest."""
    if not finder.left_by or finder.fault is None or not _is_left(finder.fault):
        return None
    there = [
        (entry.started, index)
        for index, entry in enumerate(entries)
        if entry.nodeid == finder.left_by and entry.guest_id == finder.guest_id and entry.started <= finder.started
    ]
    return max(there)[1] if there else None


def _is_left(fault: Fault) -> bool:
    return is_left_at_unload(plain_code(int(fault.code, 16)), [int(value, 16) for value in fault.parameters])
