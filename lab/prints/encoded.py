"""The prints of a test in the encoding of its drivers: one guest has drivers of several, and one source for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lab.prints.decode import decode_text
from lab.prints.record import PrintRecord, PrintSource, Record


class EncodedPrints:
    """A print source whose texts are decoded anew.

    Args:
        source: The guest's.
        encoding: Of the drivers at work, as Python names it.
    """

    def __init__(self, source: PrintSource, encoding: str) -> None:
        self._source = source
        self._encoding = encoding
        #: By sequence number: whoever waits looks at all records of a test once more with each that comes.
        self._known: dict[int, PrintRecord] = {}

    @property
    def name(self) -> str:
        """That of the source."""
        return self._source.name

    def start(self) -> None:
        """Start the source."""
        self._source.start()

    def records_since(self, position: int) -> list[Record]:
        """Those of the source, decoded anew."""
        return [self._decoded(record) for record in self._source.records_since(position)]

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        """Wait for the source; ``until`` is given records that are decoded anew."""

        def decoded_until(records: list[Record]) -> bool:
            return until([self._decoded(record) for record in records])

        return [self._decoded(record) for record in self._source.wait(position, decoded_until, timeout=timeout)]

    def mark(self, token: str, *, timeout: float) -> int:
        """Mark the source."""
        return self._source.mark(token, timeout=timeout)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _decoded(self, record: Record) -> Record:
        if not isinstance(record, PrintRecord):
            return record
        known = self._known.get(record.sequence)
        if known is None:
            known = self._known[record.sequence] = replace(record, text=decode_text(record.raw, self._encoding))
        return known
