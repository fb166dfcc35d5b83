"""A print source that changes each print of another source, once."""

from __future__ import annotations

from collections.abc import Callable

from lab.prints.record import PrintRecord, PrintSource, Record
from lab.prints.timer import GuestTimer


class ChangedPrints:
    """Changes each print of a source. Other records pass unchanged.

    Args:
        source: The guest's print source.
        change: Returns the changed print, with the same sequence number.
    """

    def __init__(self, source: PrintSource, change: Callable[[PrintRecord], PrintRecord]) -> None:
        self._source = source
        self._change = change
        #: Sequence number → changed print: a wait looks at all records of a test again each time a record comes.
        self._known: dict[int, PrintRecord] = {}

    @property
    def name(self) -> str:
        """Name of the source."""
        return self._source.name

    @property
    def resumable(self) -> None:
        """None: a snapshot is taken with the guest's own source."""

    @property
    def timer(self) -> GuestTimer | None:
        """That of the source."""
        return self._source.timer

    @property
    def breaker(self) -> None:
        """None: the debugger is reached through the guest's own source."""

    def start(self) -> None:
        """Start the source."""
        self._source.start()

    def records_since(self, position: int) -> list[Record]:
        """The source's records, changed."""
        return [self._changed(record) for record in self._source.records_since(position)]

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        """Wait for the source; ``until`` gets the changed records."""

        def changed_until(records: list[Record]) -> bool:
            return until([self._changed(record) for record in records])

        return [self._changed(record) for record in self._source.wait(position, changed_until, timeout=timeout)]

    def mark(self, token: str, *, timeout: float) -> int:
        """Send a marker through the source."""
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
