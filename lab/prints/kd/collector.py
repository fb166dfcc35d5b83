"""Drain a target's serial port: one thread that reads, answers and does nothing else, one that writes down what it heard.

The processors of a target stand still until its packet is acknowledged, and it gives up after some 10 s: neither a full
disk nor a reader who has stopped reading our output may delay an answer. Hence the queue between the two threads.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from lab.errors import ConfigError, TransportError
from lab.prints.kd.record import AnyRecord
from lab.prints.kd.session import Session

#: Longest wait for bytes, in seconds: how late a packet that was not answered may be sent again.
_TICK_S: Final = 0.25
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Heard:
    """One reading of the port.

    Attributes:
        raw: Bytes of the target.
        records: What they completed.
    """

    raw: bytes
    records: list[AnyRecord]


class Collector:
    """Owns the port from :meth:`start` until the other side closes it or :meth:`stop`.

    Args:
        port: A connected stream socket; the collector closes it.
        session: The protocol.
        wall: Wall clock in seconds, for the records.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        port: socket.socket,
        session: Session,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._port = port
        self._session = session
        self._wall = wall
        self._clock = clock
        self._heard: queue.SimpleQueue[Heard | None] = queue.SimpleQueue()
        self._requests: queue.SimpleQueue[Callable[[Session, float], None]] = queue.SimpleQueue()
        self._wake_out, self._wake_in = socket.socketpair()
        self._stopping = False
        self._output = bytearray()
        self._thread = threading.Thread(target=self._drain, name="kd port", daemon=True)

    def start(self) -> None:
        """Begin to drain; returns at once."""
        self._port.setblocking(False)
        self._wake_out.setblocking(False)
        self._thread.start()

    def ask(self, request: Callable[[Session, float], None]) -> None:
        """Have ``request(session, now)`` run in the thread that owns the session; from any thread."""
        self._requests.put(request)
        self._wake()

    def stop(self) -> None:
        """Let go of the port. A target that believes in its debugger stands still at its next print from then on."""
        self._stopping = True
        self._wake()

    def next(self, timeout: float) -> Heard | None:
        """What was heard next.

        Args:
            timeout: Seconds to wait for something.

        Returns:
            None at the end of the session.

        Raises:
            TimeoutError: Nothing was heard.
        """
        try:
            heard = self._heard.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        if heard is None:
            self._heard.put(None)
        return heard

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_in.send(b"\0")

    def _drain(self) -> None:
        poller = select.poll()
        poller.register(self._wake_out, select.POLLIN)
        poller.register(self._port, select.POLLIN)
        port = self._port.fileno()
        try:
            while not self._stopping:
                poller.modify(port, select.POLLIN | (select.POLLOUT if self._output else 0))
                ready = dict(poller.poll(_TICK_S * 1000))
                if self._wake_out.fileno() in ready:
                    with contextlib.suppress(BlockingIOError):
                        self._wake_out.recv(_CHUNK)
                raw = b""
                if ready.get(port, 0) & ~select.POLLOUT:
                    raw = self._port.recv(_CHUNK)
                    if not raw:
                        break
                    self._session.feed(raw, self._clock(), self._wall())
                else:
                    self._session.tick(self._clock(), self._wall())
                while not self._requests.empty():
                    self._requests.get()(self._session, self._clock())
                self._send()
                records = self._session.take_records()
                if raw or records:
                    self._heard.put(Heard(raw, records))
        except OSError:
            pass  # the other side is gone, which is how every session ends
        finally:
            self._session.finish(self._wall())
            if records := self._session.take_records():
                self._heard.put(Heard(b"", records))
            self._heard.put(None)
            self._port.close()
            self._wake_in.close()
            self._wake_out.close()

    def _send(self) -> None:
        self._output += self._session.take_output()
        if self._output:
            with contextlib.suppress(BlockingIOError):
                sent = self._port.send(self._output)
                del self._output[:sent]


def connect_port(path: Path, *, timeout: float) -> socket.socket:
    """Connect to the Unix socket behind a serial port.

    Args:
        path: The socket.
        timeout: Seconds for which a socket that is not there yet, or that nobody serves yet, is tried again.

    Raises:
        TransportError: Nobody serves it.
    """
    deadline = time.monotonic() + timeout
    while True:
        port = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            port.connect(str(path))
            return port
        except OSError as error:
            port.close()
            if time.monotonic() >= deadline:
                raise TransportError(
                    f"nobody serves the serial port {path}: {error}",
                    hint="QEMU makes it by: -chardev socket,id=kd,path=FILE,server=on,wait=on -device isa-serial,chardev=kd",
                ) from None
        time.sleep(0.05)


def open_raw(path: Path) -> BinaryIO:
    """A new file for the bytes of a target; a file that is there already is never overwritten.

    Raises:
        ConfigError: It is there already, or cannot be made.
    """
    try:
        return path.open("xb", buffering=0)
    except FileExistsError:
        raise ConfigError(f"{path} is there already", hint="name another file, or move that one away") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="is its folder there, and yours?") from None
