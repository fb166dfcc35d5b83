"""Telling the kernel's own prints from those of the drivers.

A debug kernel prints between the drivers (``(/ntoskrnl/io/file.c:170) …``, ``err: …``), over the same port and by the same
calls. What such a kernel prints is known by patterns, which the image's manifest or the lab file names. Those prints stay in
the record in their places; what a test expects is compared with the others alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from lab.prints.record import PrintRecord, PrintSource, Record


def with_kernel_prints(source: PrintSource, patterns: Sequence[str]) -> PrintSource:
    """The same source, whose prints are marked where one of the patterns is found at their beginning.

    Args:
        source: A guest's print source.
        patterns: Regular expressions; with none of them, the source itself is returned.

    Raises:
        re.error: One is none; those of a lab file and of a manifest were checked when it was read.
    """
    return KernelPrints(source, [re.compile(pattern) for pattern in patterns]) if patterns else source


class KernelPrints:
    """A print source that marks the kernel's prints of another one; see :func:`with_kernel_prints`."""

    def __init__(self, source: PrintSource, patterns: Sequence[re.Pattern[str]]) -> None:
        self._source = source
        self._patterns = patterns
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
        """Those of the source, marked."""
        return [self._marked(record) for record in self._source.records_since(position)]

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        """Wait for the source; ``until`` is given marked records."""

        def marked_until(records: list[Record]) -> bool:
            return until([self._marked(record) for record in records])

        return [self._marked(record) for record in self._source.wait(position, marked_until, timeout=timeout)]

    def mark(self, token: str, *, timeout: float) -> int:
        """Mark the source."""
        return self._source.mark(token, timeout=timeout)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _marked(self, record: Record) -> Record:
        if not isinstance(record, PrintRecord):
            return record
        known = self._known.get(record.sequence)
        if known is None:
            own = any(pattern.match(record.text) for pattern in self._patterns)
            known = self._known[record.sequence] = replace(record, by_kernel=True) if own else record
        return known
