"""Run by `lab selftest crash`, which checks what is left of the crash: the first test is meant to be a crash."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.lab_driver("selftest")


def test_a_driver_writes_through_a_null_pointer(reader, prints):
    """Meant to be a crash, with all of its evidence."""
    reader.read(length=1)


def test_the_next_guest_is_sound(reader, prints):
    """The run goes on with a fresh guest."""
    [read] = reader.read(length=8)
    assert read.text == "sound"
    prints.expect("selftest: sound")
