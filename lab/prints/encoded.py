"""Decodes the prints of a test with the encoding of its drivers. Drivers in one guest may have different encodings."""

from __future__ import annotations

from dataclasses import replace

from lab.prints.changed import ChangedPrints
from lab.prints.decode import decode_text
from lab.prints.record import PrintRecord, PrintSource


def in_encoding(source: PrintSource, encoding: str) -> PrintSource:
    """The same source, with its texts decoded again.

    Args:
        source: The guest's print source.
        encoding: Encoding of the test's drivers, by Python's name.
    """

    def decoded(record: PrintRecord) -> PrintRecord:
        return replace(record, text=decode_text(record.raw, encoding))

    return ChangedPrints(source, decoded)
