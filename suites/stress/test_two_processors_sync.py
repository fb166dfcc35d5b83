"""Readers of the sync driver on two processors.

A file of its own, and with one test: such files run last, and this test needs a guest that has the host to itself.
"""

from __future__ import annotations

import pytest

from lab.plugin.reader import DeviceReader
from suites.helpers import EACH_SLOT_ONCE, crowd, delivered

pytestmark = [
    pytest.mark.lab_driver("sync"),
    pytest.mark.lab_needs("concurrent_dispatch"),
    pytest.mark.lab_cpus(2),
]


def test_readers_on_two_processors_get_each_slot_once(reader: DeviceReader) -> None:
    done = reader.run("open h {link}; " + crowd("@", "12345", "read h 20") + "; go", timeout=120)
    assert delivered(done.reads) == EACH_SLOT_ONCE
