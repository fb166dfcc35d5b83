"""Every operation of drvprobe against a device that answers it. Run by tests/e2e/test_drvprobe.py, in the free guest."""

from __future__ import annotations

import pytest

from lab.suite import DeviceReader, PrintStream, ProbeResult, Transfer, ctl_code

pytestmark = pytest.mark.lab_driver("parcel")

UPPER = ctl_code("unknown", 0x800)
SUM = ctl_code("unknown", 0x801, "in_direct")
TURN = ctl_code("unknown", 0x802, "out_direct")
MARK = ctl_code("unknown", 0x803, "neither")
WAIT = ctl_code("unknown", 0x804)
NOTIFY = ctl_code("unknown", 0x805, access="write")
HOLD = ctl_code("unknown", 0x806)

MORE_DATA, BUFFER_OVERFLOW = 234, 0x80000005
INVALID_PARAMETER, STATUS_INVALID_PARAMETER = 87, 0xC000000D
INVALID_FUNCTION, INVALID_DEVICE_REQUEST = 1, 0xC0000010
NO_MORE_ITEMS, NO_MORE_ENTRIES = 259, 0x8000001A
OPERATION_ABORTED, CANCELLED = 995, 0xC0000120
PENDING = 0x103


def ended(done: ProbeResult, tag: str) -> tuple[str, int, int | None, int]:
    """Kind, error, status and number of bytes of the last finished operation of a tag."""
    record = done.by_tag[tag]
    return record.kind, record.error, record.status, record.returned


def test_buffered_controls_show_both_buffers(reader: DeviceReader, prints: PrintStream) -> None:
    done = reader.run(
        f"open h {{link}}; ioctl h {UPPER} text=\"two words; 'quoted'\" out=32; ioctl h {UPPER} hex=6100ff out=2; "
        f"ioctl h CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS) in=3 fill=7a out=3 times=2; "
        f"ioctl h {UPPER}; ioctl h CTL_CODE(34, 0x8ff, 0, 0) out=4"
    )
    whole, short, filled, again, empty, unknown = done.transfers
    assert (whole.text, whole.input, whole.returned, whole.asked) == ("TWO WORDS; 'QUOTED'", b"two words; 'quoted'", 19, 32)
    assert (whole.kind, whole.code, whole.status, whole.tail_intact, whole.input_intact) == ("ioctl", UPPER, 0, True, True)
    assert (short.error, short.status, short.data, short.input) == (MORE_DATA, BUFFER_OVERFLOW, b"A\0", b"a\0\xff")
    assert filled.data == again.data == b"ZZZ"
    assert (empty.error, empty.data, empty.input) == (0, b"", b"")
    assert (unknown.error, unknown.status, unknown.tail_intact) == (INVALID_FUNCTION, INVALID_DEVICE_REQUEST, True)
    prints.skip_load()
    prints.expect(f"parcel: control 0x{UPPER:08x}, in 19, out 32")


def test_a_warning_at_once_has_its_bytes_on_every_kind_of_handle(reader: DeviceReader) -> None:
    done = reader.run(
        f"open h {{link}}; open o {{link}} overlapped=1; ioctl h {UPPER} text=abcdef out=3 tag=plain; "
        f"ioctl o {UPPER} text=abcdef out=3 tag=whole; aioctl o {UPPER} text=abcdef out=3 tag=issued; wait all; "
        f"aioctl o {SUM} in=1 out=1 tag=fine; wait fine; aioctl o CTL_CODE(34, 0x8ff, 0, 0) out=4 tag=refused"
    )
    for tag in ("plain", "whole", "issued"):
        [one] = done.tagged(tag)
        assert (one.error, one.status, one.returned, one.data) == (MORE_DATA, BUFFER_OVERFLOW, 3, b"ABC"), tag
        assert (one.input, one.input_intact, one.tail_intact) == (b"abcdef", True, True), tag
    assert ended(done, "fine") == ("ioctl", 0, 0, 0)
    assert ended(done, "refused") == ("ioctl", INVALID_FUNCTION, INVALID_DEVICE_REQUEST, 0)


def test_direct_and_neither_controls(reader: DeviceReader, prints: PrintStream) -> None:
    turned = reader.ioctl(TURN, b"abc", out=5)
    assert (turned.data, turned.error, turned.tail_intact) == (b"cba", 0, True)
    refused = reader.ioctl(TURN, b"abc", out=2)
    assert (refused.error, refused.status) == (122, 0xC0000023)
    marked = reader.ioctl(MARK, b"abc", out=4)
    assert (marked.data, marked.error) == (b"cba", 0)
    assert reader.ioctl(SUM, b"\x01\x02").error == 0
    prints.expect("parcel: sum 3 + 0", skip_others=True)


def test_an_in_direct_control_reads_the_output_buffer(reader: DeviceReader, prints: PrintStream) -> None:
    assert reader.ioctl(SUM, b"\x01\x02", out=b"\x10\x20").error == 0
    prints.expect("parcel: sum 3 + 48", skip_others=True)


@pytest.mark.lab_needs("neither_io")
def test_a_neither_control_has_the_clients_own_buffers(reader: DeviceReader) -> None:
    marked = reader.ioctl(MARK, b"abc", out=3)
    assert (marked.input, marked.input_intact) == (b"Xbc", False)


