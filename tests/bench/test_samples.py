"""Statistics of readings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.bench.samples import percentile, speedup
from tests.bench.fakes import series

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


@given(VALUES)
def test_a_percentile_lies_among_the_readings_and_grows(values: list[float]) -> None:
    assert min(values) <= percentile(values, 50) <= max(values)
    assert percentile(values, 95) in values
    assert percentile(values, 5) <= percentile(values, 95) <= percentile(values, 100) == max(values)


def test_the_95th_of_twenty_is_the_nineteenth() -> None:
    assert percentile([float(n) for n in range(1, 21)], 95) == 19.0


def test_a_speedup_is_of_medians_and_knows_which_way_is_better() -> None:
    assert speedup(series("slow", 9.0, 10.0, 900.0), series("fast", 0.5, 0.2, 0.1)) == pytest.approx(50)
    rate = {"unit": "MB/s", "higher_is_better": True}
    assert speedup(series("slow", 2.0, **rate), series("fast", 8.0, **rate)) == pytest.approx(4)


def test_no_time_at_all_is_infinitely_faster() -> None:
    assert speedup(series("slow", 1.0), series("fast", 0.0)) == float("inf")


def test_a_series_without_readings_is_refused() -> None:
    with pytest.raises(ValueError, match=r"winrm\.lab has no readings"):
        series("winrm.lab")
