"""A print source whose prints are another one's, each changed in the same way, once."""

from __future__ import annotations

from collections.abc import Callable

from lab.prints.record import PrintRecord, PrintSource, Record


class ChangedPrints:
    """See above; records that are no prints pass as they are.

    Args:
        source: The guest's.
        change: What becomes of a print; its sequence number stays.
    """

    def __init__(self, source: PrintSource, change: Callable[[PrintRecord], PrintRecord]) -> None:
        self._source = source
        self._change = change
        #: By sequence number: whoever waits looks at all records of a test once more with each that comes.
        self._known: dict[int, PrintRecord] = {}

    @property
    def name(self) -> str:
        """That of the source."""
        return self._source.name

    @property
    def resumable(self) -> None:
        """A snapshot is taken with the guest's own source."""

    @property
    def breaker(self) -> None:
        """The debugger is reached by the guest's own source."""

    def start(self) -> None:
        """Start the source."""
        self._source.start()

    def records_since(self, position: int) -> list[Record]:
        """Those of the source, changed."""
        return [self._changed(record) for record in self._source.records_since(position)]

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        """Wait for the source; ``until`` is given changed records."""

        def changed_until(records: list[Record]) -> bool:
            return until([self._changed(record) for record in records])

        return [self._changed(record) for record in self._source.wait(position, changed_until, timeout=timeout)]

    def mark(self, token: str, *, timeout: float) -> int:
        """Mark the source."""
        return self._source.mark(token, timeout=timeout)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _changed(self, record: Record) -> Record:
        if not isinstance(record, PrintRecord):
            return record
        known = self._known.get(record.sequence)
        if known is None:
            known = self._known[record.sequence] = self._change(record)
        return known
