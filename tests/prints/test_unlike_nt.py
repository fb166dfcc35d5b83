"""Prints whose text would differ on NT: marked by the guest's compatibility driver, shown as such, and counted as usual."""

from __future__ import annotations

from lab.prints.decode import WineDecoder
from lab.prints.record import PrintRecord
from lab.prints.stream import render
from lab.report.entries import print_entry


def decode(component: str, text: str) -> PrintRecord:
    line = f"150.727:0068:0074:warn:debugstr:vDbgPrintExWithPrefix {component}:00000003: {text}".encode()
    decoder = WineDecoder()
    [record] = decoder.feed(b"\x1e0;%d;%s\n" % (len(line), line), 1.0) + decoder.flush()
    assert isinstance(record, PrintRecord)
    return record


def test_a_marked_print_has_its_own_component_and_says_that_nt_differs() -> None:
    record = decode("4000004d", "half: f")
    assert (record.component, record.level, record.unlike_nt, record.text) == (77, 3, True, "half: f")
    assert render([record]).endswith("[unlike NT] half: f")
    assert print_entry(record).unlike_nt


def test_other_prints_are_not_marked() -> None:
    for component in ("00000000", "0000004d", "ffffffff"):
        record = decode(component, "as NT says it")
        assert (record.component, record.unlike_nt) == (int(component, 16), False)
        assert "unlike" not in render([record])
