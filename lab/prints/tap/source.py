"""The print source of a guest with the tap: follows the file that QEMU writes its debug console to."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from lab.errors import EvidenceLost, GuestError
from lab.prints.log import RecordLog
from lab.prints.record import GapRecord, MarkRecord, Record
from lab.prints.tap.decoder import TapDecoder, TapPosition

#: The log of :attr:`lab.vm.spec.VmSpec.debug_port` in a machine's run folder.
LOG_FILE = "debugcon.log"
#: How often the file is looked at, in seconds: the granularity of host times.
POLL_S = 0.01
#: The same while somebody waits for a record.
HURRY_S = 0.001
_CHUNK = 1 << 20


def _nothing() -> None:
    """Nobody's connection to let go of."""


class TapPrintSource:
    """Print source over a file chardev: QEMU never blocks on it, and the file itself is the raw evidence.

    A print is in the file when the guest's DbgPrint returns. So a mark that the tap writes afterwards stands behind it,
    whichever processor printed.

    Args:
        path: The log; it may not exist yet.
        write_mark: Has the guest's tap write a mark with this token, within some seconds, and returns when it has.
        encoding: Encoding of the drivers' strings.
        resume: Where the tap of a frozen guest stood; None: the log begins with the guest's boot.
        on_close: Called at the end of :meth:`close`; what ``write_mark`` keeps open is let go there.
        wall: Wall clock in seconds.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        path: Path,
        write_mark: Callable[[str, float], None],
        *,
        encoding: str = "cp1252",
        resume: TapPosition | None = None,
        on_close: Callable[[], None] = _nothing,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._write_mark = write_mark
        self._decoder = TapDecoder(encoding, resume)
        self._on_close = on_close
        self._wall = wall
        self._clock = clock
        self._log = RecordLog(clock)
        self._broken = ""
        self._stopping = False
        self._wake = threading.Event()
        self._waiting = 0
        self._waiting_lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """``tap``."""
        return "tap"

    @property
    def raw_file(self) -> Path:
        """The file that holds every byte of the debug console."""
        return self._path

    @property
    def position(self) -> TapPosition | None:
        """Where the tap stands behind the last record that was read; to be kept with a guest that is frozen."""
        return self._decoder.position

    def start(self) -> None:
        """Begin to follow the file from its first byte."""
        if self._thread is None:
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
        """Have the tap write a mark and wait until it arrives; see :class:`lab.prints.record.PrintSource`.

        Args:
            token: Printable ASCII without blanks, at most 128 characters; unique in this guest's life.
            timeout: Seconds for all of it.
        """
        before = len(self._log)
        deadline = self._clock() + timeout

        def is_mark(record: Record) -> bool:
            return isinstance(record, MarkRecord) and record.token == token

        with self._hurried():
            if not self._broken:
                self._have_written(token, timeout)
            left = max(deadline - self._clock(), 0.0)
            records = self._log.wait(before, lambda new: bool(self._broken) or any(map(is_mark, new)), timeout=left)
        for index, record in enumerate(records):
            if is_mark(record):
                return before + index + 1
        if self._broken:
            raise EvidenceLost(f"marker {token} did not arrive: {self._broken}")
        raise EvidenceLost(
            f"the guest's tap wrote marker {token}, and it did not arrive in {self._path} within {timeout:.0f} s",
            hint="a full disk would explain it; `lab tap decode` on that file shows what came",
        )

    def close(self) -> None:
        """Read what has already arrived and stop."""
        if self._thread is not None:
            self._stopping = True
            self._wake.set()
            self._thread.join()
            self._thread = None
            self._on_close()

    def _have_written(self, token: str, timeout: float) -> None:
        try:
            self._write_mark(token, timeout)
        except EvidenceLost:
            raise
        except GuestError as error:
            raise EvidenceLost(
                f"the guest's tap was not reached for marker {token}: {error.message}", hint=error.hint
            ) from error

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

    def _follow(self) -> None:
        file: BinaryIO | None = None
        try:
            while True:
                # Asked before reading: what was written before the end was asked for is read in any case.
                stopping = self._stopping
                file = file or self._open()
                data = file.read(_CHUNK) if file else b""
                if data:
                    self._log.extend(self._decoder.feed(data, self._wall()))
                elif stopping:
                    break
                elif self._wake.wait(HURRY_S if self._waiting else POLL_S):
                    self._wake.clear()
            self._log.extend(self._decoder.finish(self._wall()))
        except OSError as error:
            self._stop_loudly(f"the log of the debug console {self._path} cannot be read: {error}")
        except Exception as error:
            # A bug of the lab: without a record of it, the prints would just end.
            self._stop_loudly(f"the lab cannot go on reading {self._path}: {type(error).__name__}: {error}")
        finally:
            if file is not None:
                file.close()

    def _stop_loudly(self, reason: str) -> None:
        """Record that no print will follow any more, and have every marker fail with the reason."""
        self._broken = reason
        self._log.extend([GapRecord(sequence=len(self._log), host_time=self._wall(), missing=0, reason=reason)])

    def _open(self) -> BinaryIO | None:
        try:
            return self._path.open("rb", buffering=0)
        except FileNotFoundError:
            return None
