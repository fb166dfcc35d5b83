"""The driver's encoder against the lab's decoder: same records, wherever the stream is cut and whatever lies between them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lab.prints.relay.decoder import RelayDecoder
from lab.prints.relay.frame import HEADER_SIZE, MAGIC, PRINT, TEXT_MAX, Frame, Framer, Stray, encode
from tests.prints.relay.native import NativeRelay


def numbers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(min_value=0, max_value=(1 << bits) - 1)


#: Any bytes, with what looks like the beginning of a record more often than by chance.
TEXTS = st.lists(st.one_of(st.binary(max_size=40), st.just(MAGIC), st.just(MAGIC[:2]), st.just(b"\n"))).map(b"".join)
FRAMES = st.builds(
    Frame,
    kind=numbers(8),
    flags=numbers(16),
    session=numbers(32),
    sequence=numbers(32),
    time=numbers(64),
    cpu=numbers(16),
    component=numbers(32),
    level=numbers(32),
    text=TEXTS.filter(lambda text: len(text) <= TEXT_MAX),
)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """The pieces between some positions; positions beyond the end count modulo the length."""
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[begin:end] for begin, end in pairwise(places)]


def frames_of(pieces: list[bytes]) -> tuple[list[Frame], bytes]:
    framer = Framer()
    found = [item for piece in pieces for item in framer.feed(piece)] + framer.finish()
    assert framer.pending == 0
    strays = b"".join(item.data for item in found if isinstance(item, Stray))
    return [item for item in found if isinstance(item, Frame)], strays


@given(frame=FRAMES)
def test_the_drivers_encoder_and_the_labs_write_the_same_bytes(native: NativeRelay, frame: Frame) -> None:
    assert native.encode(frame) == encode(frame)


@given(frames=st.lists(FRAMES, max_size=8), at=st.lists(numbers(16), max_size=20))
def test_records_are_found_wherever_the_stream_is_cut(native: NativeRelay, frames: list[Frame], at: list[int]) -> None:
    stream = b"".join(native.encode(frame) for frame in frames)
    assert frames_of(cut(stream, at)) == (frames, b"")


@given(data=st.data(), frames=st.lists(FRAMES, min_size=1, max_size=6), at=st.lists(numbers(16), max_size=20))
def test_no_intact_record_is_lost_among_other_bytes(
    native: NativeRelay, data: st.DataObject, frames: list[Frame], at: list[int]
) -> None:
    def damaged() -> bytes:
        # With a dot at its end, the first bytes of the next record cannot replace what is missing.
        frame = data.draw(FRAMES.filter(lambda frame: len(frame.text) < TEXT_MAX))
        record = native.encode(replace(frame, text=frame.text + b"."))
        kind = data.draw(st.sampled_from(["cut off", "a bit", "a byte less", "other"]))
        place = data.draw(st.integers(0, len(record) - 1))
        if kind == "cut off":
            return record[:place]
        if kind == "a bit":
            return record[:place] + bytes([record[place] ^ 1 << data.draw(st.integers(0, 7))]) + record[place + 1 :]
        if kind == "a byte less":
            return record[:place] + record[place + 1 :]
        return data.draw(TEXTS)

    garbage = [damaged() for _ in range(len(frames) + 1)]
    stream = b"".join(between + native.encode(frame) for between, frame in zip(garbage, frames, strict=False)) + garbage[-1]
    assert frames_of(cut(stream, at)) == (frames, b"".join(garbage))


@given(pieces=st.lists(st.one_of(st.binary(max_size=60), TEXTS, FRAMES.map(encode), FRAMES.map(lambda f: encode(f)[:-1]))))
def test_no_bytes_crash_the_decoder_and_its_records_are_numbered(pieces: list[bytes]) -> None:
    decoder = RelayDecoder("utf-8")
    records = [record for piece in pieces for record in decoder.feed(piece, 1.0)] + decoder.finish(2.0)
    assert [record.sequence for record in records] == list(range(len(records)))
    # The same, byte by byte.
    again = RelayDecoder("utf-8")
    single = [record for byte in b"".join(pieces) for record in again.feed(bytes([byte]), 1.0)] + again.finish(2.0)
    assert single == records


def test_a_header_is_as_long_as_the_driver_says(native: NativeRelay) -> None:
    assert len(native.encode(Frame(kind=PRINT, session=1, sequence=2, text=b""))) == HEADER_SIZE == 44


def test_a_magic_at_the_end_waits_for_its_record() -> None:
    record = encode(Frame(kind=PRINT, session=1, sequence=0, text=b"x" * 100))
    framer = Framer()
    for end in (2, HEADER_SIZE - 1, len(record) - 1):
        assert framer.feed(record[framer.pending : end]) == []
    assert len(framer.feed(record[-1:])) == 1
