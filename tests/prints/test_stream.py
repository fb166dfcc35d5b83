"""What a test may expect of its prints, and the error when they are missing."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lab.errors import EvidenceLost, GuestCrashed, TimingFailed
from lab.prints.fields import fields
from lab.prints.matching import PrintsLate, PrintsMissing
from lab.prints.stream import PrintMismatch, PrintStream, guest_gaps, render
from lab.prints.window import token_maker


@pytest.fixture
def stream(source: Any) -> PrintStream:
    source.say("before the test")
    return PrintStream(source, len(source.records), token_maker("t"), clock=source.clock)


def test_prints_before_the_window_do_not_count(source: Any, stream: PrintStream) -> None:
    source.say("mine \n")
    assert stream.texts() == ["mine"]
    assert [record.text for record in stream.records()] == ["mine \n"]


def test_expect_matches_in_order_and_consumes(source: Any, stream: PrintStream) -> None:
    for text in ("a", "b 12", "c"):
        source.say(text)
    first, second = stream.expect(["a", re.compile(r"b \d+")])
    assert (first.text, second.text) == ("a", "b 12")
    stream.expect("c")
    stream.expect_none()
    assert stream.texts() == ["a", "b 12", "c"]


def test_expect_waits_for_prints_that_come_late(source: Any, stream: PrintStream) -> None:
    source.say_at(1.0, "a")
    source.say_at(2.0, "b")
    assert len(stream.expect(["a", "b"], timeout=5)) == 2
    assert source.now == 2.0


def test_a_pattern_must_match_the_whole_text(source: Any, stream: PrintStream) -> None:
    source.say("length 20 and more")
    with pytest.raises(PrintMismatch):
        stream.expect(re.compile("length 20"), timeout=0)


def test_another_print_fails_at_once_and_both_lists_are_compared(source: Any, stream: PrintStream) -> None:
    for text in ("a", "x", "c"):
        source.say(text)
    with pytest.raises(PrintMismatch) as caught:
        stream.expect(["a", "b", "c"], timeout=60)
    assert source.now == 0.0
    text = str(caught.value)
    assert text.startswith("kernel print 2 is 'x', not 'b'")
    assert not isinstance(caught.value, TimingFailed)  # a wrong print is wrong at any time
    assert text.splitlines()[2:] == ["  a", "- b", "+ x", "  c"]


def test_prints_that_do_not_come_are_named(source: Any, stream: PrintStream) -> None:
    source.say("a")
    with pytest.raises(PrintsMissing) as caught:
        stream.expect(["a", re.compile("b+")], timeout=3)
    assert source.now == 3.0
    assert str(caught.value).startswith("1 of 2 expected kernel prints came within 3 s; missing: a match of /b+/")


def test_no_print_at_all(stream: PrintStream) -> None:
    with pytest.raises(PrintsMissing, match="0 of 1 expected kernel prints came within 1 s"):
        stream.expect("a", timeout=1)


def test_other_prints_may_be_skipped(source: Any, stream: PrintStream) -> None:
    for text in ("a", "x", "b", "y"):
        source.say(text)
    found = stream.expect(["a", "b"], skip_others=True)
    assert [record.text for record in found] == ["a", "b"]
    with pytest.raises(PrintMismatch, match=r"1 came:\n.*y"):
        stream.expect_none()


def test_a_print_that_comes_with_the_last_marker_counts(source: Any, stream: PrintStream) -> None:
    marks = 0
    plain = source.mark

    def mark(token: str, *, timeout: float) -> int:
        nonlocal marks
        marks += 1
        if marks == 2:
            source.say("late")
        return int(plain(token, timeout=timeout))

    source.mark = mark
    assert [record.text for record in stream.expect("late", timeout=1)] == ["late"]


def test_gaps_of_guest_time(source: Any, stream: PrintStream) -> None:
    for when in (1.0, 2.001, 3.0):
        source.say("tick", when)
    records = stream.expect(["tick"] * 3, guest_gap=(0.95, 1.05))
    assert guest_gaps(records) == pytest.approx([1.001, 0.999])


def test_a_gap_out_of_tolerance_says_which(source: Any, stream: PrintStream) -> None:
    for when in (1.0, 2.0, 3.5):
        source.say("tick", when)
    with pytest.raises(PrintsLate, match=r"between prints 2 and 3, not 0\.95 to 1\.05"):
        stream.expect(["tick"] * 3, guest_gap=(0.95, 1.05))


def test_gaps_need_guest_times(source: Any, stream: PrintStream) -> None:
    source.say("tick", None)
    with pytest.raises(EvidenceLost, match="no guest time stamp"):
        guest_gaps(stream.records())


def test_lost_prints_are_not_a_mismatch(source: Any, stream: PrintStream) -> None:
    source.say("a")
    source.lose()
    with pytest.raises(EvidenceLost, match="2 lines did not arrive"):
        stream.expect(["a", "b"], timeout=60)


def test_a_fault_ends_the_wait(source: Any, stream: PrintStream) -> None:
    source.later.append((1.0, source.fault))
    with pytest.raises(GuestCrashed) as caught:
        stream.expect("a", timeout=60)
    assert caught.value.code == 0xC0000005
    assert source.now == 1.0


def test_expect_none_waits_for_late_prints(source: Any, stream: PrintStream) -> None:
    source.say_at(0.5, "late")
    stream.expect_none()
    with pytest.raises(PrintMismatch, match="late"):
        stream.expect_none(wait=1.0)


def test_drain_fetches_what_was_printed(source: Any, stream: PrintStream) -> None:
    source.say("a")
    assert [record.text for record in stream.drain()] == ["a"]


def test_render_shows_faults_and_gaps(source: Any) -> None:
    source.say("hello \n", 12.5)
    source.fault()
    source.lose()
    lines = render(source.records).splitlines()
    assert lines[0].split() == ["12.500", "1:2", "hello"]
    assert lines[1:] == ["*** driver fault: it faulted", "*** prints missing: 2 lines did not arrive"]


def test_the_prints_of_the_load_are_distinguished_from_the_tests(source: Any, stream: PrintStream) -> None:
    assert stream.load == []
    stream.note_load()
    source.say("version 1.2")
    source.say("ready")
    stream.end_load()
    source.say("read 20")
    stream.end_load()  # the prints fixture comes after the drivers; the first call counts
    assert [record.text for record in stream.load] == ["version 1.2", "ready"]
    assert stream.skip_load() == stream.load
    stream.expect("read 20")
    stream.expect_none()
    assert stream.texts() == ["version 1.2", "ready", "read 20"]


def test_the_load_may_be_skipped_when_it_was_expected_already(source: Any, stream: PrintStream) -> None:
    source.say("ready")
    stream.note_load()
    stream.end_load()
    source.say("a")
    stream.expect(["ready", "a"])
    stream.skip_load()
    stream.expect_none()


def test_a_print_of_the_load_in_the_place_of_the_tests_says_so(source: Any, stream: PrintStream) -> None:
    source.say("ready")
    stream.note_load()
    stream.end_load()
    source.say("a")
    with pytest.raises(PrintMismatch, match=r"is 'ready', not 'a'\n\(it was printed when .*prints.skip_load\(\)"):
        stream.expect("a")
    stream.skip_load()
    with pytest.raises(PrintMismatch) as caught:
        stream.expect("b")
    assert "skip_load" not in str(caught.value)


def test_fields_and_named_groups_are_in_the_records(source: Any, stream: PrintStream) -> None:
    source.say("control 0x222000, in 19\n")
    source.say("read 007")
    control, read = stream.expect([fields("control {code:x}, in {size:d}"), re.compile(r"read (?P<length>\d+)")])
    assert (control["code"], control.fields["size"], read["length"]) == (0x222000, 19, "007")
    assert stream.records()[0].fields == {}
    with pytest.raises(KeyError, match=r"no field 'sise' in the print .*there is: code, size"):
        control["sise"]


def test_a_field_with_another_value_is_compared_with_the_print(source: Any, stream: PrintStream) -> None:
    for text in ("open", "read 20 bytes", "close"):
        source.say(text)
    with pytest.raises(PrintMismatch) as caught:
        stream.expect(["open", fields("read {length:d} bytes").where(length=19), "close"])
    lines = str(caught.value).splitlines()
    assert lines[0] == "kernel print 2 is 'read 20 bytes', not a match of read {length:d} bytes  where length=19"
    assert [line for line in lines[2:] if not line.startswith("?")] == [
        "  open",
        "- read {length:d} bytes  where length=19",
        "+ read 20 bytes",
        "  close",
    ]


def test_no_marker_is_used_without_a_load(source: Any, stream: PrintStream) -> None:
    source.say("a")
    before = len(source.records)
    stream.end_load()
    assert len(source.records) == before
    assert stream.load == []


def test_in_a_guest_with_its_own_time_a_late_print_is_waited_for_by_that(source: Any) -> None:
    rested: list[float] = []

    def rest(seconds: float) -> None:
        rested.append(seconds)
        source.say("late")

    stream = PrintStream(source, 0, token_maker("t"), rest=rest, clock=source.clock)
    with pytest.raises(PrintMismatch, match="1 came"):
        stream.expect_none(wait=2.5)
    assert rested == [2.5]
    assert source.now == 0.0, "no second of the host was waited for"
