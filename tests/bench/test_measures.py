"""Measures: their names, boots, memory and kernel prints, on a simulated guest."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.bench.measures import all_measures
from lab.bench.measures.boot import BootMeasure
from lab.bench.measures.memory import pss_of
from lab.bench.measures.prints import count_up
from lab.bench.samples import Samples
from lab.errors import LabError
from lab.prints.record import GapRecord, PrintRecord
from tests.bench.fakes import FakeContext, FakeForks


def keys(found: Samples) -> list[str]:
    return [one.key for one in found.series]


def test_measures_have_names_of_their_own_and_say_what_they_need() -> None:
    measures = all_measures()
    assert len({one.name for one in measures}) == len(measures) == 13
    assert all(one.title and one.needs for one in measures)


def test_cold_boots_alone_where_there_are_no_forks(context: FakeContext) -> None:
    found = BootMeasure().run(context)
    assert keys(found) == ["boot.cold"]
    assert found.series[0].values == (10.0,) * 3
    assert found.notes == ("fork: no forks here",)
    assert not any(guest.alive for guest in context.booted)


def test_at_least_twenty_forks_one_after_the_other_none_of_which_stays(context: FakeContext) -> None:
    context.make_forks = forks = FakeForks(context.source)
    cold, forked, worked = BootMeasure().run(context).series
    assert len(cold.values) == 3
    assert forked.values == (0.5,) * 20
    assert worked.values == (1.5,) * 20, "a look at the fake clock takes a second"
    assert forks.snapshots == 1
    assert not any(guest.alive for guest in forks.forked)


def test_the_size_of_a_process_is_its_pss(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "smaps_rollup").write_text(
        "00400000-7fff ---p 00000000 00:00 0 [rollup]\nRss: 99 kB\nPss: 60 kB\nPss_Anon: 1 kB\n"
    )
    assert pss_of(7, proc=tmp_path) == 60 << 10


@pytest.mark.parametrize("text", [None, "Rss: 99 kB\n"])
def test_a_size_that_the_kernel_does_not_report_is_an_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "7").mkdir()
        (tmp_path / "7" / "smaps_rollup").write_text(text)
    with pytest.raises(LabError, match="memory of process 7"):
        pss_of(7, proc=tmp_path)


def printed(number: int, at: float) -> PrintRecord:
    text = f"flood {number}\n"
    return PrintRecord(sequence=number, host_time=at, guest_time=at, source="wine", raw=text.encode(), text=text)


def test_prints_are_counted_by_their_numbers() -> None:
    other = PrintRecord(sequence=0, host_time=0.5, guest_time=0.5, source="wine", raw=b"x", text="a flood 7 of others")
    tally = count_up([other, *(printed(n, float(n)) for n in range(11, 16))], 11, 5)
    assert (tally.arrived, tally.lost, tally.gaps, tally.span_s, tally.in_order) == (5, 0, 0, 4.0, True)


@given(st.permutations(list(range(1, 9))), st.sets(st.integers(1, 8)))
def test_missing_prints_are_found_in_any_order_of_the_rest(order: list[int], missing: set[int]) -> None:
    left = [n for n in order if n not in missing]
    tally = count_up([printed(n, float(i)) for i, n in enumerate(left)], 1, 8)
    assert (tally.arrived, tally.lost) == (8 - len(missing), len(missing))
    assert tally.in_order == (left == sorted(left))


def test_gaps_that_the_source_reports_are_counted() -> None:
    assert count_up([GapRecord(sequence=0, host_time=0.0, missing=1, reason="a line is damaged")], 1, 0).gaps == 1
