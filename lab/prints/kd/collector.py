"""Reads a target's serial port: one thread only reads and answers; other threads write the records.

The processors of a target are stopped until its packet is acknowledged, and it gives up after some 10 s. So neither a full disk
nor a blocked reader of the output may delay an answer; this is why there are queues between the threads. The raw bytes have
their own queue, so that a slow reader of the records does not keep them from the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import queue
import select
import socket
import sys
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from lab.errors import ConfigError, TransportError
from lab.host.unix_socket import connect_unix
from lab.prints.kd.lend import LentPort
from lab.prints.kd.record import AnyRecord, End, Gap
from lab.prints.kd.session import Session

#: Longest wait for bytes, in seconds: the delay with which an unanswered packet may be sent again.
_TICK_S: Final = 0.25
#: The same while a packet is incomplete.
_HURRY_S: Final = 0.02
_CHUNK: Final = 1 << 16
_ASK_S: Final = 10.0

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Heard:
    """The result of one read of the port.

    Attributes:
        size: Number of bytes from the target.
        records: The records that these bytes completed.
    """

    size: int
    records: list[AnyRecord]


class Collector:
    """Owns the port from :meth:`start` until the other side closes it or :meth:`stop`.

    Args:
        port: A connected stream socket; the collector closes it.
        session: The protocol.
        wall: Wall clock in seconds, for the records.
        clock: Monotonic clock in seconds.

    Attributes:
        keep_raw: Called with every byte from the target, in the thread that answers it, so it must return at once.
        ended: Set when the port is closed.
        told: How many records there were so far.
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
        self.keep_raw: Callable[[bytes], None] = lambda _raw: None
        self.ended = threading.Event()
        self.told = 0
        self._wall = wall
        self._clock = clock
        self._heard: queue.SimpleQueue[Heard | None] = queue.SimpleQueue()
        self._requests: queue.SimpleQueue[Callable[[Session, float], None]] = queue.SimpleQueue()
        self._wake_out, self._wake_in = socket.socketpair()
        self._stopping = ""
        self._fault = ""
        self._deaf = False
        self._output = bytearray()
        self._lent: LentPort | None = None
        self._polled: set[int] = set()
        self._last_turn = self._clock()
        self._thread = threading.Thread(target=self._drain, name="kd port", daemon=True)

    def start(self) -> None:
        """Begin to read; returns at once."""
        self._last_turn = self._clock()
        self._port.setblocking(False)
        self._wake_out.setblocking(False)
        self._thread.start()

    def ask(self, request: Callable[[Session, float], None]) -> None:
        """Run ``request(session, now)`` in the thread that owns the session. May be called from any thread."""
        self._requests.put(request)
        self._wake()

    def call(self, request: Callable[[Session, float], _Answer]) -> _Answer:
        """Like :meth:`ask`, but wait for the result of ``request``.

        Raises:
            TransportError: The session is over.
        """
        done = threading.Event()
        answers: list[_Answer] = []

        def run(session: Session, now: float) -> None:
            answers.append(request(session, now))
            done.set()

        self.ask(run)
        deadline = time.monotonic() + _ASK_S
        while not done.wait(_TICK_S):
            if self.ended.is_set() or time.monotonic() >= deadline:
                break
        if not answers:
            raise TransportError("the debugger session has ended")
        return answers[0]

    def is_idle(self, session: Session) -> bool:
        """Whether nothing is half received, unanswered or on its way to the target; only inside of :meth:`call`."""
        return session.idle and not self._output and not _unread(self._port)

    def lend(self, path: Path | None = None) -> int:
        """Offer the target to another debugger, on a TCP port of 127.0.0.1, which is returned, and on a Unix socket.

        From its first byte on, that debugger answers the target; everything is recorded as before. When it disconnects, the
        session answers again. The offer lasts until :meth:`take_back`.

        Args:
            path: Path of the Unix socket; None: no socket.

        Raises:
            TransportError: The session is over, or this host has no free port.
        """
        if (there := self.call(lambda _session, _now: self._lent.number if self._lent else 0)) != 0:
            return there
        try:
            offered = LentPort(path)
        except OSError as error:
            raise TransportError(f"no port can be opened for a debugger: {error}") from error

        def do(_session: Session, _now: float) -> int:
            if self._lent is None:
                self._lent = offered
            else:
                offered.close()
            return self._lent.number

        return self.call(do)

    def take_back(self) -> None:
        """End the offer; a connected debugger is disconnected.

        Raises:
            TransportError: The session is over.
        """

        def do(_session: Session, now: float) -> None:
            lent, self._lent = self._lent, None
            if lent is not None:
                lent.close()
            self._answer_again(now)

        self.call(do)

    def borrowed(self) -> bool:
        """Whether another debugger is connected."""
        return self.call(lambda _session, _now: self._lent is not None and self._lent.connected)

    def stop(self, reason: str) -> None:
        """Close the port. The kernel gives up at its next print, within a second, and drops its prints from then on."""
        self._stopping = reason
        self._wake()

    def next(self, timeout: float) -> Heard | None:
        """The next result of a read.

        Args:
            timeout: Seconds to wait for one.

        Returns:
            None at the end of the session.

        Raises:
            TimeoutError: Nothing came.
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
        try:
            while not self._stopping:
                size = self._take(poller)
                if size is None:
                    break
                self._tell(size, self._session.take_records())
                # So that requests are answered after the port has been read to its end.
                while not size and not self._requests.empty():
                    self._requests.get()(self._session, self._clock())
                self._send()
                self._tell(0, self._session.take_records())
        except OSError as error:
            self._fault = f"the debugger port failed: {error}"
        except Exception as error:
            self._fault = f"internal error of the lab: {type(error).__name__}: {error}"
        finally:
            self._finish()

    def _take(self, poller: select.poll) -> int | None:
        """Wait for bytes and pass them to the session; returns their number, or None at the end."""
        port = self._port.fileno()
        poller.modify(port, select.POLLIN | (select.POLLOUT if self._output else 0))
        lent = self._poll_lent(poller)
        wait = 0.0 if not self._requests.empty() else _HURRY_S if self._session.incomplete else _TICK_S
        ready = dict(poller.poll(wait * 1000))
        if self._wake_out.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                self._wake_out.recv(_CHUNK)
        if self._lent is not None and any(fd in ready for fd in lent):
            self._hear_debugger(self._lent)
        raw = b""
        if ready.get(port, 0) & ~select.POLLOUT:
            # Reset: the other side closed without reading our last answers; all of its data was read before.
            with contextlib.suppress(ConnectionResetError):
                raw = self._port.recv(_CHUNK)
            if not raw:
                return None
        now = self._clock()
        self._session.stood_still(now - self._last_turn, now, self._wall())
        self._last_turn = now
        if raw:
            self.keep_raw(raw)
            if self._lent is not None and self._session.lent:
                self._lent.give(raw)
            self._feed(raw)
            self._send()
        self._session.tick(self._clock(), self._wall())
        return len(raw)

    def _poll_lent(self, poller: select.poll) -> dict[int, int]:
        """Register the other debugger's descriptors with the poller, and remove those that are closed."""
        wanted = self._lent.descriptors() if self._lent is not None else {}
        for gone in self._polled - set(wanted):
            with contextlib.suppress(KeyError):
                poller.unregister(gone)
        for fd, events in wanted.items():
            poller.register(fd, events)
        self._polled = set(wanted)
        return wanted

    def _hear_debugger(self, lent: LentPort) -> None:
        said = lent.take()
        if said is None:
            self._answer_again(self._clock())
        elif said:
            if not self._session.lent:
                self._send()  # a packet that was answered before the debugger connected
                self._session.lend(self._wall())
            self._output += said

    def _answer_again(self, now: float) -> None:
        if self._session.lent:
            self._session.take_back(now, self._wall())

    def _feed(self, raw: bytes) -> None:
        try:
            self._session.feed(raw, self._clock(), self._wall())
        except Exception as error:
            # A bug of the lab must not leave the guest without its debugger; the raw bytes are saved.
            reason = f"the lab cannot read what the kernel sent: {type(error).__name__}: {error}"
            gap = Gap(time=self._wall(), generation=self._session.generation, reason=reason)
            self._tell(0, [*self._session.take_records(), gap])

    def _tell(self, size: int, records: list[AnyRecord]) -> None:
        if size or records:
            self.told += len(records)
            self._heard.put(Heard(size, records))

    def _finish(self) -> None:
        now = self._wall()
        try:
            self._session.finish(now)
        except Exception as error:
            self._fault = self._fault or f"internal error of the lab: {type(error).__name__}: {error}"
        reason = self._fault or self._stopping or "the kernel closed the port"
        complete = not (self._fault or self._stopping)
        end = End(time=now, generation=self._session.generation, reason=reason, complete=complete)
        self._port.close()
        if self._lent is not None:
            self._lent.close()
        self.ended.set()
        self._tell(0, [*self._session.take_records(), end])
        self._heard.put(None)
        self._wake_in.close()
        self._wake_out.close()

    def _send(self) -> None:
        self._output += self._session.take_output()
        if self._deaf:
            self._output.clear()
        if self._output:
            try:
                sent = self._port.send(self._output)
                del self._output[:sent]
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                # The other side no longer reads; its earlier data may still be there and is read to the end.
                self._deaf = True
                self._output.clear()


