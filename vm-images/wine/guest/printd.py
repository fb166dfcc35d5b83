r"""Carries the kernel prints out of the guest: from the pipe that Wine's services write to, to a serial port.

Each line goes out framed as ``\x1e<seq>;<payload byte length>;<payload>\n``: seq counts from 0 at boot, so that the host
notices a lost or a damaged line. The first line is ``lab:boot``.

On a virtio-serial port, which only the owner of the VM can reach, or on TCP, a client sends ``MARK <token>\n``; the
service then writes ``lab:mark:<uptime>:<token>`` into the same pipe, in one write, so that the mark comes out after
everything that was printed before it, and answers ``OK\n``.

``WAKE <seconds> <hex>\n`` gives a guest that has resumed from a snapshot what it cannot know: the time of day, and random
bytes that no other fork of the snapshot gets. It is answered like a mark.

``SLEEP <seconds>\n`` is answered when so many seconds have passed in the guest: by it a host waits for the guest's time.

Runs inside the guest with nothing but Python's own library; one thread, no blocking call besides the wait itself.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import fcntl
import os
import re
import selectors
import socket
import sys
import time
import tty
from collections.abc import Callable

#: Wine's line ends; a longer run without one is cut here, so that memory stays bounded.
MAX_LINE = 60_000
#: Bytes taken from the pipe in one go.
CHUNK = 1 << 16
#: While this much waits for the serial port, the pipe is not read: Wine then waits too, and nothing is dropped.
MAX_BACKLOG = 64 << 20
#: What the pipe itself holds while this process is busy (Linux allows unprivileged users 1 MiB).
PIPE_SIZE = 1 << 20
#: A mark must not be glued to the unfinished line of a process that died while writing.
MARK_LEAD = b"\x1dlab:mark:"
MAX_TOKEN = 200
_MARK = re.compile(re.escape(MARK_LEAD))
_WAKE = re.compile(rb"WAKE (\d{1,12}(?:\.\d{1,9})?) ((?:[0-9a-f]{2}){16,64})")
_SLEEP = re.compile(rb"SLEEP (\d{1,6}(?:\.\d{1,9})?)")
#: linux/random.h
RNDRESEEDCRNG = 0x5207


def frame(sequence: int, payload: bytes) -> bytes:
    """One line as it goes over the serial port."""
    return b"\x1e%d;%d;%s\n" % (sequence, len(payload), payload)


class LineSplitter:
    """Cuts a byte stream into lines without their newlines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take more bytes; return the lines that are complete now."""
        *lines, self._rest = _MARK.sub(_own_line, self._rest + data).split(b"\n")
        while len(self._rest) > MAX_LINE:
            lines.append(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]
        return lines


def _own_line(lead: re.Match[bytes]) -> bytes:
    return (b"\n" if lead.start() and lead.string[lead.start() - 1] != 0x0A else b"") + MARK_LEAD[1:]


class Outbox:
    """Framed lines on their way to the serial port; counts them, and keeps what the port has not taken yet."""

    def __init__(self) -> None:
        self._queue: collections.deque[bytes] = collections.deque()
        self._sequence = 0
        self.size = 0

    def add(self, payload: bytes) -> None:
        """Queue one line."""
        data = frame(self._sequence, payload)
        self._sequence += 1
        self._queue.append(data)
        self.size += len(data)

    def flush(self, write: Callable[[bytes], int]) -> None:
        """Write until everything is out or the port takes no more for now."""
        while self._queue:
            data = self._queue.popleft()
            while self._queue and len(data) < CHUNK:
                data += self._queue.popleft()
            try:
                written = write(data)
            except BlockingIOError:
                written = 0
            self.size -= written
            if written < len(data):
                self._queue.appendleft(data[written:])
                return


class Port:
    """What :class:`MarkClient` wants of a socket, for the device of a virtio-serial port; non-blocking."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def recv(self, size: int) -> bytes:
        """What is there; empty when the other end is not open."""
        return os.read(self._fd, size)

    def send(self, data: bytes) -> int:
        """Write."""
        return os.write(self._fd, data)

    def close(self) -> None:
        """Close the device."""
        os.close(self._fd)


