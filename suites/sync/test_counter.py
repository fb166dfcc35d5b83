"""The sync driver's slot counter: one for the whole driver, from load to unload."""

from __future__ import annotations

import pytest

from lab.plugin.drivers import LoadedDriver
from lab.plugin.reader import DeviceReader
from suites.helpers import slots

pytestmark = pytest.mark.lab_driver("sync")


def test_two_handles_share_the_counter(reader: DeviceReader) -> None:
    done = reader.run("open a {link}; open b {link}; read a 20; read b 20; read b 20; read a 20; read b 20")
    assert [r.text for r in done.reads] == slots("ABCDE")


def test_closing_the_handle_does_not_reset_the_counter(reader: DeviceReader) -> None:
    done = reader.run("open a {link}; read a 20; close a; open b {link}; read b 20; close b; open c {link}; read c 20")
    assert [r.text for r in done.reads] == slots("ABC")


def test_two_processes_share_the_counter(reader: DeviceReader) -> None:
    first, second = reader.read(length=20, times=2), reader.read(length=20, times=3)
    assert [r.text for r in (*first, *second)] == slots("ABCDE")


@pytest.mark.lab_driver("sync", reload=False)
def test_a_reload_starts_again_at_slot_a(driver: LoadedDriver, reader: DeviceReader) -> None:
    reader.read(length=20, times=3)
    driver.reload()
    assert [r.text for r in reader.read(length=20, times=5)] == slots("ABCDE")


def test_requests_that_are_not_supported_take_no_slot(reader: DeviceReader) -> None:
    done = reader.run("open h {link} access=rw; write h 20; ioctl h 0x222000; read h 20")
    assert [r.text for r in done.reads] == ["hi, lyshark A"]
