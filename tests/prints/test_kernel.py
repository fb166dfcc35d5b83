"""Prints of the kernel itself stay in the record, and count in no test's expectation."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.prints.kernel import with_kernel_prints
from lab.prints.record import MarkRecord, PrintRecord
from lab.prints.stream import PrintMismatch, PrintStream, render
from lab.prints.window import PrintLedger
from tests.prints.conftest import ListSource

PATTERNS = (r"\(/[\w./-]+\.c:\d+\) ", r"err:")
OWN = ["(/core/io/file.c:170) NtReadFile: no buffer\n", "err:(dll/loader.c:12) cannot relocate\n"]


class Marking(ListSource):
    """A source whose markers arrive at once."""

    def mark(self, token: str, *, timeout: float) -> int:
        self.records.append(MarkRecord(sequence=len(self.records), host_time=0.0, guest_time=None, token=token))
        return len(self.records)


def ledger(source: Marking) -> PrintLedger:
    return PrintLedger(source, "g", kernel_prints=PATTERNS)


def between(source: Marking, *texts: str) -> tuple[PrintStream, PrintLedger]:
    """A test's stream and its ledger, after these prints with the kernel's own around each."""
    book = ledger(source)
    stream = book.open("t")
    for text in texts:
        source.say(OWN[0])
        source.say(text)
        source.say(OWN[1])
    return stream, book


def test_the_kernels_prints_do_not_count_in_what_is_expected() -> None:
    stream, _ = between(Marking(), "one\n", "two\n")
    assert [record.text for record in stream.expect(["one", "two"])] == ["one\n", "two\n"]
    stream.expect_none()
    assert stream.texts() == ["one", "two"]


def test_without_patterns_the_kernels_prints_count() -> None:
    source = Marking()
    stream = PrintLedger(source, "g").open("t")
    source.say(OWN[0])
    with pytest.raises(PrintMismatch):
        stream.expect_none()


def test_a_print_that_matches_only_further_on_is_the_drivers() -> None:
    source = Marking()
    stream, _ = between(source)
    source.say("driver: (/core/io/file.c:170) quoted\n")
    with pytest.raises(PrintMismatch, match="quoted"):
        stream.expect_none()


def test_the_kernels_prints_stay_in_the_record_and_are_marked() -> None:
    source = Marking()
    _, book = between(source, "one\n")
    window = book.close()
    assert [(record.text, record.by_kernel) for record in window.prints] == [(OWN[0], True), ("one\n", False), (OWN[1], True)]
    shown = render(window.records).splitlines()
    assert [("[kernel] " in line) for line in shown] == [True, False, True]
    assert book.finish().total == 3


def test_a_late_print_of_the_kernel_ends_no_wait() -> None:
    source = Marking()
    stream, _ = between(source)
    source.say_at(1.0, OWN[0])
    stream.expect_none(wait=2.0)
    assert source.now >= 2.0


@given(st.lists(st.tuples(st.booleans(), st.text(max_size=8))))
def test_every_record_is_there_once_and_only_the_mark_is_new(said: list[tuple[bool, str]]) -> None:
    source = Marking()
    for own, text in said:
        source.say(("err:" if own else "x") + text)
    marked = with_kernel_prints(source, PATTERNS).records_since(0)
    prints = [record for record in marked if isinstance(record, PrintRecord)]
    assert [record.by_kernel for record in prints] == [own for own, _ in said]
    assert [(record.sequence, record.raw) for record in prints] == [
        (record.sequence, record.raw) for record in source.records if isinstance(record, PrintRecord)
    ]


def test_a_print_is_looked_at_once_however_often_its_record_is_asked_for() -> None:
    source = Marking()
    source.say(OWN[0])
    marked = with_kernel_prints(source, PATTERNS)
    assert marked.records_since(0)[0] is marked.records_since(0)[0]


def test_a_source_without_patterns_is_left_as_it_is() -> None:
    source = Marking()
    assert with_kernel_prints(source, ()) is source
    with pytest.raises(re.error):
        with_kernel_prints(source, ["("])
