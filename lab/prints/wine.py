"""The free guest's print source: follows the file that QEMU writes its print port to, and sends markers by TCP."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from lab.errors import EvidenceLost, TransportError
from lab.prints.decode import WineDecoder
from lab.prints.log import RecordLog
from lab.prints.record import GapRecord, MarkRecord, Record
from lab.prints.resume import PrintsState

#: How often the file is looked at, in seconds: the granularity of host times, and some 0.1 % of a core.
POLL_S = 0.01
#: The same while somebody waits for a record.
HURRY_S = 0.001
#: A print without a following line is complete after this long; a marker makes it complete at once.
QUIET_S = 0.1
_CHUNK = 1 << 20
_NEXT_LINE = "next_line"


def _connect(address: tuple[str, int], timeout: float) -> socket.socket:
    return socket.create_connection(address, timeout=timeout)


def _read_line(connection: socket.socket) -> bytes:
    """One line; shorter when the other side ended, empty when it had ended already."""
    line = b""
    while not line.endswith(b"\n"):
        part = connection.recv(64)
        if not part:
            break
        line += part
    return line


class WinePrintSource:
    """Print source over a file chardev: QEMU never blocks on it, and the file itself is the raw evidence.

    Args:
        path: The file behind the guest's print port; it may not exist yet.
        mark_address: Host address that reaches the guest's print agent.
        encoding: Encoding of the driver's strings.
        resume: Where the stream of a frozen guest had stopped; None after a boot.
        wall: Wall clock in seconds.
        clock: Monotonic clock in seconds.
        connect: Opens a TCP connection; replaced in tests.
    """

    def __init__(
        self,
        path: Path,
        mark_address: tuple[str, int],
        *,
        encoding: str = "utf-8",
        resume: PrintsState | None = None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        connect: Callable[[tuple[str, int], float], socket.socket] = _connect,
    ) -> None:
        self._path = path
        self._mark_address = mark_address
        self._decoder = WineDecoder(encoding, first_line=resume.numbers[_NEXT_LINE] if resume else 0)
        self._replay = resume.replay if resume else b""
        self._taken = 0
        self._wall = wall
        self._clock = clock
        self._connect = connect
        self._log = RecordLog(clock)
        self._agent: socket.socket | None = None
        self._agent_lock = threading.Lock()
        self._stopping = False
        self._broken = ""
        self._wake = threading.Event()
        self._waiting = 0
        self._waiting_lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """``wine``."""
        return "wine"

    @property
    def raw_file(self) -> Path:
        """The file that holds every byte of the print port."""
        return self._path

    def start(self) -> None:
        """Begin to follow the file from its first byte."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._follow, name=f"prints {self._path.name}", daemon=True)
        self._thread.start()

    def records_since(self, position: int) -> list[Record]:
        """All records from index ``position`` on."""
        return self._log.since(position)

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        """Wait until ``until`` holds for the records from ``position`` on; see :class:`lab.prints.record.PrintSource`."""
        with self._hurried():
            return self._log.wait(position, until, timeout=timeout)

    def mark(self, token: str, *, timeout: float) -> int:
        """Send a marker through the guest's print path and wait until it arrives.

        Args:
            token: Without blanks; unique in this guest's life.
            timeout: Seconds for all of it.
        """
        before = len(self._log)
        deadline = self._clock() + timeout

        def arrived(records: list[Record]) -> bool:
            return bool(self._broken) or any(isinstance(record, MarkRecord) and record.token == token for record in records)

        with self._hurried():
            self._send_mark(token, timeout)
            records = self._log.wait(before, arrived, timeout=max(deadline - self._clock(), 0.0))
        for index, record in enumerate(records):
            if isinstance(record, MarkRecord) and record.token == token:
                return before + index + 1
        if self._broken:
            raise EvidenceLost(f"marker {token} did not arrive: {self._broken}")
        raise EvidenceLost(
            f"marker {token} was accepted by the guest's print agent and did not arrive in {self._path} within {timeout:.0f} s",
            hint="read the last bytes of that file; a frozen guest, a full disk or a damaged line would explain it",
        )

    def freeze_state(self) -> PrintsState | None:
        """See :class:`lab.prints.resume.ResumableSource`."""
        size = self._path.stat().st_size if self._path.exists() else 0
        line = self._decoder.next_line
        if self._broken or self._taken != size or line is None:
            return None
        return PrintsState(numbers={_NEXT_LINE: line})

    def wake(self, seconds: float, entropy: bytes, *, timeout: float) -> None:
        """See :class:`lab.prints.resume.ResumableSource`."""
        try:
            with self._agent_lock:
                answer = self._ask_agent(b"WAKE %.6f %s\n" % (seconds, entropy.hex().encode("ascii")), timeout)
        except OSError as error:
            raise TransportError(f"the guest's print agent does not answer after the guest was woken: {error}") from error
        if answer != b"OK\n":
            raise TransportError(f"the guest's print agent cannot set the clock: it answered {answer[:64]!r}")

    def close(self) -> None:
        """Read what has already arrived and stop."""
        thread = self._thread
        if thread is None:
            return
        self._stopping = True
        self._wake.set()
        thread.join()
        self._thread = None
        with self._agent_lock:
            self._drop_agent()

    @contextlib.contextmanager
    def _hurried(self) -> Iterator[None]:
        """Have the file looked at more often while somebody waits for it."""
        with self._waiting_lock:
            self._waiting += 1
        self._wake.set()
        try:
            yield
        finally:
            with self._waiting_lock:
                self._waiting -= 1

    def _send_mark(self, token: str, timeout: float) -> None:
        where = f"{self._mark_address[0]}:{self._mark_address[1]}"
        request = f"MARK {token}\n".encode("ascii")
        try:
            with self._agent_lock:
                answer = self._ask_agent(request, timeout)
        except OSError as error:
            raise EvidenceLost(
                f"the guest's print agent at {where} did not take marker {token}: {error}",
                hint="is the virtual machine still running? Its console log tells",
            ) from error
        if answer != b"OK\n":
            raise EvidenceLost(f"the guest's print agent at {where} answered {answer[:64]!r} to marker {token}, not OK")

    def _ask_agent(self, request: bytes, timeout: float) -> bytes:
        """Send a request over the connection that is kept, once more over a new one when that was dropped meanwhile."""
        for kept in (True, False):
            if self._agent is None:
                self._agent = self._connect(self._mark_address, timeout)
                kept = False
            self._agent.settimeout(timeout)
            try:
                self._agent.sendall(request)
                answer = _read_line(self._agent)
                if answer or not kept:
                    return answer
            except TimeoutError:
                self._drop_agent()
                raise
            except OSError:
                self._drop_agent()
                if not kept:
                    raise
            self._drop_agent()
        return b""

    def _drop_agent(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.close()

    def _follow(self) -> None:
        file: BinaryIO | None = None
        try:
            last_data = self._clock()
            if self._replay:
                self._log.extend(self._decoder.feed(self._replay, self._wall()))
            while True:
                stopping = self._stopping
                file = file or self._open()
                data = file.read(_CHUNK) if file else b""
                if data:
                    last_data = self._clock()
                    self._log.extend(self._decoder.feed(data, self._wall()))
                    self._taken += len(data)
                    continue
                if stopping:
                    break
                if self._decoder.waiting and self._clock() - last_data >= QUIET_S:
                    self._log.extend(self._decoder.flush())
                if self._wake.wait(HURRY_S if self._waiting else POLL_S):
                    self._wake.clear()
            self._log.extend(self._decoder.finish(self._wall()))
        except OSError as error:
            self._stop_loudly(f"the print file {self._path} cannot be read: {error}")
        except Exception as error:
            # A bug of the lab: without a record of it, the prints would just end.
            self._stop_loudly(f"the lab cannot go on reading {self._path}: {type(error).__name__}: {error}")
        finally:
            if file is not None:
                file.close()

    def _stop_loudly(self, reason: str) -> None:
        """Record that no print will follow any more, and have every marker fail with the reason."""
        self._broken = reason
        with contextlib.suppress(Exception):  # the decoder may be what broke
            self._log.extend(self._decoder.flush())
        self._log.extend([GapRecord(sequence=len(self._log), host_time=self._wall(), missing=0, reason=reason)])

    def _open(self) -> BinaryIO | None:
        try:
            return self._path.open("rb", buffering=0)
        except FileNotFoundError:
            return None
