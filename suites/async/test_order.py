"""The async driver completes one read a tick, the oldest first, from any client."""

from __future__ import annotations

import itertools
import statistics

import pytest

from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream
from lab.suite import timing
from suites.helpers import SURELY_BETWEEN_TICKS_S, Ticks, gaps, served_lengths

pytestmark = pytest.mark.lab_driver("async", reload=False)


def test_reads_of_one_handle_complete_in_the_order_issued(reader: DeviceReader, ticks: Ticks) -> None:
    done = reader.run("open h {link} overlapped=1; aread h 21; aread h 22; aread h 23; wait all")
    ends = [read.end_us for read in sorted(done.reads, key=lambda r: r.asked)]
    assert ends == sorted(ends)
    ticks(21, 22, 23)


def test_reads_of_several_handles_complete_in_the_order_issued(reader: DeviceReader, ticks: Ticks) -> None:
    reader.run("open a {link} overlapped=1; open b {link} overlapped=1; aread b 31; aread a 32; aread b 33; wait all")
    ticks(31, 32, 33)


def test_a_tick_completes_one_read_only(reader: DeviceReader, ticks: Ticks) -> None:
    reader.run("open h {link} overlapped=1; aread h 13 times=3; wait all")
    served = ticks(13, 13, 13)
    with timing("each read has a tick of its own"):
        assert statistics.mean(gaps(served)) > SURELY_BETWEEN_TICKS_S


def test_reads_of_several_processes_complete_in_the_order_issued(reader: DeviceReader, prints: PrintStream) -> None:
    done = reader.run(
        "$p open h {link} overlapped=1; $p aread h 41; $p sleep 200; $p aread h 42; $p wait all; "
        "$q open h {link} overlapped=1; $q sleep 100; $q aread h 51; $q sleep 200; $q aread h 52; $q wait all; go"
    )
    assert [r.error for r in done.reads] == [0] * 4
    served = [served_lengths(prints)[-4:].index(length) for length in (41, 42, 51, 52)]
    issued = sorted((op for op in done.operations if op.op == "aread"), key=lambda op: op.start_us)
    places = dict(zip((41, 42, 51, 52), served, strict=True))
    for earlier, later in itertools.combinations(issued, 2):
        # A read whose call had not returned when another one began may have come after it.
        if earlier.end_us < later.start_us:
            assert places[earlier.asked] < places[later.asked]
