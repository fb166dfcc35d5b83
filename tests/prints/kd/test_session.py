"""The host's side against a target made of bytes: acknowledgements, ids, and packets that wait for an answer."""

from __future__ import annotations

import struct

import pytest

from lab.prints.kd.ids import SessionIds
from lab.prints.kd.packet import (
    ACKNOWLEDGE,
    DEBUG_IO,
    FILE_IO,
    INITIAL_ID,
    RESEND,
    RESET,
    STATE_MANIPULATE,
    control_packet,
    data_packet,
)
from lab.prints.kd.record import Gap, Note, Print, Prompt
from lab.prints.kd.sender import RARE_RESEND_S, RESEND_S, RESET_QUIET_S, TRIES
from lab.prints.kd.session import CONSOLE_SIZE, OVERTAKEN_S, STALE_S, Session
from tests.prints.kd.fake_target import Target, command_payload, load_payload
from tests.prints.kd.wire import ACK0, ACK1, Wire


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
    # From then on only now and then: its VM may be paused, and cannot continue without it.
    assert w.pass_time(RESEND_S) == b""
    assert w.pass_time(RARE_RESEND_S) == again


def test_a_print_instead_of_the_acknowledgement_means_that_the_packet_was_read() -> None:
    w = Wire()
    w.sent(w.target.stop(load_payload(b"a.sys")))
    assert w.feed(w.target.print(b"1")) == ACK1
    _, go = w.sent(w.target.stop(load_payload(b"b.sys")))
    assert go.id == INITIAL_ID | 1


def test_text_outside_of_packets_is_reported_after_a_pause_or_a_limit() -> None:
    w = Wire()
    w.feed(b"SeaBIOS\r\n")
    w.pass_time(STALE_S / 2)
    assert w.kinds() == []
    w.pass_time(STALE_S / 2)
    assert w.kinds() == ["console"]
    w.feed(b"x" * CONSOLE_SIZE)
    w.pass_time(0.0)
    assert w.kinds() == ["console", "console"]


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


def test_a_session_continues_from_the_state_of_a_snapshot() -> None:
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


def test_a_session_that_joins_accepts_the_first_packet_with_any_id() -> None:
    w = Wire()
    assert w.feed(data_packet(DEBUG_IO, INITIAL_ID | 1, Target().print(b"1")[16:-1])) == ACK1
    assert w.kinds() == ["gap", "print"]


def test_a_first_packet_that_was_sent_twice_before_the_host_came_is_answered() -> None:
    w = Wire()
    load = w.target.stop(load_payload(b"ntoskrnl.exe"))
    sent = w.sent(load + load)
    assert [packet.kind for packet in sent] == [ACKNOWLEDGE, STATE_MANIPULATE, ACKNOWLEDGE]
    # The answer stays under way until the target has acknowledged it.
    assert w.pass_time(RESEND_S) == data_packet(STATE_MANIPULATE, INITIAL_ID, sent[1].payload)
    assert w.kinds() == ["load"]


def test_the_same_first_packet_after_its_answer_is_a_new_boot() -> None:
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


def test_a_command_string_is_recorded_with_its_text() -> None:
    w = Wire()
    w.feed(w.target.stop(command_payload()))
    [note] = w.records
    assert isinstance(note, Note)
    assert "'command'" in note.text
    assert "'name'" in note.text


def test_a_fork_takes_a_packet_that_is_not_the_one_before_its_snapshot() -> None:
    w = Wire()
    first = w.target.print(b"1")
    w.feed(first)
    ids = SessionIds.from_json(w.session.ids.to_json())
    again = Wire(ids=ids)
    assert again.feed(first) == ACK0
    # Its acknowledgement was lost in the snapshot: no second print, and no silent drop either.
    [note] = again.records
    assert isinstance(note, Note)
    assert "repeats the last packet before the snapshot" in note.text
    again.feed(first)
    assert again.kinds() == ["note"]
    again.feed(w.target.print(b"2"))
    assert again.kinds() == ["note", "print"]
    other = Wire(ids=ids)
    other.feed(Target().print(b"2").replace(b"\x00\x08\x80\x80", b"\x00\x00\x80\x80"))
    gap, print_ = other.records
    assert isinstance(gap, Gap)
    assert gap.reason == "the first packet after the snapshot does not have the next id: a packet before it is missing"
    assert isinstance(print_, Print)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"receive": 1, "send": 2}', '{"receive": null, "send": "x"}'])
def test_invalid_ids_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        SessionIds.from_json(text)


def test_a_session_without_packets_saves_that_any_id_may_come() -> None:
    ids = SessionIds.from_json(Session().ids.to_json())
    w = Wire(ids=ids)
    w.target.print(b"0")
    w.feed(w.target.print(b"1"))
    assert w.kinds() == ["print"]


def test_a_running_target_that_drops_our_reset_may_reset_us_later() -> None:
    w = Wire()
    w.session.reset(w.now)
    w.session.take_output()
    w.feed(w.target.print(b"1"))
    w.now += RESET_QUIET_S
    assert w.feed(control_packet(RESET)) == control_packet(RESET)
    # It may be a late answer to ours, so it does not mean a new boot.
    w.feed(w.target.print(b"2"))
    assert w.session.generation == 0
