"""The bare-metal target of ``tests/prints/kd/target`` as a kernel: it does what the host says on its third serial port."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from pathlib import Path
from typing import Final

from lab.host.unix_socket import connect_unix
from tests.kdguest.target import KernelStopped, bugcheck_text

#: Socket of the port in the run folder.
SOCKET: Final = "model.sock"
_HOST_S = 60.0


class MetalKernel:
    """A kernel in a QEMU, over the commands of ``serve.c``.

    Args:
        path: Socket of its port.

    Raises:
        OSError: No QEMU serves it.
    """

    def __init__(self, path: Path) -> None:
        self.stopped = False
        self._lock = threading.Lock()
        self._port = connect_unix(path, _HOST_S)
        self._came = b""
        # A snapshot may have been taken in the middle of a command or an answer of another connection.
        token = secrets.token_hex(4)
        with self._lock:
            self._port.sendall(b"\n")
            self._send(f"y{token}")
            while self._line() != f"y{token}":
                pass

    def print(self, raw: bytes, cpu: int = 0) -> None:
        del cpu  # the target has one
        self._ask(f"p{raw.hex()}")

    def load(self, path: str, base: int, size: int) -> None:
        self._ask(f"l{base & 0xFFFFFFFF:08x}{size:08x}{path.encode('cp1252').hex()}")

    def unload(self, path: str, base: int, size: int) -> None:
        self._ask(f"u{base & 0xFFFFFFFF:08x}{size:08x}{path.encode('cp1252').hex()}")

    def breakpoint(self) -> int:
        self._ask("b")
        return 1  # the target goes on only when the host has moved its instruction pointer by one

    def bugcheck(self, code: int, *parameters: int) -> None:
        for text in bugcheck_text(code, *parameters):
            self.print(text)
        with self._lock:
            self._send("k")
            self.stopped = True
        raise KernelStopped

    def give_up(self) -> None:
        self._ask("g")

    def store(self, text: str) -> None:
        self._ask(f"s{text.encode().hex()}")

    def fetch(self) -> str:
        return bytes.fromhex(self._ask("f").removeprefix("f")).decode()

    def _ask(self, command: str) -> str:
        with self._lock:
            self._send(command)
            return self._line()

    def _send(self, command: str) -> None:
        if self.stopped:
            raise KernelStopped
        try:
            # The dot tells a whole command from one that a snapshot has cut.
            self._port.sendall(f"{command}.\n".encode("ascii"))
        except OSError:
            self._end()

    def _line(self) -> str:
        while b"\n" not in self._came:
            try:
                data = self._port.recv(4096)
            except OSError:
                data = b""
            if not data:
                self._end()
            self._came += data
        line, _, self._came = self._came.partition(b"\n")
        return line.decode("ascii")

    def _end(self) -> None:
        self.stopped = True
        with contextlib.suppress(OSError):
            self._port.shutdown(socket.SHUT_RDWR)
        self._port.close()
        raise KernelStopped
