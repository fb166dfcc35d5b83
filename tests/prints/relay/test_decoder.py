from __future__ import annotations

import json

import pytest

from lab.prints.record import GapRecord, MarkRecord, NoteRecord, PrintRecord, Record
from lab.prints.relay.decoder import RelayDecoder, RelayPosition
from lab.prints.relay.frame import BYE, HELLO, MARK, PRINT, STRAY_MAX, TRUNCATED, Frame, encode
from lab.prints.relay.text import describe, kind_of, to_json


class Relay:
    """A driver that writes correct records."""

    def __init__(self, session: int = 1) -> None:
        self.session = session
        self.number = 0

    def say(self, text: bytes, kind: int = PRINT, **values: int) -> bytes:
        self.number += 1
        return encode(Frame(kind=kind, session=self.session, sequence=self.number - 1, text=text, **values))

    def hello(self) -> bytes:
        return self.say(b"labrelay 1 x64", HELLO)

    def lose(self, count: int) -> None:
        self.number += count


@pytest.fixture
def relay() -> Relay:
    return Relay()


def decode(*parts: bytes, resume: RelayPosition | None = None) -> list[Record]:
    decoder = RelayDecoder("utf-8", resume)
    return [record for part in parts for record in decoder.feed(part, 5.0)] + decoder.finish(6.0)


def kinds(records: list[Record]) -> list[str]:
    return [kind_of(record) for record in records]


def gaps(records: list[Record]) -> list[tuple[int, str]]:
    return [(record.missing, record.reason) for record in records if isinstance(record, GapRecord)]


def test_a_print_has_all_that_the_relay_writes(relay: Relay) -> None:
    _, record = decode(relay.hello(), relay.say("读\n".encode(), time=15_000_000, cpu=2, component=101, level=3))
    assert record == PrintRecord(
        sequence=1,
        host_time=5.0,
        guest_time=1.5,
        source="relay",
        raw="读\n".encode(),
        text="读\n",
        cpu=2,
        component=101,
        level=3,
    )


def test_marks_and_the_relays_own_messages_are_not_prints(relay: Relay) -> None:
    records = decode(relay.hello(), relay.say(b"t-1", MARK, time=20_000_000), relay.say(b"", BYE), relay.say(b"?", 9))
    assert kinds(records) == ["note", "mark", "note", "note"]
    assert records[1] == MarkRecord(sequence=1, host_time=5.0, guest_time=2.0, token="t-1")
    assert [record.text for record in records if isinstance(record, NoteRecord)] == [
        "the print relay begins: labrelay 1 x64",
        "the print relay is unloaded; later prints are missing",
        "a record of kind 9, which this version of the lab does not know: ?",
    ]


@pytest.mark.parametrize("count", [1, 2, 12345])
def test_missing_numbers_are_counted_to_the_unit(relay: Relay, count: int) -> None:
    begin = relay.hello() + relay.say(b"before")
    relay.lose(count)
    records = decode(begin, relay.say(b"after"))
    assert kinds(records) == ["note", "print", "gap", "print"]
    assert gaps(records) == [(count, f"{count} record(s) before record {count + 2} did not arrive")]


def test_a_damaged_record_is_a_gap_of_one(relay: Relay) -> None:
    hello, damaged, after = relay.hello(), relay.say(b"damaged"), relay.say(b"after")
    records = decode(hello, damaged[:-3] + b"\0\0\0", after)
    [(missing, reason)] = gaps(records)
    assert missing == 1
    assert "51 byte(s) that are not a complete record" in reason
    assert kinds(records) == ["note", "gap", "print"]


def test_a_record_that_lost_bytes_does_not_take_the_next_one_along(relay: Relay) -> None:
    records = decode(relay.hello(), relay.say(b"damaged " * 9)[:-40], relay.say(b"after"), relay.say(b"t", MARK))
    assert kinds(records) == ["note", "gap", "print", "mark"]


def test_foreign_bytes_are_a_note(relay: Relay) -> None:
    records = decode(b"SeaBIOS\n", relay.hello(), b"\xfeTAP is what I say\n", relay.say(b"print"))
    assert kinds(records) == ["note", "note", "note", "print"]
    assert isinstance(records[0], NoteRecord)
    assert records[0].raw == b"SeaBIOS\n"
    assert "no record is missing" in records[0].text


def test_a_text_that_looks_like_a_record_makes_no_difference(relay: Relay) -> None:
    inner = Relay(session=99)
    text = inner.hello() + inner.say(b"a print within a print")
    records = decode(relay.hello(), relay.say(text), relay.say(b"next"))
    assert kinds(records) == ["note", "print", "print"]
    assert isinstance(records[1], PrintRecord)
    assert records[1].raw == text


