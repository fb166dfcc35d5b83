"""Intervals and tests of proportions; the expected figures are those of scipy 1.17.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.gate.proportions import Rate, fisher, lower_bound, upper_bound


@pytest.mark.parametrize(
    ("failed", "runs", "low", "high"),
    [
        (0, 10, 0.0, 0.30849710781876294),
        (3, 20, 0.03207093718554477, 0.37892682654529564),
        (10, 10, 0.6915028921812371, 1.0),
        (1, 5, 0.005050763379468115, 0.7164179361180895),
        (37, 200, 0.13372866018013796, 0.24586346244867838),
    ],
)
def test_the_interval_is_that_of_clopper_and_pearson(failed: int, runs: int, low: float, high: float) -> None:
    assert Rate(failed, runs).interval() == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize(
    ("base", "new", "p"),
    [
        ((0, 4), (4, 4), 0.014285714285714284),
        ((1, 5), (4, 6), 0.17532467532467536),
        ((3, 40), (11, 40), 0.018368755630755847),
        ((2, 2), (2, 2), 1.0),
        ((0, 0), (1, 1), 1.0),
    ],
)
def test_fishers_exact_test_one_sided(base: tuple[int, int], new: tuple[int, int], p: float) -> None:
    assert fisher(Rate(*base), Rate(*new)) == pytest.approx(p, abs=1e-12)


@given(st.integers(0, 60), st.integers(1, 60), st.sampled_from([0.01, 0.025, 0.05]))
def test_an_interval_holds_the_observed_rate(failed: int, runs: int, tail: float) -> None:
    failed = min(failed, runs)
    assert lower_bound(failed, runs, tail) <= failed / runs <= upper_bound(failed, runs, tail)


def test_thousands_of_runs_are_no_problem() -> None:
    low, high = Rate(20, 4000).interval()
    assert low < 0.005 < high