def _unread(port: socket.socket) -> bool:
    """Whether the other side of a Unix socket has not read all that was sent.

    A QEMU whose processors are stopped reads no more than its serial port has room for: one byte, or 16 with its FIFO on.
    """
    # Linux: SIOCOUTQ has the number of TIOCOUTQ; of a Unix socket it says how much memory unread data takes.
    return bool(int.from_bytes(fcntl.ioctl(port, termios.TIOCOUTQ, bytes(4)), sys.byteorder))


def connect_port(path: Path, *, timeout: float) -> socket.socket:
    """Connect to the Unix socket of a serial port.

    Args:
        path: The socket.
        timeout: Seconds for which a missing or unserved socket is tried again.

    Raises:
        TransportError: No process serves it.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return connect_unix(path)
        except OSError as error:
            if time.monotonic() >= deadline:
                raise TransportError(
                    f"no program serves the serial port {path}: {error}",
                    hint="QEMU makes it with: -chardev socket,id=kd,path=FILE,server=on,wait=on -device isa-serial,chardev=kd",
                ) from None
        time.sleep(0.05)


def open_raw(path: Path) -> BinaryIO:
    """Open a new file for the bytes of a target; an existing file is never overwritten.

    Raises:
        ConfigError: It exists, or cannot be made.
    """
    try:
        return path.open("xb", buffering=0)
    except FileExistsError:
        raise ConfigError(f"{path} exists already", hint="use another file, or move this one away") from None
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}", hint="does its folder exist, and may you write to it?"
        ) from None