def test_writes_and_flushes(reader: DeviceReader, prints: PrintStream) -> None:
    written = reader.write("für alle")
    assert (written.kind, written.error, written.status, written.returned) == ("write", 0, 0, 9)
    assert (written.input, written.data) == ("für alle".encode(), b"")
    flushed = reader.flush()
    assert (flushed.kind, flushed.error, flushed.returned) == ("flush", 0, 0)
    [read] = reader.read(length=20)
    assert (read.text, read.status, read.tail_intact) == ("für alle", 0, True)
    too_much = reader.write(65)
    assert (too_much.error, too_much.status, too_much.input) == (INVALID_PARAMETER, STATUS_INVALID_PARAMETER, b"\xcc" * 65)
    prints.skip_load()
    prints.expect(["parcel: 9 bytes written", "parcel: flushed"])
    prints.expect_none()


def test_an_inverted_call(reader: DeviceReader, prints: PrintStream) -> None:
    script = (
        reader.script()
        .open("h", access="rw", overlapped=True)
        .ioctl("h", NOTIFY, b"nobody")
        .aioctl("h", WAIT, out=16, tag="first")
        .aioctl("h", WAIT, out=4, tag="second")
        .ioctl("h", NOTIFY, b"hello")
        .wait("first")
        .ioctl("h", NOTIFY, "more than four")
        .wait("second")
    )
    done = reader.run(script)
    nobody = done.transfers[0]
    assert (nobody.error, nobody.status) == (NO_MORE_ITEMS, NO_MORE_ENTRIES)
    issued = [op for op in done.operations if op.op == "aioctl"]
    assert [(op.error, op.status) for op in issued] == [(997, PENDING)] * 2
    assert not any(isinstance(op, Transfer) for op in issued)
    assert (done.by_tag["first"].data, done.by_tag["second"].data) == (b"hello", b"more")
    assert done.by_tag["first"].code == WAIT
    assert done.by_tag["first"].tail_intact
    prints.skip_load()
    prints.expect(["parcel: a notice of 5 bytes", "parcel: a notice of 14 bytes"])


@pytest.mark.lab_needs("cancel_one")
def test_what_is_held_back_is_completed_or_cancelled(reader: DeviceReader, prints: PrintStream) -> None:
    done = reader.run(
        f"open h {{link}} access=rw overlapped=1; ioctl h {HOLD}; awrite h text=one tag=w; awrite h hex=0102 tag=x; "
        f"wait w timeout=1; cancel x; wait x; ioctl h {NOTIFY}; wait w; aread h 8 tag=r; wait r"
    )
    assert ended(done, "w") == ("write", 0, 0, 3)
    assert ended(done, "x") == ("write", OPERATION_ABORTED, CANCELLED, 0)
    assert done.by_tag["w"].input == b"one"
    assert done.by_tag["r"].data == b"\x01\x02"
    timed_out = next(op for op in done.operations if op.op == "wait")
    assert (timed_out.error, timed_out.status) == (258, None)
    assert timed_out not in done.transfers
    prints.expect("parcel: a request was cancelled", skip_others=True)


@pytest.mark.lab_needs("cancel_one")
def test_more_transfers_than_one_wait_of_windows_takes(reader: DeviceReader) -> None:
    done = reader.run(
        f"open h {{link}} overlapped=1; aioctl h {WAIT} out=1 tag=first times=64; aioctl h {WAIT} out=1 tag=last; "
        "@waiter wait all timeout=5000; @other sleep 500; @other cancel last; go; cancel first; wait first"
    )
    waits = [op for op in done.operations if op.op == "wait" and op.thread == "waiter"]
    assert [op.error for op in waits] == [258] * 64 + [OPERATION_ABORTED]
    # The one after the 64 ended when it was cancelled, and not at the timeout of the others.
    assert waits[-1].end_us < min(op.end_us for op in waits[:-1]) - 1_000_000


@pytest.mark.lab_needs("cancel_one")
def test_a_flush_goes_on_in_a_thread_of_its_own(reader: DeviceReader, prints: PrintStream) -> None:
    done = reader.run(
        f"open h {{link}} access=rw overlapped=1; open i {{link}} access=rw; ioctl h {HOLD}; aflush h tag=f; sleep 200; "
        f"ioctl h {NOTIFY}; wait f; aflush i tag=g; cancel g; wait g; aflush h tag=k; cancel h; wait k"
    )
    assert ended(done, "f") == ("flush", 0, 0, 0)
    assert ended(done, "g") == ("flush", OPERATION_ABORTED, CANCELLED, 0)
    assert ended(done, "k") == ("flush", OPERATION_ABORTED, CANCELLED, 0)


def test_processes_get_quoted_words_and_bytes(reader: DeviceReader) -> None:
    done = reader.run(
        f'$p open "my handle" {{link}}; $p ioctl "my handle" {UPPER} text="a \\" tag="a tag" out=9 # a comment; with more\n'
        f'@t open "h\\" {{link}}; @t ioctl "h\\" {UPPER} text=";#=" out=9 tag=t; go'
    )
    assert (done.by_tag["a tag"].data, done.by_tag["a tag"].thread) == (b"A \\", "p")
    assert done.by_tag["t"].data == b";#="
