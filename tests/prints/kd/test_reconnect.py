"""A target that may have given its debugger up: how it is noticed, woken and told."""

from __future__ import annotations

from lab.prints.kd import payload as wire
from lab.prints.kd.packet import BREAK_IN
from lab.prints.kd.reconnect import GIVES_UP_AFTER, WAKE_S, WAKES
from lab.prints.kd.record import Gap
from tests.prints.kd.fake_target import X86_INT3_PC, exception_payload
from tests.prints.kd.wire import Wire


def test_a_target_that_gave_up_is_woken_until_it_talks_and_its_new_ids_are_the_gap() -> None:
    w = Wire()
    w.feed(w.target.print(b"0"))
    w.feed(w.target.print(b"1") * GIVES_UP_AFTER)
    assert w.kinds() == ["print", "print", "note"]
    assert w.pass_time(WAKE_S) == BREAK_IN
    assert w.pass_time(WAKE_S) == BREAK_IN
    w.target.restart()
    w.sent(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")))
    assert w.kinds() == ["print", "print", "note", "gap", "exception"]
    assert w.pass_time(WAKE_S) == b""
    w.session.finish()
    assert not [record for record in w.session.take_records() if isinstance(record, Gap)]


def test_a_target_that_goes_on_after_twenty_tries_had_not_given_up() -> None:
    w = Wire()
    w.feed(w.target.print(b"0") * GIVES_UP_AFTER + w.target.print(b"1"))
    w.session.finish()
    assert "gap" not in w.kinds() + [record.kind for record in w.session.take_records()]


def test_a_target_that_gave_up_and_is_never_heard_again_is_a_gap() -> None:
    w = Wire()
    w.feed(w.target.print(b"0") * GIVES_UP_AFTER)
    for _ in range(WAKES):
        assert w.pass_time(WAKE_S) == BREAK_IN
    assert w.kinds() == ["print", "note", "gap"]
    assert w.pass_time(WAKE_S) == b""

    ended = Wire()
    ended.feed(ended.target.print(b"0") * GIVES_UP_AFTER)
    ended.session.finish()
    assert [record.kind for record in ended.session.take_records()] == ["gap"]


def test_a_stop_that_is_told_over_and_over_is_not_a_target_that_gave_up() -> None:
    w = Wire()
    w.feed(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")) * GIVES_UP_AFTER)
    assert w.pass_time(WAKE_S) != BREAK_IN
    assert w.kinds() == ["exception"]


def test_a_host_that_stood_still_says_so_and_wakes_its_target() -> None:
    w = Wire()
    w.session.stood_still(60.0, w.now)
    w.feed(w.target.print(b"1"))
    w.session.stood_still(5.0, w.now)
    assert w.kinds() == ["print"]
    w.session.stood_still(60.0, w.now)
    assert w.pass_time(WAKE_S) == BREAK_IN
    assert w.kinds() == ["print", "gap"]
    # One packet may have been on its way when the host fell still; what goes on behind it has not given up.
    w.feed(w.target.print(b"2"))
    assert w.pass_time(WAKE_S) == BREAK_IN
    w.feed(w.target.print(b"3"))
    assert w.pass_time(WAKE_S) == b""
