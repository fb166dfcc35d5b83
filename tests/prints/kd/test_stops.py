"""Stops of a target: breakpoints that are stepped over, exceptions that are passed on, breaks after a bugcheck."""

from __future__ import annotations

import struct

import pytest

from lab.prints.kd import payload as wire
from lab.prints.kd.packet import ACKNOWLEDGE, BREAK_IN, INITIAL_ID, STATE_MANIPULATE, Framer, Packet, control_packet
from lab.prints.kd.record import BugcheckText, ExceptionStop
from lab.prints.kd.stop_policy import StopPolicy
from tests.prints.kd.fake_target import X64_INT3_PC, X86_INT3_PC, command_payload, exception_payload, load_payload
from tests.prints.kd.wire import ACK0, ACK1, BUGCHECK, Wire, context, continue_status, reply


@pytest.mark.parametrize("payload", [load_payload(b"a.sys"), load_payload(b"a.sys", unload=True), command_payload()])
def test_loads_unloads_and_commands_are_continued(payload: bytes) -> None:
    w = Wire()
    ack, go = w.sent(w.target.stop(payload))
    assert (ack.kind, go.id) == (ACKNOWLEDGE, INITIAL_ID)
    assert continue_status(go) == wire.DBG_CONTINUE
    # Dr7 of the state change comes back as it was; its place shows the x86 layout.
    assert struct.unpack_from("<I", go.payload, 24)[0] == 0x400


@pytest.mark.parametrize(("arch", "pc"), [("x86", X86_INT3_PC), ("x64", X64_INT3_PC)])
def test_a_hard_coded_breakpoint_is_stepped_over(arch: wire.Arch, pc: int) -> None:
    w = Wire()
    _, ask = w.sent(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, pc, arch)))
    assert wire.reply_api(ask.payload) == wire.GET_CONTEXT
    w.feed(control_packet(ACKNOWLEDGE, ask.id))
    _, put = w.sent(w.target.packet(STATE_MANIPULATE, reply(wire.GET_CONTEXT, context(arch, pc))))
    assert wire.reply_api(put.payload) == wire.SET_CONTEXT
    assert wire.reply_data(put.payload) == context(arch, pc + 1)
    w.feed(control_packet(ACKNOWLEDGE, put.id))
    _, go = w.sent(w.target.packet(STATE_MANIPULATE, reply(wire.SET_CONTEXT)))
    assert continue_status(go) == wire.DBG_CONTINUE
    assert not w.session.held
    assert w.kinds()[1:] == ["exception"]
    assert isinstance(w.records[1], ExceptionStop)
    assert (w.records[1].action, w.records[1].address) == ("step", pc)


