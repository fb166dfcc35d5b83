"""A virtio-serial port as a connection: only the owner of the VM can reach it, and it exists before and after a snapshot.

The port exists for good. While its other end is not open, reads give the end of file at once and poll reports a hang-up;
a write would wait for the next client, and be the first that it reads. So nothing here blocks but poll, and a client
that was seen to be gone stays so until :meth:`Channel.held` finds another.

Two clients that follow each other within less time than this process takes from one call to the next look like one. That does
no harm unless the first was in the middle of a request.
"""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path
from typing import Final

#: Seconds between two looks at a port whose other end is not open.
LOOK_AGAIN_S: Final = 0.5
_READ: Final = 1 << 16


class Channel:
    """What :class:`labwinrm.http.HttpConnection` wants of a socket, for a character device. For one thread, but ``hang_up``.

    Args:
        path: The device; it can be open once only.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._gone = False
        self._first = b""

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def held(self) -> bool:
        """Whether the other end is open; the client that has it open is served from here on."""
        self._gone = bool(self._poll(select.POLLIN, 0) & select.POLLHUP)
        if self._gone:
            self._first = b""
        return not self._gone

    def recv(self, size: int) -> bytes:
        """Wait for bytes; empty when the client has closed its end."""
        first, self._first = self._first, b""
        if first:
            return first
        while not self._gone:
            try:
                # What it sent before it closed its end is still there.
                if self._poll(select.POLLIN, None) and (data := os.read(self._fd, size)):
                    return data
            except BlockingIOError:
                continue
            self._gone = True
        return b""

    def sendall(self, data: bytes) -> None:
        """Write everything.

        Raises:
            OSError: The client has closed its end; the next one gets nothing of it.
        """
        view = memoryview(data)
        while view:
            if self._gone:
                raise BrokenPipeError("the other end of the channel is closed")
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                events = self._poll(select.POLLOUT, None)
                self._gone = not events or bool(events & select.POLLHUP)

    def drain(self) -> None:
        """Read what still comes until the other end is closed, so that the next client begins with a request of its own."""
        while self.recv(_READ):
            pass

    def discard(self) -> None:
        """Read what a client left that has closed its end."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._fd, _READ):
                if self.held():  # there is another meanwhile, and this may be the beginning of what it sent
                    self._first = data
                    return

    def hang_up(self) -> None:
        """Have nothing wait here any more, as if the other end were closed for good."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Close the device."""
        os.close(self._fd)
        os.close(self._wake)

    def _poll(self, events: int, timeout_ms: int | None) -> int:
        """Wait for one of the events, or a hang-up; 0 when there was none of them, or after :meth:`hang_up`."""
        poller = select.poll()
        poller.register(self._fd, events)
        poller.register(self._wake, select.POLLIN)
        ready = dict(poller.poll(timeout_ms))
        return 0 if self._wake in ready else ready.get(self._fd, 0)
