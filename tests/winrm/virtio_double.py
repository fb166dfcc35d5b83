"""A virtio-serial port as a Linux guest sees it, made of socket pairs: its descriptor outlasts the holders of the other end.

The difference to a socket: a write while no one holds the other end is not an error. It waits (or reports that it would have
to), and goes to the next holder. What a holder sent before it released the port is still read.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from pathlib import Path
from typing import Any

import pytest


class _Poll:
    """A poll that checks again every few milliseconds: one in the kernel would continue to watch the old socket."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self.register = self._poll.register

    def poll(self, timeout_ms: float | None) -> list[tuple[int, int]]:
        while True:
            if (ready := self._poll.poll(3 if timeout_ms is None else timeout_ms)) or timeout_ms is not None:
                return ready


class VirtioPort:
    """The port, as a double of a device that a module opens with ``os.open``.

    Args:
        path: The device's name.
    """

    def __init__(self, path: Path) -> None:
        path.touch()
        self.path = path
        ours, theirs = socket.socketpair()
        theirs.close()
        self._fd = ours.detach()
        self._changed = threading.Condition()
        self._held = False
        self._blocking = True
        self._holders: list[socket.socket] = []

    def replace_in(self, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
        """Make a module of the guest use the port."""
        monkeypatch.setattr(f"{module}.os", self)
        monkeypatch.setattr(f"{module}.select", self)

    # -- the host's side -----------------------------------------------------------------------------------------------

    def hold(self, *, room: int | None = None) -> socket.socket:
        """Take hold of the other end.

        Args:
            room: About so many bytes are buffered that the holder has not read yet.
        """
        ours, theirs = socket.socketpair()
        if room is not None:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        theirs.setblocking(self._blocking)
        with self._changed, theirs:
            os.dup2(theirs.fileno(), self._fd, inheritable=False)
            self._held = True
            self._changed.notify_all()
        ours.settimeout(30)
        self._holders.append(ours)
        return ours

    def let_go(self, holder: socket.socket) -> None:
        """Release it."""
        with self._changed:
            self._held = False
            holder.shutdown(socket.SHUT_RDWR)  # closed at the end: a thread may still be about to read from it

    def end(self) -> None:
        """End of the VM."""
        for holder in self._holders:
            holder.close()

    # -- what the module finds as ``os`` and ``select`` --------------------------------------------------------------------

    POLLIN, POLLOUT, POLLHUP = select.POLLIN, select.POLLOUT, select.POLLHUP
    poll = _Poll

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int) -> int:
        assert path == self.path
        self._blocking = not flags & os.O_NONBLOCK
        os.set_blocking(self._fd, self._blocking)
        return self._fd

    def read(self, fd: int, size: int) -> bytes:
        try:
            return os.read(fd, size)
        except ConnectionResetError:
            return b""

    def write(self, fd: int, data: memoryview | bytes) -> int:
        while True:
            with self._changed:
                while not self._held:
                    if not self._blocking:
                        raise BlockingIOError
                    self._changed.wait()
            try:
                return os.write(fd, data[:32768])
            except (BrokenPipeError, ConnectionResetError):
                continue