def test_registers_that_are_not_of_this_stop_are_not_changed() -> None:
    w = Wire()
    w.sent(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")))
    sent = w.sent(w.target.packet(STATE_MANIPULATE, reply(wire.GET_CONTEXT, context("x86", 0x1234))))
    assert [packet.kind for packet in sent] == [ACKNOWLEDGE]
    assert w.session.held
    assert w.kinds()[1:] == ["exception", "exception", "note"]
    assert [record.action for record in w.records if isinstance(record, ExceptionStop)] == ["step", "hold"]


def test_a_stop_whose_registers_are_refused_is_reported_as_held() -> None:
    w = Wire()
    w.sent(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")))
    w.sent(w.target.packet(STATE_MANIPULATE, reply(wire.GET_CONTEXT, context("x86", X86_INT3_PC))))
    w.sent(w.target.packet(STATE_MANIPULATE, reply(wire.SET_CONTEXT, status=0xC0000001)))
    w.sent(w.target.packet(STATE_MANIPULATE, reply(wire.SET_CONTEXT_EX, status=0xC0000002)))
    assert w.session.held
    assert [record.action for record in w.records if isinstance(record, ExceptionStop)] == ["step", "hold"]


@pytest.mark.parametrize("size", [1, 8, 55])
def test_an_answer_that_is_too_short_is_noted_and_the_session_goes_on(size: int) -> None:
    w = Wire()
    w.sent(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")))
    assert w.feed(w.target.packet(STATE_MANIPULATE, reply(wire.GET_CONTEXT)[:size])) == ACK1
    assert w.kinds()[1:] == ["exception", "note", "exception", "note"]
    assert w.session.held
    assert w.feed(w.target.print(b"1")) == ACK0


def test_a_bugcheck_text_with_an_invalid_number_is_a_print() -> None:
    for text in (
        b"*** Fatal System Error: 0x" + b"f" * 3700 + b" (0x1,0x2,0x3,0x4)\n",
        b"*** Fatal System Error: 0x1 (0x1,0x2,0x" + b"f" * 3700 + b",0x4)\n",
    ):
        w = Wire()
        w.feed(w.target.print(text))
        assert w.kinds() == ["print"]


@pytest.mark.parametrize(
    ("code", "first", "status"),
    [
        (0xC0000005, False, wire.DBG_EXCEPTION_NOT_HANDLED),
        (0xC0000420, True, wire.DBG_EXCEPTION_NOT_HANDLED),
        (wire.STATUS_SINGLE_STEP, True, wire.DBG_CONTINUE),
    ],
)
def test_other_exceptions_are_passed_on(code: int, first: bool, status: int) -> None:
    w = Wire()
    _, go = w.sent(w.target.stop(exception_payload(code, X86_INT3_PC, "x86", first_chance=first, opcode=0x8B)))
    assert continue_status(go) == status


def test_a_held_breakpoint_waits_until_it_is_released() -> None:
    w = Wire(StopPolicy(breakpoint="hold"))
    assert len(w.sent(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")))) == 1
    assert w.session.held
    w.session.release(w.now)
    (ask,) = (item for item in Framer().feed(w.session.take_output()) if isinstance(item, Packet))
    assert wire.reply_api(ask.payload) == wire.GET_CONTEXT


def test_the_break_after_a_bugcheck_is_held_for_its_dump() -> None:
    w = Wire()
    w.feed(w.target.print(BUGCHECK))
    assert len(w.sent(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")))) == 1
    assert w.kinds() == ["print", "bugcheck", "exception", "note"]
    assert w.session.held


def test_the_second_break_of_a_bugcheck_is_never_continued() -> None:
    w = Wire(StopPolicy(bugcheck="continue"))
    w.feed(w.target.print(BUGCHECK))
    stop = exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")
    assert len(w.sent(w.target.stop(stop))) == 2
    w.feed(w.target.packet(STATE_MANIPULATE, reply(wire.GET_CONTEXT, context("x86", X86_INT3_PC))))
    w.feed(w.target.packet(STATE_MANIPULATE, reply(wire.SET_CONTEXT)))
    assert len(w.sent(w.target.stop(stop))) == 1
    assert w.session.held


def test_a_bugchecked_target_is_restarted_when_asked_for() -> None:
    w = Wire(StopPolicy(bugcheck="reboot"))
    w.feed(w.target.print(BUGCHECK))
    _, reboot = w.sent(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")))
    assert wire.reply_api(reboot.payload) == wire.REBOOT


def test_a_breakpoint_that_comes_back_for_ever_is_held() -> None:
    w = Wire()
    stop = exception_payload(wire.STATUS_SINGLE_STEP, X86_INT3_PC, "x86")
    for _ in range(30):
        w.sent(w.target.stop(stop))
    actions = [record.action for record in w.records if isinstance(record, ExceptionStop)]
    assert actions[:20] == ["continue"] * 20
    assert actions[20:] == ["hold"] * 10


@pytest.mark.parametrize("garbage", [0x10, 0x23, 0x33])
def test_an_x86_stop_is_recognized_whatever_follows_its_shorter_report(garbage: int) -> None:
    w = Wire()
    payload = bytearray(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86"))
    struct.pack_into("<HHHH", payload, 232, garbage, 0x2B, 0x2B, 0x53)
    _, ask = w.sent(w.target.stop(bytes(payload)))
    assert ask.payload == wire.get_context(0, "x86")


def test_an_x64_stop_is_recognized_whatever_its_instructions_are() -> None:
    w = Wire()
    payload = bytearray(exception_payload(wire.STATUS_BREAKPOINT, X64_INT3_PC, "x64"))
    struct.pack_into("<HHHH", payload, 220, 0x08, 0x23, 0x23, 0x30)
    _, ask = w.sent(w.target.stop(bytes(payload)))
    assert ask.payload == wire.get_context(0, "x64")


def test_a_kernel_that_accepts_registers_only_in_parts_is_stepped_too() -> None:
    w = Wire()
    _, ask = w.sent(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, X64_INT3_PC, "x64")))
    w.feed(control_packet(ACKNOWLEDGE, ask.id))
    _, put = w.sent(w.target.packet(STATE_MANIPULATE, reply(wire.GET_CONTEXT, context("x64", X64_INT3_PC))))
    w.feed(control_packet(ACKNOWLEDGE, put.id))
    got, total = b"", 1232
    _, last = w.sent(w.target.packet(STATE_MANIPULATE, reply(wire.SET_CONTEXT, status=0xC0000001)))
    while wire.reply_api(last.payload) == wire.SET_CONTEXT_EX:
        offset, size, whole = struct.unpack_from("<III", last.payload, 16)
        assert (offset, whole) == (len(got), total)
        assert size == len(last.payload) - 56 <= 512
        got += wire.reply_data(last.payload)
        w.feed(control_packet(ACKNOWLEDGE, last.id))
        _, last = w.sent(w.target.packet(STATE_MANIPULATE, reply(wire.SET_CONTEXT_EX)))
    assert got == context("x64", X64_INT3_PC + 1)
    assert continue_status(last) == wire.DBG_CONTINUE
    assert w.kinds()[1:] == ["exception"]


def test_a_stop_with_a_header_that_ends_early_is_answered() -> None:
    w = Wire()
    _, go = w.sent(w.target.stop(load_payload(b"a.sys")[:100]))
    assert continue_status(go) == wire.DBG_CONTINUE


def test_a_break_in_with_hold_holds_once() -> None:
    w = Wire()
    w.session.break_in(hold=True)
    assert w.session.take_output() == BREAK_IN
    stop = exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")
    assert len(w.sent(w.target.stop(stop))) == 1
    assert w.session.held
    assert not w.session.idle
    w.session.break_in(hold=True)
    assert w.session.take_output() == b""
    w.session.release(w.now)
    assert not w.session.held
    w.session.release(w.now)
    (ask,) = (item for item in Framer().feed(w.session.take_output()) if isinstance(item, Packet))
    assert wire.reply_api(ask.payload) == wire.GET_CONTEXT
    w.feed(w.target.packet(STATE_MANIPULATE, reply(wire.GET_CONTEXT, context("x86", X86_INT3_PC))))
    w.feed(w.target.packet(STATE_MANIPULATE, reply(wire.SET_CONTEXT)))
    assert len(w.sent(w.target.stop(stop))) == 2  # a driver's own breakpoint is stepped over as before


def test_another_processor_may_print_in_the_middle_of_a_bugcheck() -> None:
    w = Wire()
    w.feed(w.target.print(BUGCHECK[:40], cpu=1))
    w.feed(w.target.print(b"*** (somebody else)\n", cpu=0))
    w.feed(w.target.print(BUGCHECK[40:], cpu=1))
    assert w.kinds() == ["print", "print", "print", "bugcheck"]
    assert len(w.sent(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")))) == 1


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        (
            b"\n*** Fatal System Error: 0x0000000a\n                       (0x0000001C,0x00000002,0x00000000,0x80412C3B)\n\n",
            (0x1C, 2, 0, 0x80412C3B),
        ),
        (
            b"\n*** Fatal System Error: 0x0000000a\n                       "
            b"(0xFFFFF80311111111,0x0000000000000002,0x0000000000000000,0xFFFFF80322222222)\n\n",
            (0xFFFFF80311111111, 2, 0, 0xFFFFF80322222222),
        ),
    ],
)
def test_bugchecks_of_both_widths_are_recognized_wherever_their_text_is_cut(text: bytes, parameters: tuple[int, ...]) -> None:
    for cut in range(1, len(text)):
        w = Wire()
        w.feed(w.target.print(b"(/ntoskrnl/ke/bug.c:1069) *** about (to) say more\n"))
        w.feed(w.target.print(text[:cut]))
        w.feed(w.target.print(text[cut:]))
        found = [record for record in w.records if isinstance(record, BugcheckText)]
        assert [(record.code, record.parameters) for record in found] == [(0xA, parameters)]
