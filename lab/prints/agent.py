"""Client of the free guest's print agent: a request is one line, and so is the answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


def _nothing() -> None:
    """Do nothing."""


class PrintAgent:
    """Sends requests to the agent over one connection, which stays open. Safe to use from several threads.

    Args:
        connect: Opens a connection within some seconds.
        where: The agent's address for messages.
    """

    def __init__(self, connect: Callable[[float], socket.socket], where: str) -> None:
        self.where = where
        self._connect = connect
        self._connection: socket.socket | None = None
        self._lock = threading.Lock()

    def ask(self, request: bytes, timeout: float, *, meanwhile: Callable[[], None] = _nothing) -> bytes:
        """Send a request; if the connection was dropped meanwhile, send it again over a new one.

        Args:
            request: One line.
            timeout: Seconds for each step.
            meanwhile: Called after the request was sent.

        Returns:
            The line of the answer; shorter if the agent ended within it, empty if it ended before.

        Raises:
            OSError: The agent cannot be reached, or does not answer in time.
        """
        with self._lock:
            for kept in (True, False):
                if self._connection is None:
                    self._connection = self._connect(timeout)
                    kept = False
                try:
                    if kept:
                        _forget_late_answers(self._connection)
                    self._connection.settimeout(timeout)
                    self._connection.sendall(request)
                    once, meanwhile = meanwhile, _nothing
                    once()
                    answer = _read_line(self._connection)
                except BaseException as problem:
                    self._drop()  # also if only `meanwhile` failed: the next request would get this one's answer
                    if not kept or isinstance(problem, TimeoutError) or not isinstance(problem, OSError):
                        raise
                    continue
                if not answer.endswith(b"\n"):
                    self._drop()
                if answer or not kept:
                    return answer
            return b""

    def close(self) -> None:
        """End the connection. Idempotent."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _forget_late_answers(connection: socket.socket) -> None:
    """Drop data that came since the last answer: a channel may still hold the answer to an earlier, abandoned request.

    Raises:
        OSError: The connection has ended.
    """
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while connection.recv(4096):
            pass
        raise ConnectionResetError("the agent closed the connection")


def _read_line(connection: socket.socket) -> bytes:
    """Read one line; bytes after it are dropped."""
    data = b""
    while b"\n" not in data:
        part = connection.recv(64)
        if not part:
            return data
        data += part
    return data[: data.index(b"\n") + 1]
