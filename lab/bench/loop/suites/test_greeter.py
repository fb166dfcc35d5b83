"""What a user would check of such a driver."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.lab_driver("greeter")

GREETING = "good day 0"


def test_a_read_delivers_the_greeting(reader: Any, prints: Any) -> None:
    """The text of this very build."""
    assert [read.text for read in reader.read(length=64, times=1)] == [GREETING]
    prints.expect([f"greeter: {GREETING}"])


def test_a_short_read_delivers_its_beginning(reader: Any) -> None:
    """No more than was asked for."""
    assert [read.text for read in reader.read(length=4, times=1)] == [GREETING[:4]]


def test_each_read_is_answered(reader: Any) -> None:
    """As often as it is asked for."""
    assert len(reader.read(length=64, times=3)) == 3
