"""Properties of a session that hold for any stream at all."""

from __future__ import annotations

import itertools
import struct

from hypothesis import given
from hypothesis import strategies as st

from lab.prints.kd import payload as wire
from lab.prints.kd.packet import ACKNOWLEDGE, DEBUG_IO, FILE_IO, INITIAL_ID, STATE_MANIPULATE, Framer, Packet, control_packet
from lab.prints.kd.record import Print
from lab.prints.kd.session import STALE_S
from lab.prints.kd.stop_policy import StopPolicy
from tests.prints.kd.fake_target import X64_INT3_PC, X86_INT3_PC, Target, command_payload, exception_payload, load_payload
from tests.prints.kd.wire import Wire, context, reply

JUNK = st.binary(max_size=30) | st.text(alphabet="0ib\x03\x80\x00\xaa", max_size=30).map(lambda text: text.encode("latin-1"))
#: What a target may send next: a print, a packet that waits for an answer, or the last packet again.
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
    # Two prints, so that no first packet is repeated after its answer, which would be a new boot.
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
