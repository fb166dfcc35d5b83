"""Resets, and hosts that join a running target, against a target that answers every reset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from lab.prints.kd.decoder import CaptureDecoder
from lab.prints.kd.ids import SessionIds
from lab.prints.kd.packet import (
    ACKNOWLEDGE,
    BREAK_IN,
    DEBUG_IO,
    FILE_IO,
    INITIAL_ID,
    RESET,
    STATE_CHANGE,
    STATE_MANIPULATE,
    SYNC,
    Framer,
    Packet,
    control_packet,
    data_packet,
)
from lab.prints.kd.record import AnyRecord, ExceptionStop, Print
from lab.prints.kd.sender import RESEND_S, RESET_QUIET_S
from lab.prints.kd.session import Session
from lab.prints.kd.stop_policy import StopPolicy
from tests.prints.kd.fake_target import X86_INT3_PC, exception_payload, load_payload, print_payload
from tests.prints.kd.stubborn_target import Run, StubbornTarget, in_turn, play

RESET_PACKET = control_packet(RESET)
BUGCHECK = b"\n*** Fatal System Error: 0x000000d1\n (0x00000000,0x00000002,0x00000001,0xF8A01234)\n\n"
BOTH_IDS = (INITIAL_ID, INITIAL_ID | 1)


def boot(target: StubbornTarget, count: int = 6) -> Run:
    for number in range(count):
        yield from target.print(b"%d\n" % number)
        yield from target.load(b"%d.sys" % number)


def kinds(records: list[AnyRecord]) -> Counter[str]:
    return Counter(record.kind for record in records)


def packets(data: bytes) -> list[Packet]:
    return [item for item in Framer().feed(data) if isinstance(item, Packet)]


def test_a_reset_of_an_earlier_host_in_the_port_loses_nothing() -> None:
    target, session = StubbornTarget(), Session()
    records = play(boot(target), target, session, before=RESET_PACKET)
    assert kinds(records) == {"print": 6, "load": 6}
    assert session.generation == 0


def test_a_wake_up_of_a_target_that_still_boots_is_harmless() -> None:
    session = Session()
    for _ in range(3):
        session.break_in()
        session.reset(0.0)
    target = StubbornTarget()
    records = play(boot(target), target, session, before=session.take_output())
    assert kinds(records) == {"print": 6, "load": 6}
    assert session.generation == 0


def test_a_late_answer_to_our_reset_is_not_a_new_boot() -> None:
    session = Session()
    session.reset(0.0)
    first = session.take_output()
    session.tick(10 * RESET_QUIET_S)
    target = StubbornTarget()
    records = play(boot(target), target, session, before=first)
    assert kinds(records) == {"print": 6, "load": 6}
    assert session.generation == 0
    assert RESET_PACKET not in target.input


def test_a_boot_long_after_a_dropped_reset_is_a_boot() -> None:
    session = Session()
    session.feed(data_packet(DEBUG_IO, INITIAL_ID | SYNC, print_payload(b"1")), 0.0)
    session.reset(0.0)
    session.feed(RESET_PACKET + data_packet(DEBUG_IO, INITIAL_ID | SYNC, print_payload(b"2")), RESET_QUIET_S)
    assert [record.kind for record in session.take_records()] == ["print", "gap", "print"]
    assert session.generation == 1


def test_a_reset_while_a_print_is_on_its_way_records_it_once() -> None:
    target, session = StubbornTarget(), Session()
    run = boot(target)
    next(run)
    session.reset(0.0)
    target.input += session.take_output()

    def rest() -> Run:
        yield
        yield from run

    assert kinds(play(rest(), target, session)) == {"print": 6, "load": 6}
    assert session.generation == 0


@pytest.mark.parametrize("expected_id", BOTH_IDS)
@pytest.mark.parametrize("send_id", BOTH_IDS)
@pytest.mark.parametrize("what", ["print", "load", "breakpoint", "prompt", "file", "answer"])
def test_a_host_can_join_a_running_target(what: str, send_id: int, expected_id: int) -> None:
    target, session = StubbornTarget(send_id, expected_id), Session()
    ways: dict[str, Callable[[], Run]] = {
        "print": partial(target.print, b"first"),
        "load": partial(target.load, b"first.sys"),
        "breakpoint": partial(target.breakpoint, X86_INT3_PC),
        "prompt": partial(target.prompt, b"(boipt)? "),
        "file": target.file,
        "answer": partial(target.answer_of_an_earlier_host, X86_INT3_PC),
    }
    records = play(in_turn(ways[what], partial(boot, target)), target, session)
    told = kinds(records)
    assert told["print"] == 6 + (what == "print")
    assert told["load"] == 6 + (what == "load")
    assert told["exception"] == (what in ("breakpoint", "answer"))
    assert told["prompt"] == (what == "prompt")
    assert told["note"] == (what in ("file", "answer"))
    assert told["gap"] == 1  # what it sent before, to another host or to none
    assert len(target.answers) == (what in ("prompt", "file"))
    assert target.told_to_step == ([(X86_INT3_PC + 1) & 0xFFFFFFFF] if what in ("breakpoint", "answer") else [])


def test_prints_of_a_running_target_need_no_reset() -> None:
    session = Session()
    session.feed(data_packet(DEBUG_IO, INITIAL_ID | 1, print_payload(b"1")), 0.0)
    session.feed(data_packet(DEBUG_IO, INITIAL_ID, print_payload(b"2")), 0.0)
    assert {packet.kind for packet in packets(session.take_output())} == {ACKNOWLEDGE}
    assert session.ids == SessionIds(INITIAL_ID | 1, None, session.ids.last)
    assert SessionIds.from_json(session.ids.to_json()) == session.ids


def test_a_fork_answers_at_once_with_the_id_that_it_was_given() -> None:
    session = Session(ids=SessionIds(INITIAL_ID | 1, INITIAL_ID | 1))
    session.feed(data_packet(STATE_CHANGE, INITIAL_ID | 1, load_payload(b"a.sys")), 0.0)
    assert [(packet.kind, packet.id) for packet in packets(session.take_output())] == [
        (ACKNOWLEDGE, INITIAL_ID | 1),
        (STATE_MANIPULATE, INITIAL_ID | 1),
    ]


def test_a_target_that_answers_no_reset_gets_a_guessed_id() -> None:
    session, now = Session(), 0.0
    session.feed(data_packet(FILE_IO, INITIAL_ID, b"\0" * 64), now)
    assert not session.idle
    sent = [packet.kind for packet in packets(session.take_output())]
    while FILE_IO not in sent and now < 60:
        now += RESEND_S
        session.tick(now)
        sent += [packet.kind for packet in packets(session.take_output())]
    assert sent == [ACKNOWLEDGE, *[RESET] * 5, FILE_IO]
    assert kinds(session.take_records()) == {"gap": 1, "note": 2}


@pytest.mark.parametrize("expected_id", BOTH_IDS)
def test_a_held_stop_is_released_whatever_the_ids_were(expected_id: int) -> None:
    target, session = StubbornTarget(INITIAL_ID | 1, expected_id), Session(StopPolicy(breakpoint="hold"))
    with pytest.raises(AssertionError, match="wait for each other"):
        play(target.breakpoint(X86_INT3_PC), target, session)
    assert session.held
    target = StubbornTarget(INITIAL_ID | 1, expected_id)
    session = Session(StopPolicy(breakpoint="hold"))
    run = target.breakpoint(X86_INT3_PC)
    next(run)
    session.feed(bytes(target.output), 0.0)
    target.output.clear()
    session.release(0.0)  # before the target has answered the reset
    target.input += session.take_output()

    def rest() -> Run:
        yield
        yield from run

    records = play(rest(), target, session)
    assert [record.action for record in records if isinstance(record, ExceptionStop)] == ["hold"]
    assert len(target.told_to_step) == 1


def test_a_bugcheck_that_is_repeated_after_a_reset_is_the_same_stop() -> None:
    session = Session(StopPolicy(bugcheck="continue"))
    session.feed(data_packet(DEBUG_IO, 0x80800800, print_payload(BUGCHECK)), 0.0)
    stop = exception_payload(0x80000003, X86_INT3_PC, "x86")
    session.feed(data_packet(STATE_CHANGE, INITIAL_ID | 1, stop), 0.0)
    session.reset(0.0)
    session.take_output()
    session.feed(RESET_PACKET + data_packet(STATE_CHANGE, INITIAL_ID, stop), 0.1)
    assert [packet.kind for packet in packets(session.take_output())] == [ACKNOWLEDGE, STATE_MANIPULATE]
    actions = [record.action for record in session.take_records() if isinstance(record, ExceptionStop)]
    assert actions == ["step"]
    # Nothing left to do: the second one is held.
    session.feed(data_packet(STATE_CHANGE, INITIAL_ID | 1, stop), 0.2)
    assert session.held


def test_a_capture_with_resets_gives_each_packet_once() -> None:
    one, two = print_payload(b"1"), print_payload(b"2")
    decoder = CaptureDecoder()
    records = decoder.feed(
        data_packet(DEBUG_IO, INITIAL_ID | 1, one)
        + RESET_PACKET
        + data_packet(DEBUG_IO, INITIAL_ID, one)
        + data_packet(DEBUG_IO, INITIAL_ID | 1, two)
        + RESET_PACKET * 2
        + data_packet(DEBUG_IO, INITIAL_ID, two)
    )
    assert records + decoder.finish() == [Print(cpu=0, raw=b"1"), Print(cpu=0, raw=b"2")]
    # Two calls with one text are two prints: after a reset the ids begin with the first one.
    decoder = CaptureDecoder()
    data = data_packet(DEBUG_IO, INITIAL_ID, one) + RESET_PACKET + data_packet(DEBUG_IO, INITIAL_ID | 1, one)
    assert kinds(decoder.feed(data) + decoder.finish()) == {"print": 2, "gap": 1}
    assert kinds(decoder.feed(RESET_PACKET) + decoder.finish()) == {"gap": 1}


def test_a_break_in_in_the_port_of_a_booting_target_is_harmless() -> None:
    target, session = StubbornTarget(), Session()
    run = in_turn(partial(boot, target), partial(target.breakpoint, X86_INT3_PC), partial(boot, target))
    records = play(run, target, session, before=BREAK_IN)
    assert kinds(records) == {"print": 12, "load": 12, "exception": 1}
