"""Many readers of the sync driver at once: each slot is delivered exactly once."""

from __future__ import annotations

from collections import Counter

import pytest

from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream
from suites.helpers import EACH_SLOT_ONCE, crowd, delivered, texts

pytestmark = pytest.mark.lab_driver("sync")


def test_five_threads_on_one_handle_get_each_slot_once(reader: DeviceReader) -> None:
    done = reader.run("open h {link}; " + crowd("@", "12345", "read h 20") + "; go")
    assert delivered(done.reads) == EACH_SLOT_ONCE


def test_five_threads_on_handles_of_their_own_get_each_slot_once(reader: DeviceReader, prints: PrintStream) -> None:
    done = reader.run(crowd("@", "12345", "open h{name} {link}; read h{name} 20; close h{name}") + "; go")
    assert delivered(done.reads) == EACH_SLOT_ONCE
    prints.expect(["读字节长度: 20"] * 5)
    prints.expect_none()


def test_five_processes_get_each_slot_once(reader: DeviceReader, prints: PrintStream) -> None:
    done = reader.run(crowd("$", "12345", "open h {link}; read h 20") + "; go")
    assert delivered(done.reads) == EACH_SLOT_ONCE
    prints.expect(["读字节长度: 20"] * 5)


@pytest.mark.lab_driver("sync", reload=False)
def test_every_read_of_a_crowd_succeeds_and_prints_once(reader: DeviceReader, prints: PrintStream) -> None:
    done = reader.run(crowd("@", "12345678", "open h{name} {link}; read h{name} 20 times=10") + "; go", timeout=120)
    assert Counter((r.error, r.returned) for r in done.reads) == {(0, 20): 80}
    assert Counter(texts(prints)) == {"读字节长度: 20": 80}


@pytest.mark.lab_needs("direct_io")
def test_a_crowd_that_reads_on_gets_each_slot_once(reader: DeviceReader) -> None:
    done = reader.run(crowd("@", "12345678", "open h{name} {link}; read h{name} 20 times=10") + "; go", timeout=120)
    assert delivered(done.reads) == EACH_SLOT_ONCE
