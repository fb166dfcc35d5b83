"""The host's side against a target that is made of bytes: each trap of the protocol once."""

from __future__ import annotations

import struct

import pytest

from lab.prints.kd import payload as wire
from lab.prints.kd.packet import (
    ACKNOWLEDGE,
    BREAK_IN,
    DEBUG_IO,
    FILE_IO,
    INITIAL_ID,
    RESEND,
    RESET,
    STATE_MANIPULATE,
    Framer,
    Packet,
    control_packet,
    data_packet,
)
from lab.prints.kd.record import AnyRecord, ExceptionStop, Gap, Note, Print, Prompt
from lab.prints.kd.session import GIVES_UP_AFTER, RESEND_S, STALE_S, TRIES, WAKE_S, Session, SessionIds, StopPolicy
from tests.prints.kd.fake_target import (
    X64_INT3_PC,
    X86_INT3_PC,
    Target,
    command_payload,
    exception_payload,
    load_payload,
)

ACK0, ACK1 = control_packet(ACKNOWLEDGE, INITIAL_ID), control_packet(ACKNOWLEDGE, INITIAL_ID | 1)
BUGCHECK = b"\n*** Fatal System Error: 0x000000d1\n (0x00000000,0x00000002,0x00000001,0xF8A01234)\n\n"


class Wire:
    """Feeds a session and looks at what it sends."""

    def __init__(self, policy: StopPolicy | None = None, ids: SessionIds | None = None) -> None:
        self.session = Session(policy, ids)
        self.target = Target()
        self.now = 100.0
        self.records: list[AnyRecord] = []

    def feed(self, data: bytes) -> bytes:
        self.session.feed(data, self.now)
        self.records += self.session.take_records()
        return self.session.take_output()

    def pass_time(self, seconds: float) -> bytes:
        self.now += seconds
        self.session.tick(self.now)
        self.records += self.session.take_records()
        return self.session.take_output()

    def sent(self, data: bytes) -> list[Packet]:
        """The packets among what was sent in answer to ``data``."""
        return [item for item in Framer().feed(self.feed(data)) if isinstance(item, Packet)]

    def kinds(self) -> list[str]:
        return [record.kind for record in self.records]


def context(arch: wire.Arch, pc: int) -> bytes:
    data = bytearray(1232 if arch == "x64" else 716)
    if arch == "x64":
        struct.pack_into("<Q", data, 0xF8, pc)
    else:
        struct.pack_into("<I", data, 0xB8, pc & 0xFFFFFFFF)
    return bytes(data)


def reply(api: int, data: bytes = b"", status: int = 0) -> bytes:
    return struct.pack("<IHHI", api, 0, 0, status).ljust(56, b"\0") + data


def continue_status(packet: Packet) -> int:
    assert packet.kind == STATE_MANIPULATE
    api, status = struct.unpack_from("<I12xI", packet.payload)
    assert api == wire.CONTINUE
    return int(status)


def test_every_packet_is_acknowledged_by_its_id_without_sync() -> None:
    w = Wire()
    assert w.feed(w.target.print(b"1")) == ACK0
    assert w.feed(w.target.print(b"2")) == ACK1
    assert w.feed(w.target.print(b"3")) == ACK0


def test_a_repeated_print_is_acknowledged_again_and_recorded_once() -> None:
    w = Wire()
    packet = w.target.print(b"1")
    assert w.feed(packet + packet) == ACK0 + ACK0
    assert w.kinds() == ["print"]


def test_split_reads_and_text_before_the_leader() -> None:
    w = Wire()
    output = b"".join(w.feed(bytes([byte])) for byte in b"SeaBIOS 0000\n" + w.target.print(b"1"))
    assert output == ACK0
    assert w.kinds() == ["console", "print"]


def test_a_damaged_packet_is_asked_for_again_and_not_acknowledged() -> None:
    w = Wire()
    packet = w.target.print(b"hello")
    assert w.feed(packet[:-1] + b"\x00") == control_packet(RESEND)
    assert w.feed(packet) == ACK0
    assert [record.raw for record in w.records if isinstance(record, Print)] == [b"hello"]


def test_the_rest_of_a_packet_that_never_comes_is_not_waited_for() -> None:
    w = Wire()
    packet = w.target.print(b"x" * 300)
    assert w.feed(packet[:50]) == b""
    assert w.pass_time(STALE_S) == b""
    assert w.feed(packet) == ACK0


@pytest.mark.parametrize("payload", [load_payload(b"a.sys"), load_payload(b"a.sys", unload=True), command_payload()])
def test_loads_unloads_and_commands_are_continued(payload: bytes) -> None:
    w = Wire()
    ack, go = w.sent(w.target.stop(payload))
    assert (ack.kind, go.id) == (ACKNOWLEDGE, INITIAL_ID)
    assert continue_status(go) == wire.DBG_CONTINUE
    # Dr7 of the state change comes back as it was; its place shows the x86 layout.
    assert struct.unpack_from("<I", go.payload, 24)[0] == 0x400


def test_our_packets_toggle_their_id_with_each_acknowledgement() -> None:
    w = Wire()
    ids = []
    for _ in range(3):
        _, go = w.sent(w.target.stop(load_payload(b"a.sys")))
        ids.append(go.id)
        assert w.feed(control_packet(ACKNOWLEDGE, go.id)) == b""
    assert ids == [INITIAL_ID, INITIAL_ID | 1, INITIAL_ID]


