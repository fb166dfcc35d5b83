"""The host's side against a target that is made of bytes: each trap of the protocol once."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.prints.kd import payload as wire
from lab.prints.kd.ids import SessionIds
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
from lab.prints.kd.record import AnyRecord, BugcheckText, ExceptionStop, Gap, Note, Print, Prompt
from lab.prints.kd.session import (
    CONSOLE_SIZE,
    GIVES_UP_AFTER,
    OVERTAKEN_S,
    RARE_RESEND_S,
    RESEND_S,
    RESET_QUIET_S,
    STALE_S,
    TRIES,
    WAKE_S,
    WAKES,
    Session,
    StopPolicy,
)
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


def test_a_packet_without_answer_is_sent_again_and_never_given_up() -> None:
    w = Wire()
    _, go = w.sent(w.target.stop(load_payload(b"a.sys")))
    again = data_packet(go.kind, go.id, go.payload)
    assert w.pass_time(RESEND_S / 2) == b""
    assert w.pass_time(RESEND_S / 2) == again
    assert w.feed(control_packet(RESEND)) == again
    for _ in range(TRIES):
        w.pass_time(RESEND_S)
    assert isinstance(w.records[-1], Note)
    # From then on only now and then: its machine may be paused, and cannot go on without it.
    assert w.pass_time(RESEND_S) == b""
    assert w.pass_time(RARE_RESEND_S) == again


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
    assert w.kinds() == ["exception", "exception", "note"]
    assert [record.action for record in w.records if isinstance(record, ExceptionStop)] == ["step", "hold"]


def test_registers_that_are_refused_leave_a_stop_that_is_told_as_held() -> None:
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
    assert w.kinds() == ["exception", "note", "exception", "note"]
    assert w.session.held
    assert w.feed(w.target.print(b"1")) == ACK0


def test_text_outside_of_packets_is_told_when_its_sender_pauses_or_when_it_is_much() -> None:
    w = Wire()
    w.feed(b"SeaBIOS\r\n")
    w.pass_time(STALE_S / 2)
    assert w.kinds() == []
    w.pass_time(STALE_S / 2)
    assert w.kinds() == ["console"]
    w.feed(b"x" * CONSOLE_SIZE)
    w.pass_time(0.0)
    assert w.kinds() == ["console", "console"]


def test_words_of_a_bugcheck_with_a_number_that_is_none_are_a_print() -> None:
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
    w.session.reset(w.now)
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


def test_a_first_packet_that_was_sent_twice_before_anybody_listened_is_answered() -> None:
    w = Wire()
    load = w.target.stop(load_payload(b"ntoskrnl.exe"))
    sent = w.sent(load + load)
    assert [packet.kind for packet in sent] == [ACKNOWLEDGE, STATE_MANIPULATE, ACKNOWLEDGE]
    # The answer stays under way until the target has acknowledged it.
    assert w.pass_time(RESEND_S) == data_packet(STATE_MANIPULATE, INITIAL_ID, sent[1].payload)
    assert w.kinds() == ["load"]


def test_the_same_first_packet_behind_its_answer_is_a_new_boot() -> None:
    w = Wire()
    load = w.target.stop(load_payload(b"ntoskrnl.exe"))
    w.sent(load)
    w.feed(ACK0)
    _, go = w.sent(load)
    assert (go.kind, go.id) == (STATE_MANIPULATE, INITIAL_ID)
    assert w.kinds() == ["load", "gap", "load"]


def test_a_packet_that_was_cut_short_by_a_reset_does_not_keep_the_next_ones_waiting() -> None:
    w = Wire()
    # 3900 bytes would not be full before a target has tried its next print twenty times.
    assert w.feed(w.target.print(b"x" * 3900)[:40]) == b""
    w.target.restart()
    print_ = w.target.print(b"1")
    assert w.feed(print_) == b""
    assert w.pass_time(2 * OVERTAKEN_S) == ACK0
    assert w.kinds() == ["console", "print"]


def test_a_packet_that_comes_again_and_again_inside_of_one_that_was_cut_short_is_answered_at_once() -> None:
    w = Wire()
    w.feed(w.target.print(b"x" * 3900)[:40])
    w.target.restart()
    print_ = w.target.print(b"1")
    assert w.feed(print_) == b""
    assert w.pass_time(OVERTAKEN_S / 2) == b""
    assert w.feed(print_) == b""
    assert w.pass_time(OVERTAKEN_S / 2) == ACK0 + ACK0
    assert [record.raw for record in w.records if isinstance(record, Print)] == [b"1"]


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


@pytest.mark.parametrize("garbage", [0x10, 0x23, 0x33])
def test_an_x86_stop_is_one_whatever_lies_behind_its_shorter_report(garbage: int) -> None:
    w = Wire()
    payload = bytearray(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86"))
    struct.pack_into("<HHHH", payload, 232, garbage, 0x2B, 0x2B, 0x53)
    _, ask = w.sent(w.target.stop(bytes(payload)))
    assert ask.payload == wire.get_context(0, "x86")


def test_an_x64_stop_is_one_whatever_its_instructions_look_like() -> None:
    w = Wire()
    payload = bytearray(exception_payload(wire.STATUS_BREAKPOINT, X64_INT3_PC, "x64"))
    struct.pack_into("<HHHH", payload, 220, 0x08, 0x23, 0x23, 0x30)
    _, ask = w.sent(w.target.stop(bytes(payload)))
    assert ask.payload == wire.get_context(0, "x64")


def test_a_kernel_that_takes_registers_only_in_pieces_is_stepped_too() -> None:
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
    assert w.kinds() == ["exception"]


def test_a_stop_with_a_header_that_ends_early_is_answered() -> None:
    w = Wire()
    _, go = w.sent(w.target.stop(load_payload(b"a.sys")[:100]))
    assert continue_status(go) == wire.DBG_CONTINUE


def test_a_command_string_is_told_by_its_words() -> None:
    w = Wire()
    w.feed(w.target.stop(command_payload()))
    [note] = w.records
    assert isinstance(note, Note)
    assert "'command'" in note.text
    assert "'name'" in note.text


def test_a_fork_takes_a_packet_that_is_not_the_one_before_its_freeze() -> None:
    w = Wire()
    first = w.target.print(b"1")
    w.feed(first)
    ids = SessionIds.from_json(w.session.ids.to_json())
    again = Wire(ids=ids)
    assert again.feed(first) == ACK0
    assert again.kinds() == []  # its acknowledgement was lost in the freeze
    other = Wire(ids=ids)
    other.feed(Target().print(b"2").replace(b"\x00\x08\x80\x80", b"\x00\x00\x80\x80"))
    assert other.kinds() == ["gap", "print"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"receive": 1, "send": 2}', '{"receive": null, "send": "x"}'])
def test_ids_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        SessionIds.from_json(text)


def test_a_session_that_heard_nothing_hands_on_that_anything_may_come() -> None:
    ids = SessionIds.from_json(Session().ids.to_json())
    w = Wire(ids=ids)
    w.target.print(b"0")
    w.feed(w.target.print(b"1"))
    assert w.kinds() == ["print"]


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


def test_a_running_target_that_drops_our_reset_may_reset_us_later() -> None:
    w = Wire()
    w.session.reset(w.now)
    w.session.take_output()
    w.feed(w.target.print(b"1"))
    w.now += RESET_QUIET_S
    assert w.feed(control_packet(RESET)) == control_packet(RESET)
    # It may have been the answer to ours, late: no new boot by itself.
    w.feed(w.target.print(b"2"))
    assert w.session.generation == 0


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
def test_bugchecks_of_both_widths_are_known_wherever_their_text_is_cut(text: bytes, parameters: tuple[int, ...]) -> None:
    for cut in range(1, len(text)):
        w = Wire()
        w.feed(w.target.print(b"(/ntoskrnl/ke/bug.c:1069) *** about (to) say more\n"))
        w.feed(w.target.print(text[:cut]))
        w.feed(w.target.print(text[cut:]))
        found = [record for record in w.records if isinstance(record, BugcheckText)]
        assert [(record.code, record.parameters) for record in found] == [(0xA, parameters)]


# --- any stream at all ------------------------------------------------------------------------------------------------

JUNK = st.binary(max_size=30) | st.text(alphabet="0ib\x03\x80\x00\xaa", max_size=30).map(lambda text: text.encode("latin-1"))
#: What a target may say next: a print, something that waits for an answer, or the last packet once more.
SAID = st.sampled_from(["print", "load", "int3", "fault", "prompt", "file", "command", "again", "control", "reply"])


def _say(target: Target, what: str, number: int) -> bytes:
    match what:
        case "print":
            return target.print(b"%d\n" % number)
        case "load":
            return target.stop(load_payload(b"%d.sys" % number))
        case "int3":
            return target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC + number, "x86"))
        case "fault":
            return target.stop(exception_payload(0xC0000005, X64_INT3_PC + number, "x64"))
        case "prompt":
            return target.prompt(b"%d (boipt)? " % number)
        case "file":
            return target.file()
        case "command":
            return target.stop(command_payload())
        case "reply":
            return target.packet(STATE_MANIPULATE, reply(wire.GET_CONTEXT, context("x86", X86_INT3_PC + number)))
        case _:
            return control_packet(ACKNOWLEDGE, INITIAL_ID | (number & 1))


@given(st.lists(st.tuples(JUNK, SAID), max_size=14), st.lists(st.integers(0, 5000), max_size=10), st.data())
def test_no_packet_of_a_target_is_lost_wherever_its_stream_is_cut_and_whatever_lies_between(
    said: list[tuple[bytes, str]], cuts: list[int], data: st.DataObject
) -> None:
    target = Target()
    # Two prints, so that no first packet is said again behind its answer, which would be a new boot.
    stream, last = target.print(b"a"), target.print(b"b")
    stream += last
    expected, acknowledged = [b"a", b"b"], 2
    for number, (junk, what) in enumerate(said):
        if what == "again":
            stream += junk + last
            acknowledged += 1
            continue
        packet = _say(target, what, number)
        stream += junk + packet
        if what != "control":
            last = packet
            acknowledged += 1
        if what == "print":
            expected.append(b"%d\n" % number)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    w = Wire(StopPolicy(breakpoint=data.draw(st.sampled_from(["skip", "hold"]))))
    sent = b""
    for begin, end in itertools.pairwise(edges):
        sent += w.feed(stream[begin:end])
    sent += w.pass_time(STALE_S)
    w.session.finish()
    w.records += w.session.take_records()
    sent += w.session.take_output()
    assert [record.raw for record in w.records if isinstance(record, Print)] == expected
    assert "gap" not in w.kinds()
    control = [item for item in Framer().feed(sent) if isinstance(item, Packet) and item.kind == ACKNOWLEDGE]
    assert len(control) == acknowledged


@given(st.lists(st.binary(max_size=80), max_size=12))
def test_any_bytes_at_all_leave_a_session_that_still_takes_the_next_packet(parts: list[bytes]) -> None:
    w = Wire()
    for part in parts:
        w.feed(part)
        w.pass_time(0.3)
    w.pass_time(STALE_S)
    before = len(w.records)
    w.feed(w.target.print(b"still here"))
    assert [record.raw for record in w.records[before:] if isinstance(record, Print)] == [b"still here"]


@given(st.integers(1, 11), st.binary(min_size=1, max_size=300), st.integers(0, 3))
def test_any_payload_at_all_is_acknowledged_and_survived(kind: int, payload: bytes, state: int) -> None:
    if kind in (4, 5, 6, 8):
        return
    w = Wire()
    for data in (payload, struct.pack("<I", 0x3030 + state) + payload, struct.pack("<I", 0x3230 + state) + payload):
        assert any(packet.kind == ACKNOWLEDGE for packet in w.sent(w.target.packet(kind, data)))


@given(
    st.lists(st.tuples(st.sampled_from([STATE_MANIPULATE, DEBUG_IO, FILE_IO]), st.binary(min_size=1, max_size=80)), max_size=6)
)
def test_anything_at_all_during_a_stop_is_acknowledged_and_survived(said: list[tuple[int, bytes]]) -> None:
    w = Wire()
    w.sent(w.target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")))
    for kind, data in said:
        assert any(packet.kind == ACKNOWLEDGE for packet in w.sent(w.target.packet(kind, data)))