class MarkClient:
    """One connection; collects its request lines.

    Args:
        sock: A connected socket, or the channel.
        permanent: The port exists for good: an end of file only means that the other end is not open now.
    """

    def __init__(self, sock: socket.socket | Port, *, permanent: bool = False) -> None:
        self.sock = sock
        self.permanent = permanent
        self._buffer = b""

    def requests(self) -> list[bytes] | None:
        """Read what is there; the complete request lines, or None when the connection is over."""
        try:
            data = self.sock.recv(4096)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._buffer = b""
            return None
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) <= MAX_TOKEN + 10:
            return lines
        self._buffer = b""
        return None

    def answer(self, data: bytes) -> None:
        """Send a short answer; a client that is gone does not matter."""
        with contextlib.suppress(OSError):
            self.sock.send(data)


def mark_line(request: bytes, uptime: float) -> bytes | None:
    """The line to write into the pipe for ``MARK <token>``, or None when the request is nothing like it."""
    word, _, token = request.strip().partition(b" ")
    if word != b"MARK" or not token or len(token) > MAX_TOKEN or not all(0x21 <= byte <= 0x7E for byte in token):
        return None
    return MARK_LEAD + b"%.3f:%s\n" % (uptime, token)


def wake_up(seconds: float, entropy: bytes, urandom: int) -> None:
    """Set the time of day, and have the kernel's random numbers depend on ``entropy`` from here on.

    The kernel would take up what is written to /dev/urandom within a minute by itself; until then, all forks of a
    snapshot would draw the same numbers.

    Args:
        seconds: Since the epoch, UTC.
        entropy: Random bytes.
        urandom: /dev/urandom, open for writing.

    Raises:
        OSError: The kernel refused.
    """
    time.clock_settime(time.CLOCK_REALTIME, seconds)
    os.write(urandom, entropy)
    fcntl.ioctl(urandom, RNDRESEEDCRNG)


def _ready_to_wake() -> Callable[[float, bytes], None]:
    """:func:`wake_up` with its file opened now, which saves a fork the time when it resumes."""
    urandom = os.open("/dev/urandom", os.O_WRONLY | os.O_CLOEXEC)
    return lambda seconds, entropy: wake_up(seconds, entropy, urandom)


def parse_wake(request: bytes) -> tuple[float, bytes] | None:
    """Time and random bytes of a ``WAKE`` request; None when it is none."""
    found = _WAKE.fullmatch(request.strip())
    return (float(found[1]), bytes.fromhex(found[2].decode("ascii"))) if found else None


def parse_sleep(request: bytes) -> float | None:
    """Seconds of a ``SLEEP`` request; None when it is none."""
    found = _SLEEP.fullmatch(request.strip())
    return float(found[1]) if found else None


