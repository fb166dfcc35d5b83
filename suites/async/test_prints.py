"""What the async driver prints, and its clock: one tick a second, from load to unload."""

from __future__ import annotations

import itertools

import pytest

from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream
from suites.helpers import Ticks

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
    reader.run("open h {link} overlapped=1; aread h 13 times=3; wait all")
    assert len({tick.irp for tick in ticks(13, 13, 13)}) == 3


def test_the_two_prints_of_a_tick_come_together(reader: DeviceReader, ticks: Ticks) -> None:
    reader.run("open h {link} overlapped=1; aread h 13 times=3; wait all")
    assert all(0 <= tick.apart < PAIR_S for tick in ticks(13, 13, 13))


def test_ticks_are_one_second_apart(reader: DeviceReader, ticks: Ticks) -> None:
    reader.run("open h {link} overlapped=1; aread h 13 times=5; wait all")
    times = [tick.at for tick in ticks(13, 13, 13, 13, 13)]
    gaps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
    # One late tick moves the ones behind it, so at most one gap may be late; none may be early.
    assert gaps[:3] == [TICK_S] * 3
    assert 0.95 < gaps[3] < 1.5


def test_leaving_a_read_with_the_driver_prints_nothing(reader: DeviceReader, ticks: Ticks, prints: PrintStream) -> None:
    # Right behind a tick there is a second until the next one: room to leave a read and to take it back.
    reader.run("open h {link} overlapped=1; aread h 13 tag=a; wait a; aread h 77 times=3 tag=b; cancel h; wait all")
    ticks(13)
    prints.expect_none()


def test_ticks_go_on_with_nothing_pended_and_print_nothing(reader: DeviceReader, ticks: Ticks, prints: PrintStream) -> None:
    done = reader.run("open h {link} overlapped=1; aread h 13 tag=a; wait a; sleep 1600; aread h 14 tag=b; wait b")
    # A timer that only a read arms would make the second wait for a whole second, not for the rest of one.
    assert done.by_tag["b"].duration_s < 0.8
    ticks(13, 14)
    prints.expect_none()
