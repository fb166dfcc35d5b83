"""The prints of a guest with a virtual clock: the guest runs during a wait for a print or a marker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from lab.crash.hang import Breaker
from lab.prints.record import PrintSource, Record
from lab.prints.resume import ResumableSource
from lab.prints.timer import GuestTimer


class ClockedPrints:
    """A :class:`lab.prints.record.PrintSource` that wraps another one.

    ``records_since`` does not let the guest run: all prints of a stopped guest have arrived.

    Args:
        inner: The source.
        running: Lets the guest run inside of the ``with``.
    """

    def __init__(self, inner: PrintSource, running: Callable[[], AbstractContextManager[None]]) -> None:
        self._inner = inner
        self._running = running

    @property
    def name(self) -> str:
        """That of the wrapped source."""
        return self._inner.name

    @property
    def resumable(self) -> ResumableSource | None:
        """That of the wrapped source, whose callers let the guest run themselves."""
        return self._inner.resumable

    @property
    def breaker(self) -> Breaker | None:
        """That of the wrapped source."""
        return self._inner.breaker

    @property
    def timer(self) -> GuestTimer | None:
        """That of the wrapped source."""
        return self._inner.timer

    def start(self) -> None:
        """See :class:`lab.prints.record.PrintSource`."""
        self._inner.start()

    def records_since(self, position: int) -> list[Record]:
        """See :class:`lab.prints.record.PrintSource`."""
        return self._inner.records_since(position)

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        """See :class:`lab.prints.record.PrintSource`; ``timeout`` are seconds of the host."""
        records = self._inner.records_since(position)
        if until(records):
            return records
        with self._running():
            return self._inner.wait(position, until, timeout=timeout)

    def mark(self, token: str, *, timeout: float) -> int:
        """See :class:`lab.prints.record.PrintSource`."""
        with self._running():
            return self._inner.mark(token, timeout=timeout)

    def close(self) -> None:
        """See :class:`lab.prints.record.PrintSource`."""
        self._inner.close()
