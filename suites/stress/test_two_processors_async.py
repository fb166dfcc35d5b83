"""Ticks and cancellation on two processors.

A file of its own, and with one test: such files run last, and this test needs a guest that has the host to itself.
"""

from __future__ import annotations

import pytest

from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream
from suites.helpers import crowd, every_read_ended_once, left_and_taken_back

pytestmark = [pytest.mark.lab_driver("async"), pytest.mark.lab_cpus(2), pytest.mark.lab_needs("cancel_one")]


def test_reads_that_are_left_and_taken_back_on_two_processors_end_exactly_once(
    reader: DeviceReader, prints: PrintStream
) -> None:
    both = crowd("@", "12", "open h{name} {link} overlapped=1; " + left_and_taken_back(40, name="{name}"))
    done = reader.run(f"{both}; go; wait all", timeout=120)
    every_read_ended_once(done, prints, reads=80)
