"""A driver that prints by itself, in a guest whose time goes on after each answer. Run by tests/e2e/test_virtual_clock.py."""

from __future__ import annotations

import pytest

from lab.suite import DeviceReader, LiveGuest, PrintStream, ctl_code

BEAT = ctl_code("unknown", 0x900)
ONCE = ctl_code("unknown", 0x901)

pytestmark = pytest.mark.lab_driver("metronome")


def start(reader: DeviceReader, code: int, milliseconds: int) -> None:
    assert reader.ioctl(code, milliseconds.to_bytes(4, "little")).error == 0


def test_nothing_is_printed_in_the_first_half_of_a_beat(reader: DeviceReader, prints: PrintStream) -> None:
    start(reader, BEAT, 1000)
    prints.expect("armed")
    for number in range(1, 9):
        prints.expect(f"beat {number}")
        prints.expect_none(wait=0.5)


def test_a_sleep_has_as_many_beats_as_it_has_seconds(guest: LiveGuest, reader: DeviceReader, prints: PrintStream) -> None:
    start(reader, BEAT, 1000)
    prints.expect(["armed", "beat 1"])
    guest.sleep(0.5)  # to the middle of a beat
    for expected in (3, 5, 7):
        guest.sleep(2)
        assert prints.drain()[-1].text.strip() == f"beat {expected}"


def test_what_a_control_has_started_does_not_happen_before_its_time(reader: DeviceReader, prints: PrintStream) -> None:
    for _ in range(8):
        start(reader, ONCE, 1000)
        prints.expect("armed")
        prints.expect_none(wait=0.9)
        prints.expect("late")


def test_what_happens_within_the_time_is_seen(reader: DeviceReader, prints: PrintStream) -> None:
    start(reader, ONCE, 700)
    prints.expect("armed")
    with pytest.raises(AssertionError, match="1 came"):
        prints.expect_none(wait=0.8)
