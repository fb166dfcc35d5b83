"""The sync driver's slot counter: one for the whole driver, from load to unload."""

from __future__ import annotations

import pytest

from lab.guest.probe import Reader
from lab.plugin.drivers import LoadedDriver
from suites.helpers import Probe

pytestmark = pytest.mark.lab_driver("sync")


def test_two_handles_share_the_counter(probe: Probe) -> None:
    done = probe("open a {link}; open b {link}; read a 20; read b 20; read b 20; read a 20; read b 20")
    assert [r.text[-1] for r in done.reads] == list("ABCDE")


def test_closing_the_handle_does_not_reset_the_counter(probe: Probe) -> None:
    done = probe("open a {link}; read a 20; close a; open b {link}; read b 20; close b; open c {link}; read c 20")
    assert [r.text[-1] for r in done.reads] == list("ABC")


def test_two_processes_share_the_counter(reader: Reader) -> None:
    first, second = reader.read(length=20, times=2), reader.read(length=20, times=3)
    assert [r.text[-1] for r in (*first, *second)] == list("ABCDE")


def test_a_reload_starts_again_at_slot_a(driver: LoadedDriver, reader: Reader) -> None:
    before = reader.read(length=20, times=3)
    driver.reload()
    after = reader.read(length=20, times=5)
    assert [r.text[-1] for r in (*before, *after)] == list("ABC" + "ABCDE")


def test_requests_that_are_not_supported_take_no_slot(probe: Probe) -> None:
    done = probe("open h {link} access=rw; write h 20; ioctl h 0x222000; read h 20")
    assert [r.text for r in done.reads] == ["hi, lyshark A"]
