"""Many reads left with the async driver at once, and the races between ticks and cancellation."""

from __future__ import annotations

from collections import Counter

import pytest

from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream
from suites.helpers import OPERATION_ABORTED, Ticks, crowd, texts

pytestmark = pytest.mark.lab_driver("async", reload=False)


def test_reads_of_four_handles_complete_oldest_first(reader: DeviceReader, ticks: Ticks) -> None:
    opened = "; ".join(f"open {h} {{link}} overlapped=1" for h in "abcd")
    left = "; ".join(f"aread {h} {100 + i}" for i, h in enumerate("acbddb"))
    done = reader.run(f"{opened}; {left}; wait all")
    assert [r.text for r in done.reads] == ["hello lyshark"] * 6
    ticks(*range(100, 106))


def test_reads_left_by_four_threads_at_once_are_all_completed_once(reader: DeviceReader, prints: PrintStream) -> None:
    lengths = {name: 110 + int(name) for name in "1234"}
    left = "; ".join(f"@{name} open h{name} {{link}} overlapped=1; @{name} aread h{name} {n}" for name, n in lengths.items())
    done = reader.run(f"{left}; go; wait all")
    assert Counter((r.error, r.asked) for r in done.reads) == {(0, n): 1 for n in lengths.values()}
    served = [text for text in texts(prints) if text.startswith("读取DPC长度")]
    assert Counter(served) == {f"读取DPC长度: {n}": 1 for n in lengths.values()}


def test_many_pended_reads_are_cancelled_at_once_and_the_next_tick_serves_the_next_read(
    reader: DeviceReader, ticks: Ticks, prints: PrintStream
) -> None:
    done = reader.run(
        "open a {link} overlapped=1; open b {link} overlapped=1; aread a 20 tag=s; wait s; "
        "aread a 21 times=40 tag=x; aread b 22 tag=y; aread a 21 times=40 tag=x; cancel a; wait all"
    )
    assert Counter(r.error for r in done.tagged("x")) == {OPERATION_ABORTED: 80}
    assert done.by_tag["y"].duration_s < 1.5
    ticks(20, 22)
    prints.expect_none()


def test_a_read_that_is_cancelled_while_a_tick_completes_it_ends_exactly_once(
    reader: DeviceReader, prints: PrintStream
) -> None:
    # Six threads take their reads back around the next tick, some milliseconds apart: some before, some behind it.
    script = "aread h 13 tag={name}; sleep {ms}; cancel {name}; wait {name}"
    racers = "; ".join(crowd("@", name, script.replace("{ms}", str(978 + 6 * int(name)))) for name in "123456")
    done = reader.run(f"open h {{link}} overlapped=1; aread h 13 tag=s; wait s; {racers}; go; {racers}; go", timeout=90)
    ends = Counter(r.error for r in done.reads)
    assert set(ends) <= {0, OPERATION_ABORTED}
    assert ends.total() == 1 + 2 * 6
    served = [text for text in texts(prints) if text.startswith("读取DPC长度")]
    assert len(served) == ends[0]


def test_clients_that_die_in_a_row_leave_the_driver_at_work(reader: DeviceReader, ticks: Ticks) -> None:
    reader.run(
        "open h {link} overlapped=1; aread h 60 tag=s; wait s; "
        + crowd("$", "123", "open h {link} overlapped=1; aread h 61 times=5; exit 0")
        + "; go"
    )
    ticks(60)
    done = reader.run("open h {link} overlapped=1; aread h 62; wait all")
    assert [r.text for r in done.reads] == ["hello lyshark"]
    ticks(62)
