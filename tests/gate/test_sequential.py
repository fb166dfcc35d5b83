"""The stop rule: its outcomes, and its exact error rates, summed over all courses that runs may take."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

import pytest

from lab.gate.sequential import ALPHA, MOST, Outcome, Pairs, decide

_decide = cache(decide)


def course(pairs: str) -> tuple[Outcome | None, int]:
    """The decision on a course of pairs: N only the new driver was red, B only the base, 2 both, . none, ? lost."""
    so_far = Pairs()
    for number, pair in enumerate(pairs, 1):
        so_far = so_far.add(
            *{"N": (True, False), "B": (False, True), "2": (True, True), ".": (False, False)}.get(pair, (None, True))
        )
        outcome = decide(so_far)
        if outcome is not None:
            return outcome, number
    return None, len(pairs)


@pytest.mark.parametrize(
    ("pairs", "outcome", "number"),
    [
        ("N" * 8, "real", 8),
        ("N" * 7, None, 7),
        ("N..N" * 4, "real", 16),
        ("NNB", None, 3),
        ("BB", "flaky", 2),
        ("2222BB", "not of this change", 5),
        ("22222", "not of this change", 5),
        ("N2NN2NNNNN", "real", 10),
        ("." * 19, "flaky", 19),
        ("????", "no verdict", 4),
        ("NNNN????", None, 8),
        ("NNNN?????", "no verdict", 9),
        ("??NNNNNNNN", "real", 10),
    ],
)
def test_courses(pairs: str, outcome: Outcome | None, number: int) -> None:
    assert course(pairs) == (outcome, number)


@cache
def chances(new: float, base: float) -> dict[Outcome, float]:
    """The probability of each outcome if the drivers fail with these rates."""
    found: defaultdict[Outcome, float] = defaultdict(float)
    running = {Pairs(): 1.0}
    for _ in range(MOST):
        after: defaultdict[Pairs, float] = defaultdict(float)
        for pairs, weight in running.items():
            for red_new, p in ((True, new), (False, 1 - new)):
                for red_base, q in ((True, base), (False, 1 - base)):
                    if p * q == 0:
                        continue
                    grown = pairs.add(red_new, red_base)
                    outcome = _decide(grown)
                    if outcome is None:
                        after[grown] += weight * p * q
                    else:
                        found[outcome] += weight * p * q
        running = after
    assert not running
    return dict(found)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0])
def test_a_failure_of_both_drivers_is_rarely_called_real(rate: float) -> None:
    assert chances(rate, rate).get("real", 0.0) <= ALPHA


@pytest.mark.parametrize(
    ("new", "base", "real"),
    [(1.0, 0.0, 1.0), (0.9, 0.0, 1.0), (0.5, 0.0, 1.0), (0.33, 0.0, 0.98), (0.2, 0.0, 0.56), (0.9, 0.1, 1.0), (0.5, 0.1, 0.87)],
)
def test_the_figures_of_the_document(new: float, base: float, real: float) -> None:
    assert chances(new, base).get("real", 0.0) == pytest.approx(real, abs=0.005)


def test_a_failure_that_both_drivers_always_have_is_not_of_this_change() -> None:
    assert chances(1.0, 1.0) == {"not of this change": pytest.approx(1.0)}


def test_a_test_that_fails_one_time_in_five_on_both_is_flaky() -> None:
    assert chances(0.2, 0.2)["flaky"] > 0.99