class Service:
    """The event loop over pipe, serial port and mark clients.

    Args:
        pipe: File descriptor of the pipe, open for reading and writing, non-blocking.
        serial: File descriptor of the serial port, non-blocking.
        listener: Listening socket, non-blocking.
        uptime: Seconds since boot, on the clock that Wine stamps its lines with.
        channel: The channel of the VM's owner; None where the VM has none.
        wake: Sets clock and random numbers, see :func:`wake_up`.
    """

    def __init__(
        self,
        pipe: int,
        serial: int,
        listener: socket.socket,
        uptime: Callable[[], float],
        channel: Port | socket.socket | None = None,
        wake: Callable[[float, bytes], None] | None = None,
    ) -> None:
        self._wake = wake or _ready_to_wake()
        self._pipe = pipe
        self._serial = serial
        self._listener = listener
        self._uptime = uptime
        self._splitter = LineSplitter()
        self._outbox = Outbox()
        self._marks: collections.deque[tuple[MarkClient, bytes]] = collections.deque()
        #: When it is over, by the uptime, and who waits for it.
        self._sleepers: list[tuple[float, MarkClient]] = []
        self._clients: set[MarkClient] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, selectors.EVENT_READ, self._read_pipe)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        # The channel counts as not open until a look at it shows that it is.
        self._unheld = MarkClient(channel, permanent=True) if channel is not None else None
        self._waiting_for_port = False
        self._pipe_paused = False

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Serve until ``until()`` holds (never, in the guest)."""
        self._outbox.add(b"lab:boot")
        try:
            while not until():
                self._write_out()
                if self._unheld is not None:
                    self._look_at_channel(self._unheld)
                for key, _ in self._selector.select(timeout=self._rouse()):
                    key.data()
        finally:
            for client in self._clients:
                client.sock.close()
            self._selector.close()

    def _write_out(self) -> None:
        self._outbox.flush(lambda data: os.write(self._serial, data))
        waiting = self._outbox.size > 0
        if waiting != self._waiting_for_port:
            if waiting:
                self._selector.register(self._serial, selectors.EVENT_WRITE, lambda: None)
            else:
                self._selector.unregister(self._serial)
            self._waiting_for_port = waiting
        paused = self._outbox.size > MAX_BACKLOG
        if paused != self._pipe_paused:
            if paused:
                self._selector.unregister(self._pipe)
            else:
                self._selector.register(self._pipe, selectors.EVENT_READ, self._read_pipe)
            self._pipe_paused = paused

    def _read_pipe(self) -> None:
        try:
            data = os.read(self._pipe, CHUNK)
        except BlockingIOError:
            return
        for line in self._splitter.feed(data):
            self._outbox.add(line)
        self._send_marks()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        client = MarkClient(sock)
        self._clients.add(client)
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._serve(client))

    def _look_at_channel(self, client: MarkClient) -> None:
        """Watch the channel as soon as the other end is open: before that, the selector would report it without end."""
        requests = client.requests()
        if requests is None:
            return
        self._unheld = None
        self._selector.register(client.sock, selectors.EVENT_READ, lambda: self._serve(client))
        self._take(client, requests)

    def _serve(self, client: MarkClient) -> None:
        requests = client.requests()
        if requests is None:
            self._selector.unregister(client.sock)
            if client.permanent:
                self._unheld = client
                return
            client.sock.close()
            self._clients.discard(client)
            return
        self._take(client, requests)

    def _take(self, client: MarkClient, requests: list[bytes]) -> None:
        for request in requests:
            wake, sleep = parse_wake(request), parse_sleep(request)
            if wake is not None:
                self._answer_wake(client, *wake)
            elif sleep is not None:
                self._sleepers.append((self._uptime() + sleep, client))
            else:
                self._marks.append((client, request))
        self._send_marks()

    def _rouse(self) -> float:
        """Answer those whose time is over; seconds until that of the next, or until the channel is looked at again."""
        now = self._uptime()
        for when, client in self._sleepers:
            if when <= now:
                client.answer(b"OK\n")
        self._sleepers = [(when, client) for when, client in self._sleepers if when > now]
        return min([1.0, *(when - now for when, _ in self._sleepers)])

    def _answer_wake(self, client: MarkClient, seconds: float, entropy: bytes) -> None:
        try:
            self._wake(seconds, entropy)
        except OSError as error:
            client.answer(f"ERROR: {error.strerror}\n".encode("ascii", "replace"))
        else:
            client.answer(b"OK\n")

    def _send_marks(self) -> None:
        """Write the marks that wait, oldest first; a full pipe has room again after the next read."""
        while self._marks:
            client, request = self._marks[0]
            line = mark_line(request, self._uptime())
            if line is None:
                client.answer(b"ERROR: say MARK <token>\n")
            else:
                try:
                    os.write(self._pipe, line)  # at most PIPE_BUF bytes, so all or nothing
                except BlockingIOError:
                    return
                client.answer(b"OK\n")
            self._marks.popleft()


def open_pipe(path: str) -> int:
    """Open the pipe for both directions: it then never reports an end of file while Wine restarts."""
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    except OSError as error:
        sys.stderr.write(f"printd: the pipe keeps its size: {error}\n")
    return pipe


def open_serial(path: str) -> int:
    """Open the serial port, raw: every byte goes out as it is."""
    serial = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
    if os.isatty(serial):
        tty.setraw(serial)
    return serial


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description="carry kernel prints to a serial port")
    parser.add_argument("--pipe", default="/run/lab/prints")
    parser.add_argument("--serial", default="/dev/ttyS1")
    parser.add_argument("--port", type=int, default=5999)
    parser.add_argument("--channel", default="/dev/lab.prints")
    options = parser.parse_args()
    listener = socket.create_server(("", options.port))
    listener.setblocking(False)
    uptime = lambda: time.clock_gettime(time.CLOCK_MONOTONIC)  # noqa: E731
    channel = Port(options.channel) if os.path.exists(options.channel) else None  # noqa: PTH110 (as above)
    Service(open_pipe(options.pipe), open_serial(options.serial), listener, uptime, channel).run()


if __name__ == "__main__":
    main()
