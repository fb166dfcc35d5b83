"""A command's standard input."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from typing import Final

from labwinrm.faults import INPUT_CLOSED, TIMED_OUT, WsmanFault

#: Bytes that wait for a command which does not read; a Send beyond them waits for room.
INPUT_WAITING: Final = 1 << 20


class Input:
    """A bounded queue, and a thread that exists only once there is something to write.

    Args:
        descriptor: The pipe to the command; closed at the end of input.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._changed = threading.Condition()
        self._queue: deque[memoryview] = deque()
        self._waiting = 0
        self._ending = False
        self._finished = False
        self._thread: threading.Thread | None = None

    def put(self, data: bytes, *, end: bool, timeout_s: float) -> None:
        """Queue input.

        Raises:
            WsmanFault: The input has been closed, or there is no room for it in time; then none of it is taken.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._finished and not self._ending and self._waiting and self._waiting + len(data) > INPUT_WAITING:
                if not self._changed.wait(deadline - time.monotonic()):
                    raise WsmanFault(TIMED_OUT)
            if self._finished or self._ending:
                raise WsmanFault(INPUT_CLOSED)
            if data and not self._queue and not end:
                # Most input has room at once; to hand it to a thread would cost more than to write it.
                data = data[self._write(data) :]
                if not data:
                    return
            if data:
                self._queue.append(memoryview(data))
                self._waiting += len(data)
            self._ending = end
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="labwinrm-input", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Drop what is queued and close the pipe; not to be called twice."""
        with self._changed:
            thread, self._finished = self._thread, True
            os.eventfd_write(self._wake, 1)
            self._changed.notify_all()
        if thread is not None:
            thread.join()
        if self._descriptor >= 0:  # the thread closes the pipe itself at the end of input
            os.close(self._descriptor)
            self._descriptor = -1
        os.close(self._wake)

    def _write(self, data: bytes) -> int:
        """Write what there is room for; a pipe that is broken is found out by the thread."""
        try:
            return os.write(self._descriptor, data)
        except OSError:
            return 0

    def _run(self) -> None:
        while (piece := self._next()) is not None:
            try:
                written = os.write(self._descriptor, piece)
            except BlockingIOError:
                poller = select.poll()
                poller.register(self._descriptor, select.POLLOUT)
                poller.register(self._wake, select.POLLIN)
                poller.poll()
                written = 0
            except OSError:  # the command has closed its input, or ended
                break
            self._took(written, piece)
        with self._changed:
            os.close(self._descriptor)
            self._descriptor = -1
            self._finished = True
            self._queue.clear()
            self._waiting = 0
            self._changed.notify_all()

    def _next(self) -> memoryview | None:
        with self._changed:
            while not self._finished and not self._queue and not self._ending:
                self._changed.wait()
            return None if self._finished or not self._queue else self._queue[0]

    def _took(self, written: int, piece: memoryview) -> None:
        with self._changed:
            self._waiting -= written
            if written == len(piece):
                self._queue.popleft()
            else:
                self._queue[0] = piece[written:]
            self._changed.notify_all()
