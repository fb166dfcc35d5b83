"""The print source of a guest whose kernel is debugged: follows what the collector process writes down."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from lab.errors import EvidenceLost
from lab.prints.decode import decode_text
from lab.prints.kd.record import AnyRecord, BugcheckText, Gap, Print, from_json, to_json
from lab.prints.log import RecordLog
from lab.prints.record import FaultRecord, GapRecord, MarkRecord, NoteRecord, PrintRecord, Record

#: What a marker looks like as a print; :class:`KdPrintSource` has the guest say it.
MARK_FORMAT = "lab:mark:{token}\n"
_MARK = re.compile(rb"lab:mark:(\S+)\s*")
_POLL_S = 0.005
_CHUNK = 1 << 20


class KdPrintSource:
    """Print source over the records of ``lab kd attach --jsonl``.

    A marker is a print that a program in the guest makes: the processors stand still for each print, so the order on the
    wire is the order in which the prints happened, whoever made them.

    Args:
        records: The file that the collector appends to; it may not exist yet.
        say: Has a program in the guest print this text as one call, and returns when it has.
        alive: Whether the collector still runs.
        encoding: Encoding of the drivers' strings.
        wall: Wall clock in seconds.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        records: Path,
        say: Callable[[str, float], None],
        *,
        alive: Callable[[], bool],
        encoding: str = "cp1252",
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = records
        self._say = say
        self._alive = alive
        self._encoding = encoding
        self._wall = wall
        self._clock = clock
        self._log = RecordLog(clock)
        self._partial = b""
        self._ended = ""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """``kd``."""
        return "kd"

    def start(self) -> None:
        """Begin to follow the collector from its first record."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name=f"prints {self._path.name}", daemon=True)
            self._thread.start()

    def records_since(self, position: int) -> list[Record]:
        """All records from index ``position`` on."""
        return self._log.since(position)

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        """Wait until ``until`` holds for the records from ``position`` on; see :class:`lab.prints.record.PrintSource`."""
        return self._log.wait(position, until, timeout=timeout)

    def mark(self, token: str, *, timeout: float) -> int:
        """Have the guest print a marker and wait until it arrives; see :class:`lab.prints.record.PrintSource`."""
        before = len(self._log)
        deadline = self._clock() + timeout

        def is_mark(record: Record) -> bool:
            return isinstance(record, MarkRecord) and record.token == token

        if not self._ended:
            self._say(MARK_FORMAT.format(token=token), timeout)
        left = max(deadline - self._clock(), 0.0)
        records = self._log.wait(before, lambda new: bool(self._ended) or any(map(is_mark, new)), timeout=left)
        for index, record in enumerate(records):
            if is_mark(record):
                return before + index + 1
        if self._ended:
            raise EvidenceLost(f"marker {token} did not arrive: {self._ended}", hint=f"what came is in {self._path}")
        raise EvidenceLost(
            f"the guest was told to print marker {token}, and it did not arrive in {self._path} within {timeout:.0f} s",
            hint="the guest hangs or stands at a stop (that file's last records tell), or its Debug Print Filter is not set",
        )

    def close(self) -> None:
        """Read what has already arrived and stop."""
        if self._thread is not None:
            self._stopping.set()
            self._thread.join()
            self._thread = None

    def _follow(self) -> None:
        file: BinaryIO | None = None
        try:
            while True:
                # Asked before reading: what a collector wrote before its end is read in any case.
                stopping, alive = self._stopping.is_set(), self._alive()
                file = file or self._open()
                data = file.read(_CHUNK) if file else b""
                if data:
                    self._take(data)
                elif stopping:
                    return
                elif not alive:
                    self._end("the collector of the debugger port ended", gap=False)
                    return
                else:
                    self._stopping.wait(_POLL_S)
        except (OSError, ValueError) as error:
            self._end(f"the records of the debugger port cannot be read: {error}", gap=True)
        finally:
            if file is not None:
                file.close()

    def _end(self, reason: str, *, gap: bool) -> None:
        """Nothing follows any more: markers fail with the reason.

        The collector ends when its virtual machine does, which loses nothing; to be unable to read it loses everything.
        """
        self._ended = reason
        sequence, now = len(self._log), self._wall()
        self._log.extend(
            [
                GapRecord(sequence=sequence, host_time=now, missing=0, reason=reason)
                if gap
                else NoteRecord(sequence=sequence, host_time=now, text=reason)
            ]
        )

    def _open(self) -> BinaryIO | None:
        try:
            return self._path.open("rb", buffering=0)
        except FileNotFoundError:
            return None

    def _take(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        first = len(self._log)
        records = [from_json(line.decode("utf-8")) for line in lines]
        self._log.extend([self._convert(record, first + index) for index, record in enumerate(records)])

    def _convert(self, record: AnyRecord, sequence: int) -> Record:
        host_time = record.time if record.time is not None else self._wall()
        if isinstance(record, Print):
            if match := _MARK.fullmatch(record.raw):
                token = match[1].decode("ascii", "backslashreplace")
                return MarkRecord(sequence=sequence, host_time=host_time, guest_time=None, token=token)
            return PrintRecord(
                sequence=sequence,
                host_time=host_time,
                guest_time=None,
                source="kd",
                raw=record.raw,
                text=decode_text(record.raw, self._encoding),
                cpu=record.cpu,
            )
        if isinstance(record, BugcheckText):
            parameters = ", ".join(f"{parameter:#x}" for parameter in record.parameters)
            return FaultRecord(
                sequence=sequence,
                host_time=host_time,
                guest_time=None,
                code=record.code,
                parameters=record.parameters,
                text=f"*** Fatal System Error: {record.code:#010x} ({parameters})",
            )
        if isinstance(record, Gap):
            return GapRecord(sequence=sequence, host_time=host_time, missing=0, reason=record.reason)
        return NoteRecord(sequence=sequence, host_time=host_time, text=to_json(record, self._encoding))
