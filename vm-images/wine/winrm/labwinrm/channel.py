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
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def recv(self, size: int) -> bytes:
        """Wait for bytes; empty when nobody holds the other end."""
        return os.read(self._fd, size)

    def sendall(self, data: bytes) -> None:
        """Write everything.

        Raises:
            OSError: The other end was let go of.
        """
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def held(self) -> bool:
        """Whether somebody holds the other end."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        return not any(events & select.POLLHUP for _, events in poller.poll(0))

    def drain(self) -> None:
        """Read what still comes until the other end is let go of, so that the next one begins with a request of its own."""
        while self.recv(1 << 16):
            pass

    def close(self) -> None:
        """Close the device."""
        os.close(self._fd)
