"""What one read of the async driver returns, and when."""

from __future__ import annotations

import statistics

import pytest

from lab.plugin.reader import DeviceReader
from lab.suite import timing
from suites.helpers import (
    IO_PENDING,
    NO_USABLE_BUFFER,
    NOT_SUPPORTED,
    SHIELD,
    SURELY_BETWEEN_TICKS_S,
    Ticks,
    gaps,
    shield_held,
)

pytestmark = pytest.mark.lab_driver("async", reload=False)


def test_a_read_is_pended_until_the_next_tick(reader: DeviceReader, ticks: Ticks) -> None:
    done = reader.run("open h {link} overlapped=1; aread h 13 times=3; wait all")
    # The result of a call may arrive late; the clock of the ticks is the guest's own.
    assert IO_PENDING in [op.error for op in done.operations if op.op == "aread"]
    served = ticks(13, 13, 13)
    with timing("each read waits for a tick of its own"):
        assert statistics.mean(gaps(served)) > SURELY_BETWEEN_TICKS_S


def test_a_read_delivers_hello_lyshark_without_a_terminating_zero(reader: DeviceReader) -> None:
    done = reader.run("open h {link} overlapped=1; aread h 13 fill=AA; wait all")
    [read] = done.reads
    assert (read.error, read.data) == (0, b"hello lyshark")


def test_a_shorter_read_returns_its_own_length(reader: DeviceReader) -> None:
    done = reader.run("open h {link} overlapped=1; aread h 1; aread h 12; wait all")
    assert [r.data for r in done.reads] == [b"h", b"hello lyshar"]


def test_a_longer_read_returns_thirteen_bytes_and_leaves_the_rest_alone(reader: DeviceReader) -> None:
    done = reader.run("open h {link} overlapped=1; aread h 14 fill=AA; aread h 4096 fill=AA; wait all")
    assert [(r.error, r.data) for r in done.reads] == [(0, b"hello lyshark")] * 2
    assert all(r.tail_intact for r in done.reads)


def test_a_read_on_a_handle_without_overlapped_waits_for_its_tick(reader: DeviceReader, ticks: Ticks) -> None:
    done = reader.run("open h {link} overlapped=0; read h 13; read h 13")
    assert [r.text for r in done.reads] == ["hello lyshark"] * 2
    served = ticks(13, 13)
    with timing("each read waits for a tick of its own"):
        assert min(gaps(served)) > SURELY_BETWEEN_TICKS_S / 2


def test_a_zero_length_read_fails_with_error_31_and_the_next_one_succeeds(reader: DeviceReader) -> None:
    done = reader.run("open h {link} overlapped=1; aread h 0 tag=empty; aread h 13 tag=full; wait all")
    assert (done.by_tag["empty"].error, done.by_tag["empty"].returned) == (NO_USABLE_BUFFER, 0)
    assert done.by_tag["full"].text == "hello lyshark"


def test_a_zero_length_read_is_pended_and_its_tick_prints(reader: DeviceReader, ticks: Ticks) -> None:
    reader.run("open h {link} overlapped=1; aread h 0; aread h 13; wait all")
    ticks(0, 13)


@pytest.mark.lab_needs("direct_io")
def test_a_shorter_read_leaves_the_rest_of_a_larger_buffer_alone(reader: DeviceReader) -> None:
    done = reader.run("open h {link} overlapped=0; read h 5 buffer=64 fill=AA")
    assert [(r.data, r.tail_intact) for r in done.reads] == [(b"hello", True)]


def test_the_device_opens_with_every_access_and_is_not_exclusive(reader: DeviceReader) -> None:
    done = reader.run(
        "open a {link} access=r overlapped=1; open b {link} access=w overlapped=1; "
        "open c {link} access=rw share=none overlapped=1; open d {link} access=none share=none overlapped=1"
    )
    assert done.errors == [0, 0, 0, 0]


def test_a_write_and_a_device_control_are_not_supported(reader: DeviceReader) -> None:
    done = reader.run("open h {link} access=rw overlapped=0; write h 13; ioctl h 0x222000 in=16 out=16")
    assert done.errors == [0, NOT_SUPPORTED, NOT_SUPPORTED]


def test_requests_that_are_not_supported_do_not_wait_for_a_tick(reader: DeviceReader) -> None:
    # If they waited for a tick, they would wait for those of all the reads before them.
    done = reader.run(
        f"open a {{link}} overlapped=1; open h {{link}} access=rw overlapped=0; aread a 13 times={SHIELD} tag=before; "
        "write h 13; ioctl h 0x222000; cancel a; wait all"
    )
    assert [op.error for op in done.operations if op.op in ("write", "ioctl")] == [NOT_SUPPORTED] * 2
    shield_held(done)
