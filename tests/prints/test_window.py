"""Every print belongs to the boot, to one test, or to none, and is counted once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import EvidenceLost, GuestCrashed
from lab.prints.record import PrintRecord
from lab.prints.stream import first_fault
from lab.prints.window import PrintLedger
from tests.prints.conftest import ListSource


@pytest.fixture
def ledger(source: Any) -> PrintLedger:
    return PrintLedger(source, "gw0-1")


def texts(records: Any) -> list[str]:
    return [record.text for record in records if isinstance(record, PrintRecord)]


def test_prints_belong_to_the_boot_a_test_or_the_time_between(source: Any, ledger: PrintLedger) -> None:
    source.say("boot")
    ledger.end_boot()
    ledger.open("test_a")
    source.say("a")
    assert texts(ledger.peek()) == ["a"]
    window = ledger.close()
    source.say("between")
    ledger.open("test_b")
    source.say("b")
    other = ledger.close()
    source.say("after")
    account = ledger.finish()
    assert (texts(window.prints), texts(other.prints)) == (["a"], ["b"])
    assert texts(account.boot) == ["boot"]
    assert account.assigned == 2
    assert texts(account.unattributed) == ["between", "after"]
    assert account.total == 5
    assert ledger.windows == 2


def test_a_test_reads_in_its_drivers_encoding_and_the_others_do_not(source: Any, ledger: PrintLedger) -> None:
    """A run may have a driver that prints GBK and others that do not; each test reads the prints of its own driver."""

    def say(raw: bytes) -> None:
        source.say("")
        source.records[-1] = replace(source.records[-1], raw=raw, text=raw.decode("utf-8", "backslashreplace"))

    stream = ledger.open("test_gbk", encoding="gbk")
    say("读取\n".encode("gbk"))
    assert stream.texts() == ["读取"]
    stream.expect(["读取"], timeout=1)
    assert texts(ledger.peek())[0] == "读取\n"
    assert texts(ledger.close().prints) == ["读取\n"]
    ledger.open("test_utf8")
    say("写入".encode())
    assert texts(ledger.close().prints) == ["写入"]


def test_a_fault_between_two_tests_stands_at_the_begin_of_the_next_window(source: Any, ledger: PrintLedger) -> None:
    ledger.open("test_a")
    ledger.close()
    source.say("between")
    source.fault()
    source.say("behind the fault")
    stream = ledger.open("test_b")
    assert [type(record).__name__ for record in ledger.peek()] == ["FaultRecord", "PrintRecord", "MarkRecord"]
    with pytest.raises(GuestCrashed):
        stream.drain()
    assert first_fault(ledger.close().records) is not None
    assert texts(ledger.finish().unattributed) == ["between"]


def test_faults_outside_of_every_window_are_kept_and_those_inside_are_not(source: Any, ledger: PrintLedger) -> None:
    source.fault()
    ledger.end_boot()
    ledger.open("test_a")
    source.fault()
    ledger.close()
    source.fault()
    source.dead = True
    assert [record.sequence for record in ledger.finish().faults] == [0, 5]
    assert len(ledger.finish().faults) == 2


def test_a_boot_that_ended_needs_no_marker(source: Any, ledger: PrintLedger) -> None:
    source.say("boot")
    source.dead = True
    ledger.end_boot(alive=False)
    assert texts(ledger.finish().boot) == ["boot"]


def test_finish_may_be_called_again(source: Any, ledger: PrintLedger) -> None:
    source.say("x")
    assert ledger.finish() == ledger.finish()


def test_one_window_at_a_time(ledger: PrintLedger) -> None:
    ledger.open("test_a")
    with pytest.raises(ValueError, match="test_a is still open"):
        ledger.open("test_b")
    ledger.close()
    with pytest.raises(ValueError, match="no window is open"):
        ledger.close()


def test_a_gap_makes_the_window_incomplete(source: Any, ledger: PrintLedger) -> None:
    ledger.open("test_a")
    source.lose()
    window = ledger.close()
    assert window.gaps == ["2 lines did not arrive"]
    with pytest.raises(EvidenceLost, match="kernel prints of test_a are missing: 2 lines did not arrive"):
        window.check()
    assert ledger.finish().gaps == ("2 lines did not arrive",)


def test_a_gap_between_two_tests_belongs_to_neither(source: Any, ledger: PrintLedger) -> None:
    ledger.open("test_a")
    ledger.close().check()
    source.lose()
    ledger.open("test_b")
    ledger.close().check()
    assert ledger.finish().gaps == ("2 lines did not arrive",)


def test_a_marker_that_does_not_come_back_makes_the_window_incomplete(source: Any, ledger: PrintLedger) -> None:
    ledger.open("test_a")
    source.say("a")
    source.dead = True
    window = ledger.close()
    assert texts(window.prints) == ["a"]
    assert not window.complete
    with pytest.raises(EvidenceLost, match="marker after the test"):
        window.check()


def test_a_dead_guest_is_not_asked_for_a_marker(source: Any, ledger: PrintLedger) -> None:
    ledger.open("test_a")
    before = len(source.records)
    assert not ledger.close(alive=False).complete
    assert len(source.records) == before


def test_a_fault_explains_a_missing_marker(source: Any, ledger: PrintLedger) -> None:
    ledger.open("test_a")
    source.fault()
    source.dead = True
    assert ledger.close().complete


def test_a_marker_that_fails_at_the_start_opens_nothing(source: Any, ledger: PrintLedger) -> None:
    source.dead = True
    with pytest.raises(EvidenceLost):
        ledger.open("test_a")
    assert ledger.windows == 0


@given(st.lists(st.sampled_from(["say", "test", "lose"]), max_size=20))
def test_no_print_is_counted_twice_or_left_out(acts: list[str]) -> None:
    source = ListSource()
    ledger = PrintLedger(source, "g")
    said = 0
    assigned = 0
    for act in acts:
        if act == "say":
            source.say("x")
            said += 1
        elif act == "lose":
            source.lose()
        elif act == "test":
            ledger.open("t")
            source.say("y")
            said += 1
            assigned += len(ledger.close().prints)
    account = ledger.finish()
    assert account.total == said
    assert account.assigned == assigned == acts.count("test")
