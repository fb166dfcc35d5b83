"""A pended read can be cancelled, and a client that exits leaves no read pended."""

from __future__ import annotations

import pytest

from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream
from lab.suite import timing
from suites.helpers import OPERATION_ABORTED, SHIELD, Ticks, gaps, served_of, shield_held, texts

pytestmark = pytest.mark.lab_driver("async", reload=False)


def test_a_cancelled_read_ends_with_error_995_at_once(reader: DeviceReader) -> None:
    # After many other reads, no tick can come before the cancel, and the read ends without any of their ticks.
    done = reader.run(
        f"open a {{link}} overlapped=1; open h {{link}} overlapped=1; aread a 13 times={SHIELD} tag=before; "
        "aread h 13 tag=b; cancel b; wait b; cancel a; wait all"
    )
    shield_held(done)
    cancelled = done.by_tag["b"]
    assert (cancelled.error, cancelled.returned) == (OPERATION_ABORTED, 0)


@pytest.mark.lab_needs("cancel_one")
def test_the_others_complete_in_order_and_no_tick_is_lost(reader: DeviceReader, ticks: Ticks, prints: PrintStream) -> None:
    # Reads that are left together are served by ticks in a row: two cancelled reads between them get no tick.
    lengths = (21, 22, 23, 24)
    left = "; ".join(f"aread h {length} tag={length}; aread h 13 times=2 tag=c{length}" for length in lengths)
    taken_back = "; ".join(f"cancel c{length}" for length in lengths)
    done = reader.run(
        f"open h {{link}} overlapped=1; aread h 20 times={SHIELD} tag=before; {left}; {taken_back}; cancel before; wait all"
    )
    shield_held(done)
    assert [done.by_tag[str(length)].error for length in lengths] == [0] * len(lengths)
    assert [read.error for length in lengths for read in done.tagged(f"c{length}")] == [OPERATION_ABORTED] * 8
    before = served_of(done, "before")
    served = ticks(*[20] * before, *lengths)
    # A busy host makes a tick late now and then; if the cancelled ones had ticks, each of these would be three seconds late.
    with timing("the reads that were taken back had no ticks"):
        assert min(gaps(served[before:])) < 2.5
    prints.expect_none()


def test_a_cancelled_read_is_never_completed_by_a_later_tick(reader: DeviceReader, ticks: Ticks, prints: PrintStream) -> None:
    done = reader.run(
        f"open h {{link}} overlapped=1; aread h 61 times={SHIELD} tag=before; aread h 62 tag=b; cancel b; cancel before; "
        "wait all; sleep 1200; aread h 63 tag=c; wait c"
    )
    shield_held(done)
    assert done.by_tag["b"].error == OPERATION_ABORTED
    ticks(*[61] * served_of(done, "before"), 63)
    prints.expect_none()


def test_cancelling_a_handle_ends_all_its_reads_and_no_others(reader: DeviceReader, ticks: Ticks) -> None:
    done = reader.run(
        f"open c {{link}} overlapped=1; open a {{link}} overlapped=1; open b {{link}} overlapped=1; "
        f"aread c 30 times={SHIELD} tag=before; "
        "aread a 31 tag=1; aread b 32 tag=2; aread a 33 tag=3; aread b 34 tag=4; cancel a; cancel c; wait all"
    )
    shield_held(done)
    assert [done.by_tag[tag].error for tag in "1234"] == [OPERATION_ABORTED, 0, OPERATION_ABORTED, 0]
    ticks(*[30] * served_of(done, "before"), 32, 34)


def test_cancelling_a_finished_read_changes_nothing(reader: DeviceReader, ticks: Ticks, prints: PrintStream) -> None:
    done = reader.run("open h {link} overlapped=1; aread h 13 tag=a; wait a; cancel a; aread h 14 tag=b; wait b")
    assert [done.by_tag[tag].text for tag in "ab"] == ["hello lyshark"] * 2
    ticks(13, 14)
    prints.expect_none()


CLOSED_WITH_READS = (
    f"open c {{link}} overlapped=1; open a {{link}} overlapped=1; open b {{link}} overlapped=1; "
    f"aread c 70 times={SHIELD} tag=before; "
    "aread a 71 tag=1; aread a 72 tag=2; aread b 73 tag=3; close a; cancel c; wait all"
)


@pytest.mark.lab_needs("cleanup_on_close")
def test_closing_the_handle_cancels_its_reads(reader: DeviceReader, ticks: Ticks, prints: PrintStream) -> None:
    done = reader.run(CLOSED_WITH_READS)
    shield_held(done)
    assert [done.by_tag[tag].error for tag in "123"] == [OPERATION_ABORTED, OPERATION_ABORTED, 0]
    ticks(*[70] * served_of(done, "before"), 73)
    prints.expect_none()


def test_the_reads_of_a_closed_handle_end_once_each_and_those_of_others_are_served(
    reader: DeviceReader, prints: PrintStream
) -> None:
    done = reader.run(CLOSED_WITH_READS)
    assert all(done.by_tag[tag].error in (0, OPERATION_ABORTED) for tag in "12")
    assert done.by_tag["3"].text == "hello lyshark"
    served = [text for text in texts(prints) if text.startswith("读取DPC长度")]
    assert served == [f"读取DPC长度: {read.asked}" for read in done.reads if read.error == 0]


def test_a_client_that_exits_leaves_no_read_behind_for_the_ticks(reader: DeviceReader, prints: PrintStream) -> None:
    reader.run("open h {link} overlapped=1; aread h 80 tag=s; wait s; aread h 81 times=12; exit 0")
    served_before = len(texts(prints))
    done = reader.run("open h {link} overlapped=1; aread h 90 tag=next; wait next")
    assert done.by_tag["next"].error == 0
    assert texts(prints)[served_before + 1 :] == ["读取DPC长度: 90"]
