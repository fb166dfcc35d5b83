from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.prints.kd.packet import (
    ACKNOWLEDGE,
    DEBUG_IO,
    INITIAL_ID,
    MAX_PAYLOAD,
    RESET,
    Framer,
    Packet,
    Skipped,
    control_packet,
    data_packet,
)

# Bytes of which headers and leaders are made, so that random streams come near to real ones.
JUNK = st.binary(max_size=40) | st.text(alphabet="0i\x03\x80\x00\xaa", max_size=40).map(lambda text: text.encode("latin-1"))
PAYLOAD = st.binary(min_size=1, max_size=60)


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


def _packets(found: list[Packet | Skipped]) -> list[bytes]:
    return [item.payload for item in found if isinstance(item, Packet)]


@given(st.binary(max_size=300), st.lists(st.integers(0, 1000), max_size=8))
def test_any_bytes_cut_anywhere_come_out_once_and_in_order(data: bytes, cuts: list[int]) -> None:
    framer = Framer()
    found = [item for part in _cut(data, cuts) for item in framer.feed(part)] + framer.give_up()
    again = b"".join(item.raw if isinstance(item, Skipped) else data_of(item) for item in found)
    assert again == data
    assert framer.pending == 0


def data_of(packet: Packet) -> bytes:
    return control_packet(packet.kind, packet.id) if packet.is_control else data_packet(packet.kind, packet.id, packet.payload)


@given(st.lists(st.tuples(JUNK, PAYLOAD), max_size=6), JUNK, st.lists(st.integers(0, 1000), max_size=8))
def test_a_well_formed_packet_is_found_whatever_stands_around_it(
    parts: list[tuple[bytes, bytes]], end: bytes, cuts: list[int]
) -> None:
    stream = b"".join(junk + data_packet(DEBUG_IO, INITIAL_ID, payload) for junk, payload in parts) + end
    framer = Framer()
    found = [item for part in _cut(stream, cuts) for item in framer.feed(part)] + framer.give_up()
    assert _packets(found) == [payload for _, payload in parts]


@pytest.mark.parametrize(
    "before", [b"0", b"000", b"0000", b"iiii", b"00000", b"0000\x03\x00\x05\x00", b"iii0000", b"boot 0000 iiii\r\n"]
)
def test_false_leaders_before_a_packet_do_not_hide_it(before: bytes) -> None:
    framer = Framer()
    found = framer.feed(before + data_packet(DEBUG_IO, INITIAL_ID, b"hello") + control_packet(RESET)) + framer.give_up()
    assert found == [
        Skipped(before),
        Packet(DEBUG_IO, INITIAL_ID, b"hello", len(before) + 22),
        Packet(RESET, 0, b"", len(before) + 38),
    ]


def test_a_damaged_packet_is_named_as_such_and_the_next_one_is_found() -> None:
    bad = bytearray(data_packet(DEBUG_IO, INITIAL_ID, b"hello"))
    bad[18] ^= 1
    good = data_packet(DEBUG_IO, INITIAL_ID, b"hello")
    assert Framer().feed(bytes(bad) + good) == [Skipped(bytes(bad), damaged=True), Packet(DEBUG_IO, INITIAL_ID, b"hello", 44)]


def test_a_packet_that_was_cut_short_does_not_swallow_the_one_that_follows() -> None:
    framer = Framer()
    cut_short = data_packet(DEBUG_IO, INITIAL_ID, b"x" * 500)[:100]
    assert framer.feed(cut_short + data_packet(DEBUG_IO, INITIAL_ID, b"hello")) == []
    found = framer.give_up()
    assert _packets(found) == [b"hello"]


def test_text_is_not_held_back() -> None:
    framer = Framer()
    assert framer.feed(b"Loading...\r\n") == [Skipped(b"Loading...\r\n")]
    assert framer.pending == 0


def test_a_header_that_is_complete_enough_to_be_refused_is_not_waited_for() -> None:
    assert Framer().feed(b"0000 KB free") == [Skipped(b"0000 KB free")]


def test_payloads_longer_than_the_protocol_allows_are_refused() -> None:
    with pytest.raises(ValueError, match="4000"):
        data_packet(DEBUG_IO, INITIAL_ID, bytes(MAX_PAYLOAD + 1))
    assert _packets(Framer().feed(data_packet(DEBUG_IO, INITIAL_ID, bytes(MAX_PAYLOAD)))) == [bytes(MAX_PAYLOAD)]


def test_an_acknowledgement_keeps_its_id() -> None:
    assert Framer().feed(control_packet(ACKNOWLEDGE, INITIAL_ID | 1)) == [Packet(ACKNOWLEDGE, INITIAL_ID | 1, b"", 16)]
