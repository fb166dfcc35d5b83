"""The source of a guest whose prints are not observed."""

from __future__ import annotations

from lab.prints.record import MarkRecord, PrintSource
from lab.prints.unobserved import Unobserved
from lab.prints.window import PrintLedger


def test_a_test_s_window_is_empty_and_complete() -> None:
    source: PrintSource = Unobserved(lambda: 5.0)
    source.start()
    ledger = PrintLedger(source, "g")
    ledger.end_boot()
    ledger.open("test_a")
    window = ledger.close()
    assert (window.prints, window.gaps, window.complete) == ([], [], True)
    assert all(isinstance(record, MarkRecord) and record.host_time == 5.0 for record in source.records_since(0))
    assert source.wait(99, lambda records: not records, timeout=0) == []
    source.close()