def test_a_log_that_begins_in_the_middle_is_a_gap(relay: Relay) -> None:
    relay.lose(41)
    assert gaps(decode(relay.say(b"x")))[0][0] == 41


def test_a_fork_continues_at_the_position_of_its_template(relay: Relay) -> None:
    decoder = RelayDecoder()
    decoder.feed(relay.hello() + relay.say(b"before the snapshot"))
    place = decoder.position
    assert place == RelayPosition(1, 2)
    assert gaps(decode(relay.say(b"in the fork"), resume=place)) == []
    relay.lose(3)
    assert gaps(decode(relay.say(b"in another fork"), resume=place))[0][0] == 4


def test_a_guest_that_restarts_is_a_gap(relay: Relay) -> None:
    reborn = Relay(session=2)
    records = decode(
        relay.hello(), relay.say(b"last words"), relay.say(b"cut off in the mid")[:-4], reborn.hello(), reborn.say(b"x")
    )
    assert kinds(records) == ["note", "print", "gap", "note", "print"]
    [(missing, reason)] = gaps(records)
    assert (missing, reason.split(";")[0]) == (0, "the guest started again")
    assert "58 byte(s)" in reason


def test_a_guest_that_starts_again_with_its_first_records_damaged_counts_them(relay: Relay) -> None:
    reborn = Relay(session=2)
    reborn.lose(5)
    assert gaps(decode(relay.hello(), reborn.say(b"x")))[0][0] == 5


def test_a_relay_that_was_unloaded_and_loaded_again_is_a_gap(relay: Relay) -> None:
    reborn = Relay(session=2)
    records = decode(relay.hello(), relay.say(b"", BYE), reborn.hello())
    assert gaps(records) == [(0, "the print relay was loaded again; prints in between are missing")]


def test_a_number_that_comes_back_loses_no_record(relay: Relay) -> None:
    begin = relay.hello() + relay.say(b"one") + relay.say(b"two")
    relay.number = 1
    records = decode(begin, relay.say(b"one more"))
    assert kinds(records) == ["note", "print", "print", "gap", "print"]
    assert gaps(records) == [(0, "record 1 came instead of record 3")]


def test_a_log_that_ends_in_a_record_is_a_gap_of_one(relay: Relay) -> None:
    records = decode(relay.hello(), relay.say(b"this does not all arr")[:-8])
    assert kinds(records) == ["note", "gap"]
    assert gaps(records)[0][0] == 1
    assert gaps(decode(relay.hello(), b"\xfeTA"))[-1][0] == 0


def test_the_relay_of_another_version_is_named(relay: Relay) -> None:
    import struct
    import zlib

    header = bytearray(relay.hello()[:40])
    header[4] = 2
    [(missing, reason)] = gaps(decode(bytes(header) + struct.pack("<I", zlib.crc32(header))))
    assert missing == 0
    assert "from a print relay of version 2; this lab reads version 1" in reason


def test_a_cut_print_says_so(relay: Relay) -> None:
    records = decode(relay.hello(), relay.say(b"x", flags=TRUNCATED))
    assert kinds(records) == ["note", "print", "note"]


def test_a_file_of_something_else_is_one_gap_and_little_memory() -> None:
    decoder = RelayDecoder()
    for _ in range(64):
        assert decoder.feed(b"\xfe" * STRAY_MAX) == []
    [gap] = decoder.finish()
    assert isinstance(gap, GapRecord)
    assert f"{64 * STRAY_MAX} byte(s)" in gap.reason


def test_an_unknown_encoding_is_refused_at_once() -> None:
    with pytest.raises(LookupError):
        RelayDecoder("klingon")


def test_records_as_json_and_for_people(relay: Relay) -> None:
    begin = relay.hello() + relay.say(b"print\n", time=12_345_678, cpu=1, component=77, level=3)
    relay.lose(2)
    records = decode(begin, relay.say(b"t-1", MARK))
    assert [json.loads(to_json(record)) for record in records] == [
        {"kind": "note", "sequence": 0, "text": "the print relay begins: labrelay 1 x64", "raw": b"labrelay 1 x64".hex()},
        {
            "kind": "print",
            "sequence": 1,
            "guest_time": 1.2345678,
            "cpu": 1,
            "component": 77,
            "level": 3,
            "raw": b"print\n".hex(),
            "text": "print\n",
        },
        {"kind": "gap", "sequence": 2, "missing": 2, "reason": "2 record(s) before record 4 did not arrive"},
        {"kind": "mark", "sequence": 3, "guest_time": 0.0, "token": "t-1"},
    ]
    assert [describe(record) for record in records] == [
        "[note] the print relay begins: labrelay 1 x64",
        "    1.234568  cpu 1  print",
        "[gap] 2 record(s) before record 4 did not arrive",
        "[mark] t-1",
    ]
