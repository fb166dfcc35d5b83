"""The sync driver's device: what opens it, and what it refuses."""

from __future__ import annotations

import pytest

from lab.plugin.reader import DeviceReader
from suites.helpers import NOT_SUPPORTED

pytestmark = pytest.mark.lab_driver("sync", reload=False)


def test_the_device_opens_for_reading_and_closes(reader: DeviceReader) -> None:
    done = reader.run("open h {link} access=r share=r; close h")
    assert done.errors == [0, 0]


def test_the_device_opens_with_every_access(reader: DeviceReader) -> None:
    done = reader.run("open a {link} access=r; open b {link} access=w; open c {link} access=rw; open d {link} access=none")
    assert done.errors == [0, 0, 0, 0]


def test_the_device_is_not_exclusive_two_handles_read_at_once(reader: DeviceReader) -> None:
    done = reader.run("open a {link}; open b {link}; read a 20; read b 20")
    assert done.errors == [0, 0, 0, 0]


def test_a_handle_that_shares_nothing_keeps_nobody_out(reader: DeviceReader) -> None:
    done = reader.run("open a {link} access=rw share=none; open b {link} access=rw share=none; read b 20")
    assert done.errors == [0, 0, 0]


def test_the_device_opens_again_after_it_was_closed(reader: DeviceReader) -> None:
    done = reader.run("open a {link}; close a; open b {link}; read b 20; close b; open c {link}; read c 20")
    assert done.errors == [0] * 7


def test_a_write_is_not_supported(reader: DeviceReader) -> None:
    done = reader.run("open h {link} access=rw; write h 20")
    assert done.errors == [0, NOT_SUPPORTED]


def test_a_device_control_is_not_supported_whatever_its_transfer_method(reader: DeviceReader) -> None:
    codes = [0x222000, 0x222005, 0x222006, 0x222003]  # buffered, in direct, out direct, neither
    done = reader.run("open h {link} access=rw; " + "; ".join(f"ioctl h {code:#x} in=16 out=16" for code in codes))
    assert done.errors == [0] + [NOT_SUPPORTED] * 4


def test_reads_go_on_after_requests_that_are_not_supported(reader: DeviceReader) -> None:
    done = reader.run("open h {link} access=rw; write h 20; ioctl h 0x222000; read h 20")
    assert done.errors == [0, NOT_SUPPORTED, NOT_SUPPORTED, 0]
