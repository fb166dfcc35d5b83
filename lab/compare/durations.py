"""Durations that moved between two runs, each with an interval from the readings.

A reading is a test's own host seconds: without the time until its guest was ready, and without the time in which the guest
waited for a processor of the host. All tests together have one reading each. A single test is compared if both runs have enough
readings of it (five, which `--repeat` gives).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from lab.compare.intervals import Interval, median_interval, shift_interval
from lab.compare.model import DurationChange
from lab.report.model import Attempt, RunReport, TestEntry
from lab.report.view import view_tests

#: A change that is smaller than this, either way, is not worth a line.
TOLERANCE = (0.9, 1.1)
ALL_CONFIDENCE = 0.95
#: Many single tests are looked at, so each needs more than the usual confidence.
ONE_CONFIDENCE = 0.99
_SHORTEST_S = 0.001


def readings(report: RunReport) -> dict[str, list[float]]:
    """Test -> seconds of each passing attempt; those that did not pass say nothing about speed."""
    found = {}
    for view in view_tests(report):
        test = view.entry
        earlier = [_own(attempt, attempt.duration_s) for attempt in test.history[:-1] if attempt.verdict == "passed"]
        last = [_own(test, view.own_s)] if test.verdict == "passed" else []
        if earlier or last:
            found[test.nodeid] = [*earlier, *last]
    return found


def _own(one: TestEntry | Attempt, seconds: float) -> float:
    waited = one.processor.waited_s if one.processor is not None else 0.0
    return max(_SHORTEST_S, seconds - waited)


def compare_durations(base: RunReport, new: RunReport) -> list[DurationChange]:
    """All tests together, if there are enough, then each test whose duration moved."""
    before, after = readings(base), readings(new)
    both = [nodeid for nodeid in before if nodeid in after]
    found = [*_together(both, before, after)]
    for nodeid in both:
        old, now = before[nodeid], after[nodeid]
        interval = shift_interval([math.log(x) for x in old], [math.log(x) for x in now], ONE_CONFIDENCE)
        if interval is not None and (one := _change(interval, ONE_CONFIDENCE, (len(old), len(now)), nodeid)).moved:
            found.append(one)
    return found


def _together(both: list[str], before: Mapping[str, list[float]], after: Mapping[str, list[float]]) -> Iterable[DurationChange]:
    ratios = [math.log(_middle(after[nodeid]) / _middle(before[nodeid])) for nodeid in both]
    interval = median_interval(ratios, ALL_CONFIDENCE) if ratios else None
    if interval is not None:
        yield _change(interval, ALL_CONFIDENCE, (len(both), len(both)), "")


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _change(interval: Interval, confidence: float, count: tuple[int, int], nodeid: str) -> DurationChange:
    ratios = Interval(math.exp(interval.middle), math.exp(interval.low), math.exp(interval.high))
    return DurationChange(
        nodeid=nodeid,
        ratio=round(ratios.middle, 3),
        low=round(ratios.low, 3),
        high=round(ratios.high, 3),
        confidence=confidence,
        readings=count,
        moved=ratios.outside(*TOLERANCE),
    )
