"""Follows the file to which QEMU writes a guest's print port. QEMU never blocks on it, and the file is the raw evidence."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from lab.errors import EvidenceLost
from lab.host.passed import passed_over
from lab.prints.log import RecordLog
from lab.prints.record import GapRecord, MarkRecord, Record

_LOG = logging.getLogger(__name__)

#: Seconds between two reads of the file: the granularity of host times. It costs some 0.1 % of a core.
POLL_S = 0.01
#: The same while a caller waits for a record.
HURRY_S = 0.001
_CHUNK = 1 << 20


class Decoder(Protocol):
    """Turns the bytes of a print port into records."""

    def feed(self, data: bytes, host_time: float) -> list[Record]:
        """Decode more bytes; returns the records that are now complete."""

    def rest(self, silent_s: float) -> list[Record]:
        """Return the records that count as complete because nothing came for so many seconds."""

    def finish(self, host_time: float) -> list[Record]:
        """End of the stream: return the remaining records."""


class FileFollower:
    """Reads a growing file from its first byte, in a thread of its own, and keeps its records.

    Args:
        path: The file; it may not exist yet.
        decoder: Of its format.
        what: The file in messages, for example ``the print file``.
        replay: Bytes to decode before the bytes of the file.
        wall: Wall clock in seconds.
        clock: Monotonic clock in seconds.

    Attributes:
        path: The file.
        taken: Bytes of the file that were decoded.
        broken: Why no further record will come; empty as long as the follower works.
    """

    def __init__(
        self,
        path: Path,
        decoder: Decoder,
        *,
        what: str,
        replay: bytes = b"",
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.taken = 0
        self.broken = ""
        self._decoder = decoder
        self._what = what
        self._replay = replay
        self._wall = wall
        self._clock = clock
        self._log = RecordLog(clock)
        self._stopping = False
        self._wake = threading.Event()
        self._waiting = 0
        self._waiting_lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin. Idempotent."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name=f"prints {self.path.name}", daemon=True)
            self._thread.start()

    def close(self) -> bool:
        """Read what has already arrived and stop; returns whether this call stopped it."""
        thread, self._thread = self._thread, None
        if thread is None:
            return False
        self._stopping = True
        self._wake.set()
        thread.join()
        return True

    def records_since(self, position: int) -> list[Record]:
        """All records from index ``position`` on."""
        return self._log.since(position)

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        """Wait until ``until`` holds for the records from ``position`` on; see :class:`lab.prints.record.PrintSource`."""
        with self._hurried():
            return self._log.wait(position, until, timeout=timeout)

    def mark(self, token: str, write: Callable[[str, float], None], *, who: str, hint: str, timeout: float) -> int:
        """Let the guest write a marker and wait until it arrives.

        Args:
            token: Without blanks; unique in this guest's life.
            write: Makes the guest write it, within some seconds; returns when the guest has confirmed that.
            who: The program in the guest that writes it, for messages.
            hint: A likely reason if it does not arrive.
            timeout: Seconds for all of it.

        Returns:
            Index after its record.

        Raises:
            EvidenceLost: It was not written, or did not arrive.
        """
        before = len(self._log)
        deadline = self._clock() + timeout

        def is_mark(record: Record) -> bool:
            return isinstance(record, MarkRecord) and record.token == token

        with self._hurried():
            if not self.broken:
                write(token, timeout)
            left = max(deadline - self._clock(), 0.0)
            records = self._log.wait(before, lambda new: bool(self.broken) or any(map(is_mark, new)), timeout=left)
        for index, record in enumerate(records):
            if is_mark(record):
                return before + index + 1
        if self.broken:
            raise EvidenceLost(f"marker {token} did not arrive: {self.broken}")
        raise EvidenceLost(
            f"{who} accepted marker {token}, but it did not arrive in {self.path} within {timeout:.0f} s", hint=hint
        )

    @contextlib.contextmanager
    def _hurried(self) -> Iterator[None]:
        """Read the file more often while a caller waits."""
        with self._waiting_lock:
            self._waiting += 1
        self._wake.set()
        try:
            yield
        finally:
            with self._waiting_lock:
                self._waiting -= 1

    def _follow(self) -> None:
        file: BinaryIO | None = None
        try:
            if self._replay:
                self._log.extend(self._decoder.feed(self._replay, self._wall()))
            last_data = self._clock()
            while True:
                # Checked before reading, so that everything written before the request to stop is read.
                stopping = self._stopping
                file = file or self._open()
                data = file.read(_CHUNK) if file else b""
                if data:
                    last_data = self._clock()
                    self._log.extend(self._decoder.feed(data, self._wall()))
                    self.taken += len(data)
                    continue
                if stopping:
                    break
                if rest := self._decoder.rest(self._clock() - last_data):
                    self._log.extend(rest)
                if self._wake.wait(HURRY_S if self._waiting else POLL_S):
                    self._wake.clear()
            self._log.extend(self._decoder.finish(self._wall()))
        except OSError as error:
            self._stop_loudly(f"{self._what} {self.path} cannot be read: {error}")
        except Exception as error:
            # A bug of the lab: without a record, the prints would end without a reason.
            self._stop_loudly(f"the lab cannot continue reading {self.path}: {type(error).__name__}: {error}")
        finally:
            if file is not None:
                file.close()

    def _stop_loudly(self, reason: str) -> None:
        """Record that no further print will come, and let every marker fail with the reason."""
        self.broken = reason
        with passed_over(_LOG, f"{self._what}: reading its last records", Exception):  # the decoder may be the cause
            self._log.extend(self._decoder.rest(float("inf")))
        self._log.extend([GapRecord(sequence=len(self._log), host_time=self._wall(), missing=0, reason=reason)])

    def _open(self) -> BinaryIO | None:
        try:
            return self.path.open("rb", buffering=0)
        except FileNotFoundError:
            return None
