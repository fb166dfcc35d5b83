"""The growing list of a guest's records, shared between the thread that reads a source and the threads that wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from lab.prints.record import Record


class RecordLog:
    """An append-only list of records that threads can wait on.

    Args:
        clock: Monotonic seconds, for deadlines.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: list[Record] = []
        self._changed = threading.Condition()

    def extend(self, records: Sequence[Record]) -> None:
        """Append records and wake all waiting threads."""
        if records:
            with self._changed:
                self._records.extend(records)
                self._changed.notify_all()

    def since(self, position: int) -> list[Record]:
        """Copy of the records from index ``position`` on."""
        with self._changed:
            return self._records[position:]

    def __len__(self) -> int:
        with self._changed:
            return len(self._records)

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        """Wait until ``until(since(position))`` holds, or ``timeout`` seconds are over; returns the records then."""
        deadline = self._clock() + timeout
        with self._changed:
            while True:
                records = self._records[position:]
                left = deadline - self._clock()
                if until(records) or left <= 0:
                    return records
                self._changed.wait(left)
