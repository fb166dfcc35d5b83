"""Writing that survives a full disk: a guest must be answered even if its files cannot be written."""

from __future__ import annotations

import os
import queue
import select
import stat
import threading
import time
from collections.abc import Callable
from typing import Final

from lab.errors import HostToolError

#: Seconds between two tries to write to a full disk.
_RETRY_S: Final = 0.5
#: Seconds to wait for a full disk after the end of the session.
PATIENCE_S: Final = 10.0


class OutputLost(HostToolError):
    """A file could not be written completely; only its end is missing."""


class PatientWriter:
    """Writes all of its input to a descriptor, in order; waits if there is no room.

    Args:
        descriptor: The descriptor; stays open.
        name: Its name in messages.
        ended: Whether the session is over; from then on, the wait for a full disk is limited.
        complain: Gets one line when writing fails, and one when it works again.
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
        # A blocked write to a pipe cannot be cancelled; one of this size does not block after poll says that there is room.
        self._piece = select.PIPE_BUF if _may_wait(descriptor) else None

    def write(self, data: bytes) -> None:
        """Write ``data``; returns when all of it is written.

        Raises:
            BrokenPipeError: The reader has closed it.
            OutputLost: The session is over, and there is still no room or no reader.
        """
        rest = memoryview(data)
        trouble: OSError | None = None
        give_up_at: float | None = None
        while rest:
            try:
                rest = rest[self._write_some(rest) :]
            except BlockingIOError:
                give_up_at = self._be_patient(give_up_at, "its reader has stopped")
                if not self._piece:
                    self._wait(_RETRY_S)
            except BrokenPipeError:
                raise
            except OSError as error:
                if trouble is None:
                    self._complain(f"{self._name} cannot be written: {error.strerror}; the lab keeps trying")
                trouble = error
                give_up_at = self._be_patient(give_up_at, error.strerror)
                self._wait(_RETRY_S)
            else:
                if trouble is not None and not rest:
                    self._complain(f"{self._name} can be written again")
                    trouble = None

    def _write_some(self, data: memoryview) -> int:
        if self._piece and not self._ready():
            raise BlockingIOError
        return os.write(self._descriptor, data[: self._piece])

    def _be_patient(self, give_up_at: float | None, why: str | None) -> float | None:
        """The time at which a writer gives up after the end of its session; raises :class:`OutputLost` from then on."""
        if not self._ended():
            return None
        now = self._clock()
        if give_up_at is not None and now >= give_up_at:
            raise OutputLost([], None, message=f"{self._name} is incomplete: {why}")
        return now + PATIENCE_S if give_up_at is None else give_up_at

    def _ready(self) -> bool:
        poller = select.poll()
        poller.register(self._descriptor, select.POLLOUT)
        return bool(poller.poll(_RETRY_S * 1000))


def _may_wait(descriptor: int) -> bool:
    """Whether it is not a file on a disk. Also True for a closed descriptor, to which writing fails."""
    try:
        return not stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return True


class BackgroundWriter:
    """A :class:`PatientWriter` with a thread of its own, so that callers do not wait."""

    def __init__(self, writer: PatientWriter) -> None:
        self._writer = writer
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._error: OutputLost | None = None
        self._thread = threading.Thread(target=self._run, name="kd raw", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Write ``data`` in the background; returns at once."""
        self._queue.put(data)

    def close(self) -> None:
        """Wait until everything is written.

        Raises:
            OutputLost: Something could not be written.
        """
        self._queue.put(None)
        self._thread.join()
        if self._error:
            raise self._error.anew()

    def _run(self) -> None:
        try:
            while (data := self._queue.get()) is not None:
                self._writer.write(data)
        except OutputLost as error:
            self._error = error
        except BrokenPipeError:  # the path is a pipe instead of a file
            self._error = OutputLost([], None, message="the raw capture is incomplete: its reader has stopped")
