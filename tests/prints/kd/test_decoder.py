from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lab.prints.kd.decoder import CaptureDecoder
from lab.prints.kd.packet import RESET, Framer, Packet, control_packet
from lab.prints.kd.record import (
    AnyRecord,
    BugcheckText,
    Console,
    ExceptionStop,
    Gap,
    Load,
    Print,
    Prompt,
    Unload,
    from_json,
    to_json,
)
from tests.prints.kd.fake_target import (
    X64_INT3_PC,
    X86_INT3_PC,
    Target,
    exception_payload,
    load_payload,
)


def decode(*parts: bytes) -> list[AnyRecord]:
    decoder = CaptureDecoder()
    return [record for part in parts for record in decoder.feed(part)] + decoder.finish()


def test_prints_keep_their_bytes_and_processor() -> None:
    target = Target()
    assert decode(target.print(b"one\n"), target.print(b"\xff\x00two", cpu=3)) == [
        Print(cpu=0, raw=b"one\n"),
        Print(cpu=3, raw=b"\xff\x00two"),
    ]


def test_a_repeated_packet_is_one_record() -> None:
    target = Target()
    first, second = target.print(b"same\n"), target.print(b"same\n")
    assert decode(first, first, second, second, second) == [Print(cpu=0, raw=b"same\n")] * 2


def test_a_lost_packet_is_a_gap() -> None:
    target = Target()
    first, _lost, third = target.print(b"1\n"), target.print(b"2\n"), target.print(b"3\n")
    kinds = [record.kind for record in decode(first, third)]
    assert kinds == ["print", "gap", "print"]


def test_ids_that_begin_anew_are_a_gap_and_a_generation() -> None:
    target = Target()
    before = target.print(b"before\n")
    target.restart()
    records = decode(before, target.print(b"after\n"))
    assert [record.kind for record in records] == ["print", "gap", "print"]
    assert [record.generation for record in records] == [0, 1, 1]
    assert isinstance(records[1], Gap)


def test_a_reset_of_the_target_is_a_gap_once() -> None:
    target = Target()
    before = target.print(b"before\n")
    target.restart()
    records = decode(before, control_packet(RESET), target.print(b"after\n"))
    assert [record.kind for record in records] == ["print", "gap", "print"]


def test_loads_unloads_and_exceptions_of_both_architectures() -> None:
    target = Target()
    everything = [
        target.stop(load_payload(b"\\Windows\\a.sys")),
        target.stop(load_payload(b"", base=2**64 - 1, size=0, unload=True)),
        target.stop(exception_payload(0x80000003, X86_INT3_PC, "x86")),
        target.stop(exception_payload(0xC0000005, X64_INT3_PC, "x64", first_chance=False)),
    ]
    assert decode(*everything) == [
        Load(path="\\Windows\\a.sys", base=0xFFFFFFFF80400000, size=0x1000),
        Unload(path="", base=2**64 - 1, size=0),
        ExceptionStop(cpu=0, code=0x80000003, address=X86_INT3_PC, first_chance=True, pc=X86_INT3_PC),
        ExceptionStop(cpu=0, code=0xC0000005, address=X64_INT3_PC, first_chance=False, pc=X64_INT3_PC),
    ]


def test_a_bugcheck_follows_the_print_that_completes_its_text() -> None:
    target = Target()
    texts = [
        b"\n*** Fatal System Error: 0x000000d1\n",
        b" (0x00000000,0x00000002,",
        b"0x00000001,0xF8A01234)\n\n",
        b"tail (x)\n",
    ]
    records = decode(*(target.print(text) for text in texts))
    assert [record.kind for record in records] == ["print", "print", "print", "bugcheck", "print"]
    assert records[3] == BugcheckText(code=0xD1, parameters=(0, 2, 1, 0xF8A01234))


def test_a_prompt_and_the_text_around_packets() -> None:
    target = Target()
    records = decode(b"BIOS 0000\r\n", target.prompt(b"Assertion, (boipt)? "), b"iiii bye")
    assert records == [
        Console(raw=b"BIOS 0000\r\n"),
        Prompt(cpu=0, raw=b"Assertion, (boipt)? ", answer="i"),
        Console(raw=b"iiii bye"),
    ]


def test_a_call_that_windows_cut_is_marked() -> None:
    target = Target()
    whole, cut = target.print(b"x" * 510 + b"\n"), target.print(b"x" * 511)
    flags = [record.maybe_truncated for record in decode(whole, cut) if isinstance(record, Print)]
    assert flags == [True, False]


@given(st.lists(st.binary(max_size=60) | st.sampled_from(["packet", "again", "cut"]), max_size=8), st.integers(1, 50))
def test_any_bytes_decode_alike_however_they_are_cut_and_none_is_lost(parts: list[bytes | str], size: int) -> None:
    target, data, last = Target(), b"", b""
    for part in parts:
        if isinstance(part, bytes):
            data += part
            continue
        last = last if part == "again" else target.print(b"%d\n" % len(data))
        data += last[:30] if part == "cut" else last
    whole = decode(data)
    assert decode(*(data[begin : begin + size] for begin in range(0, len(data), size))) == whole
    framer = Framer()
    packets = [item for item in framer.feed(data) + framer.give_up() if isinstance(item, Packet)]
    told = sum(16 + (0 if packet.is_control else len(packet.payload) + 1) for packet in packets)
    assert told + sum(len(record.raw) for record in whole if isinstance(record, Console)) == len(data)


@given(st.binary(min_size=0, max_size=200), st.binary(min_size=192, max_size=400))
def test_any_payload_decodes_to_something(debug_io: bytes, state: bytes) -> None:
    target = Target()
    for kind, payload in ((3, debug_io or b"x"), (7, state), (11, debug_io or b"x"), (2, state)):
        assert decode(target.packet(kind, payload))


@given(st.binary(max_size=60))
def test_json_gives_the_record_back(raw: bytes) -> None:
    records: list[AnyRecord] = [
        Print(cpu=1, raw=raw, time=1.5, generation=2),
        BugcheckText(code=10, parameters=(1, 2, 3, 4)),
        Console(raw=raw),
        Load(path="ü", base=2**64 - 1, size=1),
    ]
    assert [from_json(to_json(record)) for record in records] == records
    assert from_json(to_json(replace(records[0], time=None))).time is None
