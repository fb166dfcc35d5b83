"""The driver's lock and numbers, on the host: threads play processors, and the port accepts one byte after the other."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lab.prints.record import GapRecord, PrintRecord, Record
from lab.prints.relay.decoder import RelayDecoder, RelayPosition
from lab.prints.relay.frame import BYE, HELLO, MARK, PRINT, TEXT_MAX, TRUNCATED, Frame, Framer
from lab.prints.relay.text import describe
from tests.prints.relay.native import NativeRelay, build_native


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> NativeRelay:
    """A writer that gives up after a hundred tries, not after millions."""
    return NativeRelay(build_native(tmp_path_factory.mktemp("impatient"), tries=100))


def frames(native: NativeRelay) -> list[Frame]:
    found = Framer().feed(native.output)
    assert all(isinstance(item, Frame) for item in found), found
    return [item for item in found if isinstance(item, Frame)]


def records(native: NativeRelay) -> list[Record]:
    decoder = RelayDecoder("ascii")
    return decoder.feed(native.output) + decoder.finish()


def test_what_is_written_is_what_was_printed(native: NativeRelay) -> None:
    native.open(session=0xDEADBEEF)
    assert native.write(HELLO, b"hello")
    assert native.write(PRINT, b"\xfeTAP\n\0", cpu=3, component=77, level=0x80000008)
    assert native.write(MARK, b"t-1")
    assert native.write(BYE)
    common = {"session": 0xDEADBEEF}
    assert frames(native) == [
        Frame(kind=HELLO, sequence=0, time=1, text=b"hello", **common),
        Frame(kind=PRINT, sequence=1, time=2, cpu=3, component=77, level=0x80000008, text=b"\xfeTAP\n\0", **common),
        Frame(kind=MARK, sequence=2, time=3, text=b"t-1", **common),
        Frame(kind=BYE, sequence=3, time=4, text=b"", **common),
    ]
    assert not native.interrupts_are_off


@pytest.mark.parametrize("over", [0, 1, 5000])
def test_a_text_that_is_too_long_is_cut_and_says_so(native: NativeRelay, over: int) -> None:
    native.open()
    native.write(PRINT, b"x" * (TEXT_MAX + over))
    [frame] = frames(native)
    assert (len(frame.text), frame.flags) == (TEXT_MAX, TRUNCATED if over else 0)


def test_processors_never_mix_their_bytes(native: NativeRelay) -> None:
    native.open(tear_every=7)
    native.flood(4, 500)
    found = frames(native)
    assert [frame.sequence for frame in found] == list(range(2000))
    assert [frame.time for frame in found] == list(range(1, 2001))
    for cpu in range(4):
        lines = [frame.text for frame in found if frame.cpu == cpu]
        assert lines == [b"cpu %u line %08u\n" % (cpu, number) for number in range(500)]


def test_an_interrupt_in_the_middle_of_its_own_processors_record_is_counted_as_lost(native: NativeRelay) -> None:
    native.open(interrupt_every=10)
    native.flood(3, 200)
    found = frames(native)
    assert len(found) == 600
    assert native.refused > 0
    missing = sum(later.sequence - earlier.sequence - 1 for earlier, later in pairwise(found))
    # Losses after the last record are counted by the next one.
    assert native.write(MARK, b"end")
    last = frames(native)[-1].sequence - found[-1].sequence - 1
    assert found[0].sequence + missing + last == native.refused
    assert [frame.text for frame in found if frame.text == b"interrupt"] == []


def test_a_port_that_is_never_free_costs_prints_and_not_marks(impatient: NativeRelay) -> None:
    impatient.open()
    impatient.write(HELLO)
    impatient.hold_as(5)
    for _ in range(3):
        assert not impatient.write(PRINT, b"nobody sees this")
    assert not impatient.write(MARK, b"not now")
    assert not impatient.interrupts_are_off
    impatient.hold_as(None)
    assert impatient.write(PRINT, b"again")
    _, gap, again = records(impatient)
    assert isinstance(gap, GapRecord)
    assert gap.missing == 3
    assert isinstance(again, PrintRecord)


def test_numbers_wrap_around_without_a_gap(native: NativeRelay) -> None:
    native.open()
    native.number_is(0xFFFFFFFE)
    for number in range(4):
        native.write(PRINT, b"%d" % number)
    decoder = RelayDecoder(resume=RelayPosition(7, 0xFFFFFFFE))
    assert [describe(record).split()[-1] for record in decoder.feed(native.output)] == ["0", "1", "2", "3"]
    assert decoder.position == RelayPosition(7, 2)
