"""Durations and their intervals; the expected figures are those of published tables and of scipy 1.17.1."""

from __future__ import annotations

import itertools
import random
from math import comb

import pytest

from lab.compare.durations import compare_durations
from lab.compare.intervals import Interval, median_interval, shift_interval, ways_of
from lab.report.model import TestEntry
from tests.compare.recording import attempt, entry, recorded


@pytest.mark.parametrize(("n", "ranks"), [(5, None), (6, (1, 6)), (9, (2, 8)), (12, (3, 10)), (20, (6, 15)), (100, (40, 61))])
def test_the_interval_of_a_median_has_the_ranks_of_the_sign_test(n: int, ranks: tuple[int, int] | None) -> None:
    values = [float(i) for i in range(1, n + 1)]
    random.Random(n).shuffle(values)
    found = median_interval(values, 0.95)
    assert (None if found is None else (found.low, found.high)) == ranks


@pytest.mark.parametrize(("m", "n", "critical"), [(3, 3, None), (4, 4, 0), (5, 5, 2), (8, 8, 13), (10, 12, 29), (20, 20, 127)])
def test_the_interval_of_a_shift_has_the_critical_value_of_mann_and_whitney(m: int, n: int, critical: int | None) -> None:
    base, new = [float(i) for i in range(m)], [float(1000 * j) for j in range(n)]
    found = shift_interval(base, new, 0.95)
    if critical is None:
        assert found is None
        return
    differences = sorted(y - x for x in base for y in new)
    assert found is not None
    assert (found.low, found.high) == (differences[critical], differences[-1 - critical])


def test_the_exact_distribution_is_that_of_all_orders() -> None:
    counts = [0] * 13
    for places in itertools.combinations(range(7), 3):
        counts[sum(place - i for i, place in enumerate(places))] += 1
    assert ways_of(3, 4) == tuple(counts)
    assert sum(counts) == comb(7, 3)


def test_above_twenty_readings_the_approximation_joins_on() -> None:
    values = [float(i) for i in range(21)]
    exact, near = shift_interval(values[:20], values[:20], 0.95), shift_interval(values, values, 0.95)
    assert exact is not None
    assert near is not None
    assert abs(near.low - exact.low) <= 1


@pytest.mark.parametrize(
    ("low", "high", "outside"), [(1.2, 1.3, True), (1.05, 1.3, False), (0.7, 0.8, True), (0.7, 1.3, False)]
)
def test_outside_means_no_value_between(low: float, high: float, outside: bool) -> None:
    assert Interval(1.0, low, high).outside(0.9, 1.1) is outside


def test_all_tests_together_have_an_interval_and_single_readings_accuse_no_test() -> None:
    base = recorded([entry(f"t{i}", seconds=1.0 + i / 10) for i in range(10)])
    new = recorded([entry(f"t{i}", seconds=1.5 * (1.0 + i / 10)) for i in range(10)])
    [change] = compare_durations(base.report, new.report)
    assert (change.nodeid, change.low, change.ratio, change.high, change.moved) == ("", 1.5, 1.5, 1.5, True)
    [same] = compare_durations(base.report, base.report)
    assert not same.moved
    assert compare_durations(recorded([entry("a")]).report, recorded([entry("a")]).report) == []


def test_the_wait_for_a_processor_is_no_duration_of_the_test() -> None:
    base = recorded([entry(f"t{i}", seconds=1.0) for i in range(8)])
    busy = recorded([entry(f"t{i}", seconds=4.0, waited=3.0) for i in range(8)])
    [change] = compare_durations(base.report, busy.report)
    assert (change.low, change.high) == (1.0, 1.0)


def test_a_test_with_several_readings_has_an_interval_of_its_own() -> None:
    chance = random.Random(7)

    def tests(slow: float) -> list[TestEntry]:
        found = []
        for name, factor in (("steady", 1.0), ("slow", slow)):
            values = [factor * chance.uniform(1.0, 1.1) for _ in range(8)]
            found.append(entry(name, seconds=values[0], earlier=[attempt("passed", seconds=value) for value in values[1:]]))
        return found

    changes = compare_durations(recorded(tests(1.0)).report, recorded(tests(2.0)).report)
    [change] = [change for change in changes if change.nodeid]
    assert change.nodeid.endswith("::slow")
    assert 1.7 < change.low < 2.0 < change.high < 2.3
    assert change.readings == (8, 8)


def test_a_test_that_failed_says_nothing_about_speed() -> None:
    base = recorded([entry(f"t{i}") for i in range(8)])
    new = recorded([entry(f"t{i}", "product", seconds=9.0) for i in range(8)])
    assert compare_durations(base.report, new.report) == []
