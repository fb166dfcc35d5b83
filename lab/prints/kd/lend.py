"""Lends a debugger's port to another debugger, one at a time: on a TCP port of this host, and on a Unix socket.

WinDbg talks to a serial port over TCP (``-k com:ipport=…,port=…``), ntoseye 0.52 over a Unix socket, as QEMU makes them. The
collector stays in between and passes all bytes on. So it reads every print while the other debugger answers.
"""

from __future__ import annotations

import contextlib
import select
import socket
from pathlib import Path
from typing import Final

from lab.host.unix_socket import listen_unix

_LOOPBACK: Final = "127.0.0.1"
_CHUNK: Final = 1 << 16


class LentPort:
    """The ports at which a debugger connects. Used by the thread that owns the target's port.

    Args:
        path: Path of the Unix socket, which is removed with the port. None: no socket.

    Raises:
        OSError: A port cannot be opened.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._tcp = socket.create_server((_LOOPBACK, 0))
        self._listeners = [self._tcp]
        try:
            if path is not None:
                self._listeners.append(listen_unix(path))
        except OSError:
            self._tcp.close()
            raise
        for listener in self._listeners:
            listener.setblocking(False)
        self._client: socket.socket | None = None
        self._output = bytearray()

    @property
    def number(self) -> int:
        """The TCP port."""
        return int(self._tcp.getsockname()[1])

    @property
    def connected(self) -> bool:
        """Whether a debugger is connected."""
        return self._client is not None

    def descriptors(self) -> dict[int, int]:
        """What to poll for: file descriptor → events."""
        if self._client is None:
            return {listener.fileno(): select.POLLIN for listener in self._listeners}
        # A second debugger waits in the listener's queue until the first one has disconnected.
        return {self._client.fileno(): select.POLLIN | (select.POLLOUT if self._output else 0)}

    def take(self) -> bytes | None:
        """The bytes from the debugger since the last call, possibly none; None: it has disconnected."""
        if self._client is None:
            self._accept()
            return b""
        try:
            self._send()
            data = self._client.recv(_CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""  # for whatever reason
        if data:
            return data
        self._drop()
        return None

    def give(self, data: bytes) -> None:
        """Pass on bytes from the target."""
        if self._client is not None:
            self._output += data
            with contextlib.suppress(OSError):  # the next call of `take` reports that it has disconnected
                self._send()

    def close(self) -> None:
        """Close the ports; a connected debugger is disconnected."""
        self._drop()
        for listener in self._listeners:
            listener.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        for listener in self._listeners:
            with contextlib.suppress(BlockingIOError):
                self._client, _ = listener.accept()
                self._client.setblocking(False)
                if listener is self._tcp:
                    self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return

    def _send(self) -> None:
        assert self._client is not None
        while self._output:
            try:
                sent = self._client.send(self._output)
            except BlockingIOError:
                return
            del self._output[:sent]

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._output.clear()
        if client is not None:
            client.close()
