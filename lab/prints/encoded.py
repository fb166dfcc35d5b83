"""The prints of a test in the encoding of its drivers: one guest has drivers of several, and one source for all of them."""

from __future__ import annotations

from dataclasses import replace

from lab.prints.changed import ChangedPrints
from lab.prints.decode import decode_text
from lab.prints.record import PrintRecord, PrintSource


def in_encoding(source: PrintSource, encoding: str) -> PrintSource:
    """The same source, whose texts are decoded anew.

    Args:
        source: The guest's.
        encoding: Of the drivers at work, as Python names it.
    """

    def decoded(record: PrintRecord) -> PrintRecord:
        return replace(record, text=decode_text(record.raw, encoding))

    return ChangedPrints(source, decoded)
