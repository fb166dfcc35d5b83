"""A target that may have given its debugger up: how the host notices, wakes it and records that."""

from __future__ import annotations

from lab.prints.kd import payload as wire
from lab.prints.kd.ids import SessionIds
from lab.prints.kd.packet import BREAK_IN, DEBUG_IO, INITIAL_ID, STATE_CHANGE, SYNC, data_packet
from lab.prints.kd.reconnect import BREAK_IN_S, BREAK_INS, GIVES_UP_AFTER
from lab.prints.kd.record import Gap
from tests.prints.kd.fake_target import X86_INT3_PC, exception_payload, load_payload, print_payload
from tests.prints.kd.wire import Wire


def test_a_target_that_gave_up_is_woken_and_its_new_ids_are_a_gap() -> None:
    w = Wire()
    w.feed(w.target.print(b"0"))
    w.feed(w.target.print(b"1") * GIVES_UP_AFTER)
    assert w.kinds() == ["print", "print", "note"]
    assert w.pass_time(BREAK_IN_S) == BREAK_IN
    assert w.pass_time(BREAK_IN_S) == BREAK_IN
    w.target.restart()
    w.sent(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")))
    assert w.kinds() == ["print", "print", "note", "gap", "exception"]
    assert w.pass_time(BREAK_IN_S) == b""
    w.session.finish()
    assert not [record for record in w.session.take_records() if isinstance(record, Gap)]


def test_a_target_that_continues_after_twenty_tries_had_not_given_up() -> None:
    w = Wire()
    w.feed(w.target.print(b"0") * GIVES_UP_AFTER + w.target.print(b"1"))
    w.session.finish()
    assert "gap" not in w.kinds() + [record.kind for record in w.session.take_records()]


def test_a_target_that_gave_up_and_is_never_heard_again_is_a_gap() -> None:
    w = Wire()
    w.feed(w.target.print(b"0") * GIVES_UP_AFTER)
    for _ in range(BREAK_INS):
        assert w.pass_time(BREAK_IN_S) == BREAK_IN
    assert w.kinds() == ["print", "note", "gap"]
    assert w.pass_time(BREAK_IN_S) == b""

    ended = Wire()
    ended.feed(ended.target.print(b"0") * GIVES_UP_AFTER)
    ended.session.finish()
    assert [record.kind for record in ended.session.take_records()] == ["gap"]


def test_a_stop_that_is_repeated_is_not_a_target_that_gave_up() -> None:
    w = Wire()
    w.feed(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")) * GIVES_UP_AFTER)
    assert w.pass_time(BREAK_IN_S) != BREAK_IN
    assert w.kinds() == ["gap", "exception"]


def test_a_host_that_was_suspended_reports_it_and_wakes_its_target() -> None:
    w = Wire()
    w.session.stood_still(60.0, w.now)
    w.feed(w.target.print(b"1"))
    w.session.stood_still(5.0, w.now)
    assert w.kinds() == ["print"]
    w.session.stood_still(60.0, w.now)
    assert w.pass_time(BREAK_IN_S) == BREAK_IN
    assert w.kinds() == ["print", "gap"]
    # One packet may have been on its way when the host was suspended; a target that continues after it has not given up.
    w.feed(w.target.print(b"2"))
    assert w.pass_time(BREAK_IN_S) == BREAK_IN
    w.feed(w.target.print(b"3"))
    assert w.pass_time(BREAK_IN_S) == b""


def test_prints_without_an_attached_host_are_a_gap_for_the_next_host() -> None:
    """The kernel gives up within a second, and drops its prints from then on: a new host began as if nothing was lost."""
    stop = exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")
    w = Wire()
    w.session.break_in()  # a kernel that has given up is found by this
    w.feed(data_packet(STATE_CHANGE, INITIAL_ID | SYNC, stop))
    assert w.kinds() == ["gap", "exception"]
    assert isinstance(w.records[0], Gap)
    assert "drops its prints" in w.records[0].reason
    # Recorded once, and not again when the target continues.
    w.feed(data_packet(DEBUG_IO, INITIAL_ID | 1, print_payload(b"1")))
    assert w.kinds() == ["gap", "exception", "print"]


def test_joining_a_running_kernel_gives_a_gap_before_its_first_print() -> None:
    w = Wire()
    w.feed(data_packet(DEBUG_IO, INITIAL_ID, print_payload(b"1")))
    w.feed(data_packet(DEBUG_IO, INITIAL_ID | 1, print_payload(b"2")))
    assert w.kinds() == ["gap", "print", "print"]


def test_ids_that_go_on_show_that_nothing_was_lost() -> None:
    ids = SessionIds(INITIAL_ID | 1, INITIAL_ID)
    w = Wire(ids=ids)
    w.feed(data_packet(DEBUG_IO, INITIAL_ID | 1, print_payload(b"2")))
    assert w.kinds() == ["print"]
    other = Wire(ids=ids)
    other.feed(data_packet(DEBUG_IO, INITIAL_ID, print_payload(b"3")))
    assert other.kinds() == ["gap", "print"]
    anew = Wire(ids=ids)
    anew.feed(data_packet(DEBUG_IO, INITIAL_ID | SYNC, print_payload(b"3")))
    assert anew.kinds() == ["gap", "print"]


def test_a_boot_begins_its_record() -> None:
    for payload, kind in ((print_payload(b"1"), DEBUG_IO), (load_payload(b"nt.exe"), STATE_CHANGE)):
        w = Wire()
        w.feed(data_packet(kind, INITIAL_ID | SYNC, payload))
        assert "gap" not in w.kinds()
