"""How far a test has come in the time of a guest with a virtual clock.

Such a guest runs on after each answer, until the host has stopped it: 0.01 to 5 of its seconds were seen, because it jumps over
the time in which it has nothing to do. The test has asked for none of them. So what counts the guest's time "from now" counts
it from the last event that the test has seen.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Moment:
    """When the last event was that a test has seen, in the guest's seconds since its start. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at: float | None = None
        self._under_way = 0

    @property
    def at(self) -> float | None:
        """When it was; None: that is not known, and the guest's present counts."""
        with self._lock:
            return None if self._under_way else self._at

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """The guest's time passes inside of the ``with``, and the test does not know how much: it is unknown afterwards."""
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                self._at = None

    def reached(self, time: float | None) -> None:
        """The test has seen an event of this time; None: its time is not known. The test never goes back."""
        if time is not None:
            with self._lock:
                self._at = time if self._at is None else max(self._at, time)

    def not_after(self, present: float | None) -> None:
        """If it is unknown, take the guest's present, before which it was; None: that is not known either."""
        with self._lock:
            if self._at is None:
                self._at = present
