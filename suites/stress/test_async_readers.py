"""Many reads left with the async driver at once, and the races between ticks and cancellation."""

from __future__ import annotations

from collections import Counter

import pytest

from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream
from lab.suite import timing
from suites.helpers import OPERATION_ABORTED, Ticks, crowd, every_read_ended_once, left_and_taken_back, served_lengths

pytestmark = pytest.mark.lab_driver("async", reload=False)


def test_reads_of_four_handles_complete_oldest_first(reader: DeviceReader, ticks: Ticks) -> None:
    opened = "; ".join(f"open {h} {{link}} overlapped=1" for h in "abcd")
    left = "; ".join(f"aread {h} {100 + i}" for i, h in enumerate("acbda"))
    done = reader.run(f"{opened}; {left}; wait all")
    assert [r.text for r in done.reads] == ["hello lyshark"] * 5
    ticks(*range(100, 105))


def test_reads_left_by_four_threads_at_once_are_all_completed_once(reader: DeviceReader, prints: PrintStream) -> None:
    lengths = {name: 110 + int(name) for name in "1234"}
    left = "; ".join(f"@{name} open h{name} {{link}} overlapped=1; @{name} aread h{name} {n}" for name, n in lengths.items())
    done = reader.run(f"{left}; go; wait all")
    assert Counter((r.error, r.asked) for r in done.reads) == {(0, n): 1 for n in lengths.values()}
    assert sorted(served_lengths(prints)) == sorted(lengths.values())


def test_reads_that_are_left_while_a_tick_takes_another_are_all_served(reader: DeviceReader, prints: PrintStream) -> None:
    # The tick finds one read, and five more come at that moment: with a virtual clock to a few milliseconds.
    meanwhile = "; ".join(f"aread h {length}; sleep 5" for length in range(131, 136))
    done = reader.run(
        f"open h {{link}} overlapped=1; aread h 129 tag=s; wait s; sleep 900; aread h 130; sleep 95; {meanwhile}; wait all"
    )
    assert [r.error for r in done.reads] == [0] * 7
    assert served_lengths(prints) == list(range(129, 136))


def test_many_pended_reads_are_cancelled_at_once_and_the_next_tick_serves_the_next_read(
    reader: DeviceReader, prints: PrintStream
) -> None:
    done = reader.run(
        "open a {link} overlapped=1; open b {link} overlapped=1; aread a 21 times=30 tag=x; aread b 22 tag=y; "
        "aread a 21 times=30 tag=x; tick; cancel a; wait x; wait y"
    )
    ends = Counter(r.error for r in done.tagged("x"))
    assert ends.total() == 60
    # A tick or two may serve some while they are left; the minute that all of them would take is over at once.
    assert set(ends) <= {0, OPERATION_ABORTED}
    with timing("most of a minute's reads are cancelled before their ticks"):
        assert ends[OPERATION_ABORTED] > 30
    assert done.by_tag["y"].text == "hello lyshark"
    assert served_lengths(prints) == [21] * ends[0] + [22]


@pytest.mark.lab_needs("cancel_one")
def test_a_read_that_is_cancelled_while_a_tick_completes_it_ends_exactly_once(
    reader: DeviceReader, prints: PrintStream
) -> None:
    done = reader.run(f"open h {{link}} overlapped=1; {left_and_taken_back(40)}; wait all", timeout=90)
    every_read_ended_once(done, prints, reads=40)


def test_clients_that_die_together_leave_the_driver_at_work(reader: DeviceReader, prints: PrintStream) -> None:
    reader.run(crowd("$", "123", "open h {link} overlapped=1; aread h 61 times=5; exit 0") + "; go")
    served_before = len(served_lengths(prints))
    done = reader.run("open h {link} overlapped=1; aread h 62; wait all")
    assert [r.text for r in done.reads] == ["hello lyshark"]
    assert served_lengths(prints)[served_before:] == [62]
