"""The decoder is pure: any split of the stream gives the same records, and no bytes make it fail."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.prints.decode import WineDecoder
from lab.prints.frame import MAX_PAYLOAD, Frame, Framer, Stray
from lab.prints.record import FaultRecord, GapRecord, MarkRecord, NoteRecord, PrintRecord, Record

PRINT = b"1422.164:013c:017c:warn:debugstr:vDbgPrintExWithPrefix 00000065:00000008: "
FAULT = b"12.500:0020:0024:err:seh:NtRaiseException Unhandled exception code c0000005 flags 0 addr 0x6fffffa01234"

Framed = Callable[..., bytes]


def decode(data: bytes, encoding: str = "utf-8", cuts: tuple[int, ...] = ()) -> list[Record]:
    decoder = WineDecoder(encoding)
    records: list[Record] = []
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(places):
        records += decoder.feed(data[start:end], 5.0)
    return records + decoder.finish(5.0)


def test_a_line_of_wine_becomes_a_print(framed: Framed) -> None:
    [record] = decode(framed([PRINT + "读字节长度: 20 ".encode()]))
    assert record == PrintRecord(
        sequence=0,
        host_time=5.0,
        guest_time=1422.164,
        source="wine",
        raw="读字节长度: 20 ".encode(),
        text="读字节长度: 20 ",
        thread="013c:017c",
        component=0x65,
        level=8,
    )


@pytest.mark.parametrize("stamp", [b"  7.250", b" 99.163", b"100.000", b"1422.164"])
def test_stamps_of_a_young_guest_are_padded_with_blanks(framed: Framed, stamp: bytes) -> None:
    records = decode(framed([PRINT + b"before", PRINT.replace(b"1422.164", stamp) + b"hi", stamp + FAULT[6:]]))
    assert [type(record) for record in records] == [PrintRecord, PrintRecord, FaultRecord]
    assert [record.guest_time for record in records[1:] if isinstance(record, PrintRecord | FaultRecord)] == [float(stamp)] * 2


def test_the_encoding_of_the_driver_is_a_setting(framed: Framed) -> None:
    data = framed([PRINT + "读字节长度: 20".encode("gbk")])
    [gbk] = decode(data, "gbk")
    [utf] = decode(data)
    assert isinstance(gbk, PrintRecord)
    assert isinstance(utf, PrintRecord)
    assert gbk.text == "读字节长度: 20"
    assert "\\x" in utf.text
    assert gbk.raw == utf.raw


def test_an_unknown_encoding_is_refused_at_once() -> None:
    with pytest.raises(LookupError):
        WineDecoder("klingon")


def test_lines_without_a_header_belong_to_the_print_before(framed: Framed) -> None:
    records = decode(framed([PRINT + b"first", b"second", b"", b"lab:mark:3.5:t-1", b"a line of its own"]))
    assert [type(record) for record in records] == [PrintRecord, MarkRecord, NoteRecord]
    assert isinstance(records[0], PrintRecord)
    assert records[0].raw == b"first\nsecond\n"


def test_an_empty_print_is_a_print(framed: Framed) -> None:
    [record] = decode(framed([PRINT]))
    assert isinstance(record, PrintRecord)
    assert record.text == ""


def test_a_fault_names_code_and_address(framed: Framed) -> None:
    [record] = decode(framed([FAULT]))
    assert isinstance(record, FaultRecord)
    assert (record.code, record.parameters, record.guest_time) == (0xC0000005, (0x6FFFFFA01234,), 12.5)
    assert record.text == "Unhandled exception code c0000005 flags 0 addr 0x6fffffa01234"


def test_marks_and_notes(framed: Framed) -> None:
    other = b"1.000:0020:0024:err:ntoskrnl:ServiceMain driver did something"
    records = decode(framed([b"lab:boot", b"lab:mark:3.250:gw0-1-7", other]))
    assert [type(record) for record in records] == [NoteRecord, MarkRecord, NoteRecord]
    assert isinstance(records[1], MarkRecord)
    assert (records[1].token, records[1].guest_time) == ("gw0-1-7", 3.25)


def test_sequence_numbers_have_no_holes(framed: Framed) -> None:
    records = decode(framed([b"lab:boot", PRINT + b"a", b"lab:mark:1:t", PRINT + b"b", FAULT]))
    assert [record.sequence for record in records] == [0, 1, 2, 3, 4]


def test_a_missing_line_is_a_gap_with_its_size(framed: Framed) -> None:
    records = decode(framed([PRINT + b"a"]) + framed([PRINT + b"b"], first=4))
    assert [type(record) for record in records] == [PrintRecord, GapRecord, PrintRecord]
    assert isinstance(records[1], GapRecord)
    assert records[1].missing == 3


def test_an_agent_that_starts_again_is_a_gap(framed: Framed) -> None:
    records = decode(framed([b"lab:boot", PRINT + b"a"]) + framed([b"lab:boot"]))
    assert [type(record) for record in records] == [NoteRecord, PrintRecord, GapRecord, NoteRecord]


def test_damage_before_the_first_line_is_a_note_and_later_a_gap(framed: Framed) -> None:
    data = b"firmware\r\n" + framed([b"lab:boot"]) + b"zap" + framed([PRINT + b"a"], first=1)
    records = decode(data)
    assert [type(record) for record in records] == [NoteRecord, NoteRecord, GapRecord, PrintRecord]


def test_a_damaged_line_costs_that_line_only(framed: Framed) -> None:
    good = framed([PRINT + b"a", PRINT + b"b", PRINT + b"c"])
    damaged = good.replace(b": b\n", b": \n")
    records = decode(damaged)
    assert [record.text for record in records if isinstance(record, PrintRecord)] == ["a", "c"]
    assert any(isinstance(record, GapRecord) and record.missing == 1 for record in records)


def test_a_line_that_is_cut_off_at_the_end_is_a_gap(framed: Framed) -> None:
    records = decode(framed([PRINT + b"a", PRINT + b"b"])[:-3])
    assert [type(record) for record in records] == [PrintRecord, GapRecord]


def test_a_held_print_is_given_out_by_flush(framed: Framed) -> None:
    decoder = WineDecoder()
    assert decoder.feed(framed([PRINT + b"a"]), 1.0) == []
    assert decoder.waiting
    assert [record.sequence for record in decoder.flush()] == [0]
    assert not decoder.waiting
    assert decoder.flush() == []


def test_a_print_is_not_waiting_while_the_next_line_is_on_its_way(framed: Framed) -> None:
    decoder = WineDecoder()
    decoder.feed(framed([PRINT + b"a"]) + b"\x1e1;4;x", 1.0)
    assert not decoder.waiting


def test_an_absurd_length_is_damage_and_not_a_wait(framed: Framed) -> None:
    data = framed([b"lab:boot"]) + b"\x1e1;%d;x" % (MAX_PAYLOAD + 1) + framed([PRINT + b"a"], first=1)
    assert [type(record) for record in decode(data)] == [NoteRecord, GapRecord, PrintRecord]


_lines = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.builds(lambda text: PRINT + text, st.binary(max_size=40)),
        st.just(FAULT),
        st.sampled_from([b"lab:boot", b"lab:mark:1.5:tok", b""]),
    ),
    max_size=8,
)


@given(lines=_lines, noise=st.binary(max_size=30), place=st.integers(0, 400), cuts=st.lists(st.integers(0, 800), max_size=6))
def test_any_split_gives_the_same_records(lines: list[bytes], noise: bytes, place: int, cuts: list[int]) -> None:
    stream = b"".join(b"\x1e%d;%d;%s\n" % (number, len(line), line) for number, line in enumerate(lines))
    stream = stream[:place] + noise + stream[place:]
    assert decode(stream, cuts=tuple(cuts)) == decode(stream)


@given(lines=_lines)
def test_an_undamaged_stream_loses_nothing(lines: list[bytes]) -> None:
    stream = b"".join(b"\x1e%d;%d;%s\n" % (number, len(line), line) for number, line in enumerate(lines))
    records = decode(stream)
    assert not any(isinstance(record, GapRecord) for record in records)
    assert sum(line.startswith(PRINT) for line in lines) == sum(isinstance(record, PrintRecord) for record in records)
    assert [record.sequence for record in records] == list(range(len(records)))


@given(data=st.binary(max_size=300), encoding=st.sampled_from(["utf-8", "gbk", "cp1252"]))
def test_garbage_never_raises(data: bytes, encoding: str) -> None:
    for record in decode(data, encoding):
        assert record.host_time == 5.0


@given(payloads=st.lists(st.binary(max_size=50), max_size=6), noise=st.binary(max_size=20))
def test_a_framer_keeps_every_byte(payloads: list[bytes], noise: bytes) -> None:
    stream = noise + b"".join(b"\x1e%d;%d;%s\n" % (number, len(line), line) for number, line in enumerate(payloads))
    framer = Framer()
    pieces = framer.feed(stream) + framer.finish()
    back = b"".join(
        b"\x1e%d;%d;%s\n" % (piece.number, len(piece.payload), piece.payload) if isinstance(piece, Frame) else piece.data
        for piece in pieces
    )
    assert len(back) <= len(stream)  # a number may have had leading zeros
    assert sum(isinstance(piece, Stray) for piece in pieces) <= len(pieces)
    if b"\x1e" not in noise:
        assert [piece.payload for piece in pieces if isinstance(piece, Frame)] == payloads
        assert back == stream
