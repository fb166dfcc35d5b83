"""Writing that outlasts a full disk: a guest must be answered whatever becomes of the files about it."""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections.abc import Callable
from typing import Final

from lab.errors import HostToolError

#: Seconds between two tries to write to a full disk.
_RETRY_S: Final = 0.5
#: Seconds that a disk which is full when the session ends has to become writable again.
PATIENCE_S: Final = 10.0


class OutputLost(HostToolError):
    """Something could not be written to the end; what is missing is its end, never its middle."""


class PatientWriter:
    """Writes all that it is given, in order, to a descriptor; waits where there is no room.

    Args:
        descriptor: Where to; stays open.
        name: What it is called in messages.
        ended: Whether the session is over: from then on the patience with a full disk is limited.
        complain: Told once when something cannot be written, and once when it can again.
        wait: Sleeps for some seconds.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        descriptor: int,
        name: str,
        *,
        ended: Callable[[], bool],
        complain: Callable[[str], None] = lambda _text: None,
        wait: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._descriptor = descriptor
        self._name = name
        self._ended = ended
        self._complain = complain
        self._wait = wait
        self._clock = clock

    def write(self, data: bytes) -> None:
        """Write ``data``; returns when all of it is written.

        Raises:
            BrokenPipeError: Nobody reads it any more.
            OutputLost: The session is over, and there is still no room.
        """
        rest = memoryview(data)
        trouble: OSError | None = None
        give_up_at: float | None = None
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [], _RETRY_S)
            except BrokenPipeError:
                raise
            except OSError as error:
                if trouble is None:
                    self._complain(f"{self._name} cannot be written: {error.strerror}; trying again and again")
                trouble = error
                if self._ended():
                    give_up_at = self._clock() + PATIENCE_S if give_up_at is None else give_up_at
                    if self._clock() >= give_up_at:
                        raise OutputLost([], None, message=f"{self._name} is incomplete: {error.strerror}") from error
                self._wait(_RETRY_S)
            else:
                if trouble is not None and not rest:
                    self._complain(f"{self._name} is written again")
                    trouble = None


class BackgroundWriter:
    """A :class:`PatientWriter` with a thread of its own, for whom nobody waits."""

    def __init__(self, writer: PatientWriter) -> None:
        self._writer = writer
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._error: OutputLost | None = None
        self._thread = threading.Thread(target=self._run, name="kd raw", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Have ``data`` written; returns at once."""
        self._queue.put(data)

    def close(self) -> None:
        """Wait until everything is written.

        Raises:
            OutputLost: Something could not be.
        """
        self._queue.put(None)
        self._thread.join()
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            while (data := self._queue.get()) is not None:
                self._writer.write(data)
        except OutputLost as error:
            self._error = error
        except BrokenPipeError:  # somebody named a pipe instead of a file
            self._error = OutputLost([], None, message="the raw capture is incomplete: nobody reads it")
