"""Orders to the stand-in for a kernel in QEMU: ``tests/prints/relay/target/serve.c`` describes them."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
import time
from pathlib import Path

from lab.host.unix_socket import connect_unix
from tests.kdguest.target import KernelStopped

#: In the run folder of its VM.
SOCKET_FILE = "control.sock"
#: A guest of a loaded host answers within some seconds.
ANSWER_S = 60.0
_PING_S = 0.2
_FIRST_PING = 0x80
_ANSWER = struct.Struct("<BI")


class Orders:
    """The control port of one guest. It is opened when it is needed, and may be closed at any time. Safe for threads.

    A byte that is sent before the guest has opened its port may be lost. So a connection begins with pings, single bytes that
    differ: once one comes back, the guest listens, and it has answered everything that was sent before.

    Args:
        path: The socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._port: socket.socket | None = None
        self._came = bytearray()
        self._pings = itertools.cycle(range(_FIRST_PING, 0x100))

    def print(self, raw: bytes, *, component: int = 77, level: int = 3) -> None:
        """One DbgPrint call."""
        self._give(b"P", struct.pack("<II", component, level) + raw)

    def flood(self, count: int, length: int) -> int:
        """Many prints; returns how many there were so far, all floods together."""
        return self._give(b"F", struct.pack("<IH", count, length))

    def lose(self, count: int) -> None:
        """Let the next print lose so many others: they come in its middle, on its own processor."""
        self._give(b"L", struct.pack("<I", count))

    def mark(self, token: str, timeout: float = ANSWER_S) -> int:
        """A marker; returns the status of the request."""
        return self._give(b"M", token.encode(), timeout=timeout)

    def restless(self, length: int) -> int:
        """Let it print whenever it has no order, or no more with 0; returns how many such prints there were so far."""
        return self._give(b"R", struct.pack("<H", length))

    def count(self, timeout: float = ANSWER_S) -> int:
        """The number of orders that the guest has taken, those before its snapshot included."""
        return self._give(b"T", timeout=timeout)

    def halt(self) -> None:
        """Let the guest stand still for good."""
        self._give(b"H")

    def hang_up(self) -> None:
        """Close the connection; the next order opens another one."""
        with self._lock:
            port, self._port = self._port, None
            if port is not None:
                port.close()

    def _give(self, verb: bytes, data: bytes = b"", *, timeout: float = ANSWER_S) -> int:
        deadline = time.monotonic() + timeout
        with self._lock:
            try:
                port = self._port or self._connect(deadline)
                port.settimeout(max(deadline - time.monotonic(), 0.001))
                port.sendall(verb + struct.pack("<H", len(data)) + data)
                answer, value = self._answer(port)
                while answer >= _FIRST_PING:  # there are only so many different ones
                    answer, value = self._answer(port)
            except OSError as error:
                self.hang_up()
                raise KernelStopped(f"the stand-in does not answer: {error}") from None
            assert answer == verb[0], f"answer {answer:#x} to {verb!r}"
            return value

    def _connect(self, deadline: float) -> socket.socket:
        port = connect_unix(self._path)
        self._came.clear()
        port.settimeout(_PING_S)
        try:
            while True:
                ping = next(self._pings)
                port.sendall(bytes([ping]))
                with contextlib.suppress(TimeoutError):
                    while self._answer(port)[0] != ping:
                        pass
                    self._port = port
                    return port
                if time.monotonic() > deadline:
                    raise TimeoutError("no ping came back")
        except OSError:
            port.close()
            raise

    def _answer(self, port: socket.socket) -> tuple[int, int]:
        """One answer: its verb and its number. A part that came before a timeout is kept."""
        while len(self._came) < _ANSWER.size:
            part = port.recv(_ANSWER.size - len(self._came))
            if not part:
                raise ConnectionResetError("the virtual machine has ended")
            self._came += part
        verb, value = _ANSWER.unpack(self._came)
        self._came.clear()
        return verb, value