def test_a_packet_without_answer_is_sent_again_then_given_up() -> None:
    w = Wire()
    _, go = w.sent(w.target.stop(load_payload(b"a.sys")))
    again = data_packet(go.kind, go.id, go.payload)
    assert w.pass_time(RESEND_S / 2) == b""
    assert w.pass_time(RESEND_S / 2) == again
    assert w.feed(control_packet(RESEND)) == again
    for _ in range(TRIES):
        w.pass_time(RESEND_S)
    assert isinstance(w.records[-1], Note)
    assert w.pass_time(RESEND_S) == b""


def test_a_print_instead_of_the_acknowledgement_means_that_the_packet_was_read() -> None:
    w = Wire()
    w.sent(w.target.stop(load_payload(b"a.sys")))
    assert w.feed(w.target.print(b"1")) == ACK1
    _, go = w.sent(w.target.stop(load_payload(b"b.sys")))
    assert go.id == INITIAL_ID | 1


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
    assert w.kinds() == ["exception"]
    assert isinstance(w.records[0], ExceptionStop)
    assert (w.records[0].action, w.records[0].address) == ("step", pc)


def test_registers_that_are_not_of_this_stop_are_not_changed() -> None:
    w = Wire()
    w.sent(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")))
    sent = w.sent(w.target.packet(STATE_MANIPULATE, reply(wire.GET_CONTEXT, context("x86", 0x1234))))
    assert [packet.kind for packet in sent] == [ACKNOWLEDGE]
    assert w.session.held
    assert w.kinds() == ["exception", "note"] or w.kinds() == ["note", "exception"]


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
    assert w.kinds() == ["print", "bugcheck", "exception"]
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


@pytest.mark.parametrize(("question", "answer"), [(b"*** Assertion failed (boipt)? ", b"i"), (b"Input: ", b"")])
def test_prompts_are_answered(question: bytes, answer: bytes) -> None:
    w = Wire()
    _, said = w.sent(w.target.prompt(question))
    assert said.kind == DEBUG_IO
    api, length = struct.unpack_from("<I8xI", said.payload)
    assert (api, said.payload[16:], length) == (0x3231, answer, len(answer))
    assert w.records == [Prompt(cpu=0, raw=question, answer=answer.decode())]


def test_file_requests_are_refused() -> None:
    w = Wire()
    _, refusal = w.sent(w.target.file())
    assert refusal.kind == FILE_IO
    assert struct.unpack_from("<II", refusal.payload) == (0x3430, 0xC0000001)
    assert len(refusal.payload) == 64


def test_a_reset_in_the_middle_of_sending_drops_what_was_to_be_sent() -> None:
    w = Wire()
    w.sent(w.target.stop(load_payload(b"a.sys")))
    assert w.feed(control_packet(RESET)) == control_packet(RESET)
    assert w.pass_time(RESEND_S) == b""
    w.target.restart()
    _, go = w.sent(w.target.stop(load_payload(b"b.sys")))
    assert go.id == INITIAL_ID
    assert w.kinds() == ["load", "gap", "load"]


def test_the_answer_to_our_own_reset_is_not_answered() -> None:
    w = Wire()
    w.session.reset()
    assert w.session.take_output() == control_packet(RESET)
    assert w.feed(control_packet(RESET)) == b""
    assert w.feed(w.target.print(b"1")) == ACK0
    assert w.kinds() == ["print"]


def test_sync_after_the_first_packet_is_a_gap() -> None:
    w = Wire()
    w.feed(w.target.print(b"1"))
    w.target.restart()
    w.feed(w.target.print(b"2"))
    assert w.kinds() == ["print", "gap", "print"]


def test_the_very_same_first_packet_again_is_no_gap() -> None:
    w = Wire()
    first = w.target.print(b"1")
    assert w.feed(first + first) == ACK0 + ACK0
    assert w.kinds() == ["print"]


def test_a_target_that_gave_up_is_reported_and_woken() -> None:
    w = Wire()
    w.feed(w.target.print(b"0"))
    packet = w.target.print(b"1")
    w.feed(packet * GIVES_UP_AFTER)
    assert [type(record) for record in w.records] == [Print, Print, Gap]
    assert w.pass_time(WAKE_S) == BREAK_IN
    assert w.pass_time(WAKE_S) == b""


def test_a_session_goes_on_where_a_frozen_guest_left_it() -> None:
    w = Wire()
    w.feed(w.target.print(b"1"))
    assert w.session.idle
    forked = Wire(ids=w.session.ids)
    second = w.target.print(b"2")
    assert forked.feed(second) == ACK1
    assert forked.kinds() == ["print"]


def test_a_session_is_not_idle_while_anything_is_under_way() -> None:
    w = Wire()
    w.sent(w.target.stop(load_payload(b"a.sys")))
    assert not w.session.idle
    w.feed(control_packet(ACKNOWLEDGE, INITIAL_ID))
    assert w.session.idle
    w.feed(w.target.print(b"1")[:10])
    assert not w.session.idle


def test_a_session_met_in_mid_stream_takes_the_first_packet_whatever_its_id() -> None:
    w = Wire()
    assert w.feed(data_packet(DEBUG_IO, INITIAL_ID | 1, Target().print(b"1")[16:-1])) == ACK1
    assert w.kinds() == ["print"]
