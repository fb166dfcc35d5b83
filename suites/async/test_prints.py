"""What the async driver prints, and its clock: one tick a second, from load to unload."""

from __future__ import annotations

import pytest

from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream
from lab.suite import LiveGuest, timing
from suites.helpers import OPERATION_ABORTED, Ticks, check_prints_come_together, check_ticks_are_a_second_apart, texts

pytestmark = pytest.mark.lab_driver("async", reload=False)


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


def test_ticks_are_one_second_apart_and_the_two_prints_of_each_come_together(
    reader: DeviceReader, ticks: Ticks, guest: LiveGuest
) -> None:
    reader.run("open h {link} overlapped=1; aread h 13 times=5; wait all")
    served = ticks(13, 13, 13, 13, 13)
    check_ticks_are_a_second_apart(served, guest.clock)
    check_prints_come_together(served, guest.clock)


def test_leaving_a_read_with_the_driver_prints_nothing(reader: DeviceReader, prints: PrintStream) -> None:
    # Right after a tick there is a second until the next one: time to leave reads and to take them back.
    done = reader.run("open h {link} overlapped=1; aread h 13 tag=a; wait a; aread h 77 times=3 tag=b; cancel b; wait b")
    taken_back = [read for read in done.tagged("b") if read.error == OPERATION_ABORTED]
    with timing("there is time between two ticks to take reads back"):
        assert taken_back
    assert texts(prints).count("读取DPC长度: 77") == 3 - len(taken_back)


def test_ticks_go_on_with_nothing_pended_and_print_nothing(reader: DeviceReader, ticks: Ticks, prints: PrintStream) -> None:
    later = "; ".join(f"sleep 1400; aread h {length} tag={length}; wait {length}" for length in (14, 15, 16))
    done = reader.run(f"open h {{link}} overlapped=1; aread h 13 tag=a; wait a; {later}")
    # Left in the middle of a second, a read waits for the rest of it, in the guest's time. With a timer that only reads arm,
    # every read waits for a whole second; on a busy host only some do.
    with timing("a read waits for the rest of its second"):
        assert min(done.by_tag[str(length)].duration_s for length in (14, 15, 16)) < 0.95
    ticks(13, 14, 15, 16)
    prints.expect_none()
