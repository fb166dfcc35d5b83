"""The sync driver's data: five slots, delivered one a read, and what a read returns for every length."""

from __future__ import annotations

import re

import pytest

from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream
from suites.helpers import slots

pytestmark = pytest.mark.lab_driver("sync")
#: For facts that do not depend on how many reads there were since the driver was loaded.
any_state = pytest.mark.lab_driver("sync", reload=False)


def test_the_first_five_reads_deliver_the_five_strings(reader: DeviceReader, prints: PrintStream) -> None:
    reads = reader.read(length=20, times=5)
    assert [r.text for r in reads] == slots("ABCDE")
    assert [r.data for r in reads] == [text.encode() + bytes(7) for text in slots("ABCDE")]  # padded with zeros
    prints.expect(["读字节长度: 20"] * 5)


def test_a_shorter_read_returns_its_own_length_and_takes_a_whole_slot(reader: DeviceReader) -> None:
    done = reader.run("open h {link}; read h 1; read h 13; read h 12; read h 4; read h 19")
    assert [r.data for r in done.reads] == [b"h", b"hi, lyshark B", b"hi, lyshark ", b"hi, ", b"hi, lyshark E" + bytes(6)]


def test_a_read_returns_at_most_twenty_bytes(reader: DeviceReader) -> None:
    done = reader.run("open h {link}; read h 19; read h 20; read h 21; read h 128; read h 4096")
    assert [r.returned for r in done.reads] == [19, 20, 20, 20, 20]
    assert [r.data for r in done.reads] == [
        b"hi, lyshark %c" % c + bytes(n) for c, n in zip(b"ABCDE", [6, 7, 7, 7, 7], strict=True)
    ]


@any_state
def test_the_buffer_behind_the_returned_bytes_is_left_alone(reader: DeviceReader) -> None:
    done = reader.run("open h {link}; read h 21 fill=AA; read h 128 fill=AA; read h 5 buffer=64 fill=AA")
    assert [r.returned for r in done.reads] == [20, 20, 5]
    assert all(r.tail_intact for r in done.reads)


@any_state
def test_the_sixth_and_later_reads_succeed_with_the_capped_length(reader: DeviceReader) -> None:
    done = reader.run("open h {link}; read h 20 times=5; read h 20; read h 7; read h 1; read h 4096")
    assert [r.error for r in done.reads] == [0] * 9
    assert [r.returned for r in done.reads[5:]] == [20, 7, 1, 20]


@any_state
@pytest.mark.lab_needs("direct_io")
def test_the_sixth_and_later_reads_leave_the_buffer_untouched(reader: DeviceReader) -> None:
    done = reader.run("open h {link}; read h 20 times=5; read h 20 fill=AB; read h 7 fill=CD; read h 4096 fill=EF")
    assert [r.data for r in done.reads[5:]] == [b"\xab" * 20, b"\xcd" * 7, b"\xef" * 20]
    assert all(r.tail_intact for r in done.reads[5:])


@any_state
def test_every_read_prints_the_length_asked_for_before_the_cap(reader: DeviceReader, prints: PrintStream) -> None:
    lengths = [1, 19, 20, 21, 128, 4096]  # the sixth prints as the others do
    reader.run("open h {link}; " + "; ".join(f"read h {n}" for n in lengths))
    prints.expect([f"读字节长度: {n}" for n in lengths])
    prints.expect_none()


@any_state
def test_the_print_has_a_blank_before_its_newline(reader: DeviceReader, prints: PrintStream) -> None:
    reader.read(length=20)
    [record] = prints.expect(re.compile("读字节长度: 20"))
    # The free guest adds a newline, too, so only the blank before it shows that the driver printed one.
    assert record.raw.removesuffix(b"\n") == "读字节长度: 20 ".encode()


def test_a_zero_length_read_fails_with_error_31_prints_nothing_and_takes_no_slot(
    reader: DeviceReader, prints: PrintStream
) -> None:
    done = reader.run("open h {link}; read h 0; read h 20")
    assert [(r.error, r.text) for r in done.reads] == [(31, ""), (0, "hi, lyshark A")]
    prints.expect("读字节长度: 20")
    prints.expect_none()


@any_state
@pytest.mark.lab_needs("null_mdl_read")
def test_zero_length_reads_without_an_mdl_never_take_the_machine_down(reader: DeviceReader) -> None:
    done = reader.run("open h {link}; read h 0 times=8; read h 20")
    assert [r.error for r in done.reads] == [31] * 8 + [0]
