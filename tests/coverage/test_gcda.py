"""Counters: read as GCC writes them, added up, subtracted, and written as gcov reads them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.coverage.gcda import Counters, total
from lab.errors import LabError
from tests.coverage.counting import Counting

_WORD = st.integers(0, 2**32 - 1)
_COUNTS = st.lists(st.integers(0, 2**40), min_size=1, max_size=5).filter(any).map(tuple)


@st.composite
def _counters(draw: st.DrawFn) -> Counters:
    functions = draw(st.dictionaries(st.tuples(_WORD, _WORD, _WORD), _COUNTS, max_size=4))
    return Counters(draw(_WORD), draw(_WORD), draw(_WORD), functions)


def test_gccs_own_counters_are_read(counting: Counting) -> None:
    counters = counting.run(5, 2)

    assert len(counters.counts) == 1  # `never` never ran
    # The loop's two ways and the additions: 7 passes, 3 of them for odd numbers, 2 calls.
    assert sorted(next(iter(counters.counts.values()))) == [2, 3, 7]


def test_counters_are_added_and_subtracted(counting: Counting) -> None:
    one, two = counting.run(5), counting.run(2)

    assert one.plus(two) == counting.run(5, 2)
    assert counting.run(5, 2).since(one) == two
    assert total([one, two, two]) == counting.run(5, 2, 2)
    assert total([]) is None
    assert one.since(one).counts == {}


@given(_counters())
def test_what_is_written_is_read_again(counters: Counters) -> None:
    assert Counters.parse(counters.bytes()) == counters


@given(_counters(), st.data())
def test_a_file_that_is_cut_off_is_refused_or_lacks_functions(counters: Counters, data: st.DataObject) -> None:
    whole = counters.bytes()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]

    try:
        found = Counters.parse(cut)
    except LabError:
        return
    assert found.counts.items() <= counters.counts.items()


def test_counters_of_two_builds_are_not_added(counting: Counting) -> None:
    one = counting.run(1)

    with pytest.raises(LabError, match="two builds"):
        one.plus(Counters(one.version, one.stamp, one.checksum + 1, {}))


def test_zeroes_that_gcc_leaves_out_are_no_counters() -> None:
    head = struct.pack("<4sIII", b"adcg", 1, 2, 3)
    record = struct.pack("<IiIII", 0x01000000, 12, 7, 8, 9) + struct.pack("<Ii", 0x01A10000, -16)

    assert Counters.parse(head + record).counts == {}
