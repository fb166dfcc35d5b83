"""The prints of a running guest, from now on."""

from __future__ import annotations

from collections.abc import Callable

from lab.prints.record import PrintSource, Record
from lab.prints.timer import GuestTimer

_MARK_S = 60.0


class FromNow:
    """A print source that begins with a marker; positions count from there.

    Args:
        source: The guest's print source, not started yet.
        token: Token of the marker.
    """

    def __init__(self, source: PrintSource, token: str) -> None:
        self._source = source
        self._token = token
        self._begin = 0

    @property
    def name(self) -> str:
        """Name of the source."""
        return self._source.name

    @property
    def resumable(self) -> None:
        """None: no snapshot is taken of a guest that was not booted for one."""

    @property
    def timer(self) -> GuestTimer | None:
        """That of the source: a guest that has run for a while may have a virtual clock, too."""
        return self._source.timer

    @property
    def breaker(self) -> None:
        """None: the debugger belongs to the process that booted the guest."""

    def start(self) -> None:
        """Start the source, and wait for the marker.

        Raises:
            EvidenceLost: The marker did not arrive.
        """
        self._source.start()
        self._begin = self._source.mark(self._token, timeout=_MARK_S)

    def records_since(self, position: int) -> list[Record]:
        """The records after the marker."""
        return self._source.records_since(self._begin + position)

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        """Wait for the source."""
        return self._source.wait(self._begin + position, until, timeout=timeout)

    def mark(self, token: str, *, timeout: float) -> int:
        """Send a marker through the source."""
        return self._source.mark(token, timeout=timeout) - self._begin

    def close(self) -> None:
        """Close the source."""
        self._source.close()
