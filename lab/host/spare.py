"""One process that is started in advance, so that the guest that needs it does not wait for its start."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from lab.host.passed import passed_over

_LOG = logging.getLogger(__name__)


class WaitingProcess(Protocol):
    """A process that waits until a guest needs it. It ends with its owner."""

    @property
    def alive(self) -> bool:
        """It waits."""

    def close(self) -> None:
        """End it, unless it was given to a guest. Idempotent."""


T = TypeVar("T", bound=WaitingProcess)


class Spare(Generic[T]):
    """One waiting process for the next guest. Safe to use from several threads.

    Args:
        start: Starts one; returns None if there is nothing to start.
        what: The process, in the log.
    """

    def __init__(self, start: Callable[[], T | None], what: str) -> None:
        self._start = start
        self._what = what
        self._waiting: T | None = None
        self._closed = False
        self._lock = threading.Lock()

    def take(self) -> T | None:
        """The process, if there is one; the caller owns it from here on."""
        with self._lock:
            taken, self._waiting = self._waiting, None
        if taken is not None and not taken.alive:  # it was killed
            taken.close()
            return None
        return taken

    def refill(self) -> None:
        """Start one, unless one is ready. If that fails, the guest that needs one reports why."""
        with self._lock, passed_over(_LOG, f"no {self._what} is ready", OSError):
            if self._waiting is None and not self._closed:
                self._waiting = self._start()

    def close(self) -> None:
        """End it, and start no more. Idempotent."""
        with self._lock:
            self._closed = True
            if self._waiting is not None:
                self._waiting.close()
                self._waiting = None
