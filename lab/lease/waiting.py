"""Reports on the terminal and in the log what a run waits for, if that takes long: a silent run looks stuck."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

_LOG = logging.getLogger(__name__)
#: Slots become free within a second or two; a longer wait is reported.
AFTER_S = 5.0


class Timer(Protocol):
    """A :class:`threading.Timer`."""

    daemon: bool

    def start(self) -> None:
        """Start the timer."""

    def cancel(self) -> None:
        """Cancel the timer; harmless after its end."""


class Patience:
    """Reports long waits without a deadline.

    Args:
        say: Shows a line to people; called from a thread of its own.
        after_s: Seconds until a wait is reported.
        timer: Makes a timer of seconds and what is to be done then.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        say: Callable[[str], None] = lambda _text: None,
        *,
        after_s: float = AFTER_S,
        timer: Callable[[float, Callable[[], None]], Timer] = threading.Timer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._after_s = after_s
        self._timer = timer
        self._clock = clock

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Report what the body waits for if it takes long, and then how long it took.

        Args:
            what: For example ``a slot for its guest: …``.
        """
        begin = self._clock()
        told = threading.Event()

        def tell() -> None:
            told.set()
            _LOG.info("waiting for %s", what)
            self._say(f"waiting for {what}")

        timer = self._timer(self._after_s, tell)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if told.is_set():
                text = f"continued after {self._clock() - begin:.0f} s of waiting for {what.partition(':')[0]}"
                _LOG.info("%s", text)
                self._say(text)
