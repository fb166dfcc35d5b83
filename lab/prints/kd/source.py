"""The print source of a guest whose kernel is debugged: follows the records of the collector process."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from lab.crash.hang import Breaker
from lab.errors import EvidenceLost, LabError
from lab.prints.decode import decode_text
from lab.prints.kd.control import Status
from lab.prints.kd.record import (
    AnyRecord,
    BugcheckText,
    Console,
    End,
    ExceptionStop,
    Gap,
    Load,
    Note,
    Print,
    Prompt,
    Unload,
    from_json,
)
from lab.prints.kd.resumable import KdResumable
from lab.prints.log import RecordLog
from lab.prints.record import EventRecord, FaultRecord, GapRecord, MarkRecord, NoteRecord, PrintRecord, Record
from lab.prints.timer import GuestTimer

#: The text of a marker, which a program in the guest prints for :class:`KdPrintSource`.
MARK_FORMAT = "lab:mark:{token}\n"
_MARK = re.compile(rb"lab:mark:(\S+)\s*")
_POLL_S = 0.005
_SETTLE_S = 1.0
_CHUNK = 1 << 20


class KdPrintSource:
    """Print source over the records of a collector, see :mod:`lab.prints.kd.attach`.

    A marker is a print of a program in the guest. All processors stop for each print, so the order on the wire is the order of
    the prints, from any process.

    Args:
        records: The file that the collector appends to; it may not exist yet.
        say: Makes a program in the guest print this text with one call; returns when it is printed. A LabError means that it is
            not.
        alive: Whether the collector still runs.
        break_in: Stops the target; returns whether it stopped within a number of seconds.
        let_go: Called when the source is closed, before its last read: waits for the end of the collector if its VM has ended.
        status: Asks the collector for the state of its session; None: the guest cannot become a template.
        hang_up: Closes the connection of ``say``; its next call opens another.
        replay: Records of before the snapshot that come first, as in the file.
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
        break_in: Callable[[float], bool],
        let_go: Callable[[], None] = lambda: None,
        status: Callable[[], Status] | None = None,
        hang_up: Callable[[], None] = lambda: None,
        replay: bytes = b"",
        encoding: str = "cp1252",
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = records
        self._say = say
        self._alive = alive
        self._break_in = break_in
        self._let_go = let_go
        self._encoding = encoding
        self._wall = wall
        self._clock = clock
        self._log = RecordLog(clock)
        self._replay = replay
        #: Records that were read from the file.
        self._read = 0
        self._resumable: KdResumable | None = None
        if status is not None:
            self._resumable = KdResumable(records, status=status, read=lambda: self._read, hang_up=hang_up, replay=replay)
        self._partial = b""
        self._ended = ""
        self._standing = ""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """``kd``."""
        return "kd"

    @property
    def resumable(self) -> KdResumable | None:
        """Continues the packet ids in a fork; None without a collector that can be asked for them."""
        return self._resumable

    @property
    def timer(self) -> GuestTimer | None:
        """None: the debugger has no clock of the guest."""
        return None

    @property
    def breaker(self) -> Breaker:
        """The source itself: its collector is a kernel debugger."""
        return self

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

        def is_decided(new: list[Record]) -> bool:
            return bool(self._mute) or any(map(is_mark, new))

        if not self._mute:
            try:
                self._say(MARK_FORMAT.format(token=token), timeout)
            except LabError as error:
                # If the lab knows a reason, it may come a moment later than the guest's silence.
                self._log.wait(
                    before, lambda _new: bool(self._mute), timeout=min(_SETTLE_S, max(deadline - self._clock(), 0.0))
                )
                reason = self._mute or error.message
                raise EvidenceLost(f"the guest could not print marker {token}: {reason}", hint=error.hint) from error
        records = self._log.wait(before, is_decided, timeout=max(deadline - self._clock(), 0.0))
        for index, record in enumerate(records):
            if is_mark(record):
                return before + index + 1
        if self._mute:
            raise EvidenceLost(f"marker {token} did not arrive: {self._mute}", hint=f"the records are in {self._path}")
        raise EvidenceLost(
            f"the guest was asked to print marker {token}, but it did not arrive in {self._path} within {timeout:.0f} s",
            hint="the guest hangs (see the last records of that file), or its Debug Print Filter is not set",
        )

    @property
    def _mute(self) -> str:
        """Why no marker can come; empty if one can."""
        return self._ended or self._standing

    def break_in(self, timeout: float) -> bool:
        """Ask the kernel to stop, to examine a guest that hangs; see :class:`lab.crash.hang.Breaker`.

        Args:
            timeout: Seconds.

        Returns:
            Whether it stopped. A kernel with interrupts off does not.

        Raises:
            TransportError: The collector does not answer.
        """
        return self._break_in(timeout)

    def close(self) -> None:
        """Read what has already arrived and stop."""
        if self._thread is not None:
            self._let_go()
            self._stopping.set()
            self._thread.join()
            self._thread = None

    def _follow(self) -> None:
        file: BinaryIO | None = None
        try:
            for line in self._replay.splitlines():
                self._take_record(line)
            while True:
                # Checked before reading, so that everything that a collector wrote before its end is read.
                stopping, alive = self._stopping.is_set(), self._alive()
                file = file or self._open()
                data = file.read(_CHUNK) if file else b""
                if data:
                    self._take(data)
                    if self._ended:
                        return
                elif stopping:
                    return
                elif not alive:
                    self._end("the collector of the debugger port ended without a message", gap=True)
                    return
                else:
                    self._stopping.wait(_POLL_S)
        except (OSError, ValueError) as error:
            self._end(f"the records of the debugger port cannot be read: {error}", gap=True)
        except Exception as error:
            # A bug of the lab: without a record, the prints would end without a reason.
            self._end(f"the lab cannot continue reading {self._path}: {type(error).__name__}: {error}", gap=True)
        finally:
            if file is not None:
                file.close()

    def _end(self, reason: str, *, gap: bool) -> None:
        """Note that no record will follow: markers fail with this reason.

        If the collector reports that its VM ended, nothing is lost. Any other end may lose prints.
        """
        sequence, now = len(self._log), self._wall()
        last: Record = NoteRecord(sequence=sequence, host_time=now, text=reason)
        if gap:
            last = GapRecord(sequence=sequence, host_time=now, missing=0, reason=reason)
        # Set first: a thread that this record wakes reads it.
        self._ended = reason
        self._log.extend([last])

    def _open(self) -> BinaryIO | None:
        try:
            return self._path.open("rb", buffering=0)
        except FileNotFoundError:
            return None

    def _take(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._take_record(line)
            self._read += 1
            if self._ended:
                return

    def _take_record(self, line: bytes) -> None:
        record = from_json(line.decode("utf-8"))
        if isinstance(record, End):
            self._end(record.reason, gap=not record.complete)
            return
        # A stopped kernel sends nothing, and continues only when it is released.
        held = isinstance(record, ExceptionStop) and record.action == "hold"
        if held:
            self._standing = "the guest's kernel has stopped, and its debugger does not continue it"
        elif not isinstance(record, Note):
            self._standing = ""
        self._log.extend([self._convert(record, len(self._log))])

    def _convert(self, record: AnyRecord, sequence: int) -> Record:
        host_time = record.time if record.time is not None else self._wall()
        match record:
            case Print():
                if mark := _MARK.fullmatch(record.raw):
                    token = mark[1].decode("ascii", "backslashreplace")
                    return MarkRecord(sequence=sequence, host_time=host_time, guest_time=None, token=token)
                return PrintRecord(
                    sequence=sequence,
                    host_time=host_time,
                    guest_time=None,
                    source="kd",
                    raw=record.raw,
                    text=decode_text(record.raw, self._encoding),
                    cpu=record.cpu,
                    in_step=True,
                )
            case BugcheckText():
                parameters = ", ".join(f"{parameter:#x}" for parameter in record.parameters)
                return FaultRecord(
                    sequence=sequence,
                    host_time=host_time,
                    guest_time=None,
                    code=record.code,
                    parameters=record.parameters,
                    text=f"*** Fatal System Error: {record.code:#010x} ({parameters})",
                )
            case Gap():
                return GapRecord(sequence=sequence, host_time=host_time, missing=0, reason=record.reason)
            case Load() | Unload() | ExceptionStop() | Prompt():
                text = _words(record, self._encoding)
                return EventRecord(sequence=sequence, host_time=host_time, kind=record.kind, text=text)
            case Console():
                return NoteRecord(
                    sequence=sequence, host_time=host_time, text=decode_text(record.raw, self._encoding), raw=record.raw
                )
            case Note():
                return NoteRecord(sequence=sequence, host_time=host_time, text=record.text)
            case End():
                return NoteRecord(sequence=sequence, host_time=host_time, text=record.reason)


def _words(record: Load | Unload | ExceptionStop | Prompt, encoding: str) -> str:
    match record:
        case Load() | Unload():
            return f"{record.path or '(no name)'} at {record.base:#x}, {record.size} bytes"
        case ExceptionStop():
            chance = "first" if record.first_chance else "second"
            return f"{record.code:#010x} at {record.address:#x} on CPU {record.cpu}, {chance} chance: {record.action}"
        case Prompt():
            return f"{decode_text(record.raw, encoding).strip()} (answered {record.answer!r})"
