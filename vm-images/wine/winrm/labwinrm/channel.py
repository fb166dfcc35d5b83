"""A virtio-serial port as a connection: private to whoever owns the virtual machine, and there before and after a freeze.

The port is there for good. While nobody holds its other end, reads give the end of file at once and poll reports a hang-up.
"""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import Final

#: Seconds between two looks at a port that nobody holds.
LOOK_AGAIN_S: Final = 0.5


class Channel:
    """What :class:`labwinrm.http.HttpConnection` wants of a socket, for a character device.

    Args:
        path: The device; it can be open once only.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def recv(self, size: int) -> bytes:
        """Wait for bytes; empty when nobody holds the other end."""
        while True:
            try:
                return os.read(self._fd, size)
            except BlockingIOError:
                self._wait(select.POLLIN)

    def sendall(self, data: bytes) -> None:
        """Write everything.

        Raises:
            OSError: Nobody holds the other end. A write that waited for that would reach the next holder.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                if self._wait(select.POLLOUT) & select.POLLHUP:
                    raise ConnectionResetError("the other end of the channel was let go of") from None

    def held(self) -> bool:
        """Whether somebody holds the other end."""
        return not self._wait(select.POLLIN, 0) & select.POLLHUP

    def drain(self) -> None:
        """Read what still comes until the other end is let go of, so that the next one begins with a request of its own."""
        while self.recv(1 << 16):
            pass

    def close(self) -> None:
        """Close the device."""
        os.close(self._fd)

    def _wait(self, events: int, timeout_ms: int | None = None) -> int:
        """The events that came."""
        poller = select.poll()
        poller.register(self._fd, events)
        return sum(found for _, found in poller.poll(timeout_ms))
