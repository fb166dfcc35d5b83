"""What the async driver prints, and its clock: one tick a second, from load to unload."""

from __future__ import annotations

import itertools

import pytest

from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream
from suites.helpers import OPERATION_ABORTED, Ticks, texts

pytestmark = pytest.mark.lab_driver("async", reload=False)

#: Documented: 1.000 s and 1.001 s apart, two prints of a pair within 0.3 ms. The free guest's stamps count
#: milliseconds, its timers fire up to 6 ms early, and its one emulated processor is late when the host is busy.
TICK_S = pytest.approx(1.0, abs=0.05)
PAIR_S = 0.05


def test_every_tick_prints_the_address_and_then_the_length_asked_for(
    reader: DeviceReader, ticks: Ticks, prints: PrintStream
) -> None:
    reader.run("open h {link} overlapped=1; aread h 5; aread h 13; aread h 4096; wait all")
    assert [tick.asked for tick in ticks(5, 13, 4096)] == [5, 13, 4096]
    prints.expect_none()


def test_reads_that_wait_together_have_different_addresses(reader: DeviceReader, ticks: Ticks) -> None:
    reader.run("open h {link} overlapped=1; aread h 13 times=2; wait all")
    first, second = ticks(13, 13)
    assert first.irp != second.irp


def test_ticks_are_one_second_apart_and_the_two_prints_of_each_come_together(reader: DeviceReader, ticks: Ticks) -> None:
    reader.run("open h {link} overlapped=1; aread h 13 times=5; wait all")
    served = ticks(13, 13, 13, 13, 13)
    gaps = sorted(later.at - earlier.at for earlier, later in itertools.pairwise(served))
    pairs = sorted(tick.apart for tick in served)
    # None may be early; a busy host may make one of them late, and one only, for a late tick moves those behind it.
    assert gaps[:3] == [TICK_S] * 3
    assert 0.95 < gaps[3] < 2.0
    assert 0 <= pairs[0] <= pairs[3] < PAIR_S


def test_leaving_a_read_with_the_driver_prints_nothing(reader: DeviceReader, prints: PrintStream) -> None:
    # Right behind a tick there is a second until the next one: room to leave reads and to take them back.
    done = reader.run("open h {link} overlapped=1; aread h 13 tag=a; wait a; aread h 77 times=3 tag=b; cancel b; wait b")
    taken_back = [read for read in done.tagged("b") if read.error == OPERATION_ABORTED]
    assert taken_back
    assert texts(prints).count("读取DPC长度: 77") == 3 - len(taken_back)


def test_ticks_go_on_with_nothing_pended_and_print_nothing(reader: DeviceReader, ticks: Ticks, prints: PrintStream) -> None:
    done = reader.run(
        "open h {link} overlapped=1; aread h 13 tag=a; wait a; "
        "sleep 1400; aread h 14 tag=b; wait b; sleep 1400; aread h 15 tag=c; wait c"
    )
    # Left in the middle of a second, a read waits for the rest of it. A timer that only reads arm would make all of them
    # wait for a whole one.
    assert min(done.by_tag[tag].duration_s for tag in "bc") < 0.9
    ticks(13, 14, 15)
    prints.expect_none()
