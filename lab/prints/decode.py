"""Decodes Wine's debug lines, which the guest's print agent sends, into print records. Pure and incremental.

Seen with Wine 10.0 and ``WINEDEBUG=+timestamp,-all,warn+debugstr,+pid``: one DbgPrint call is one ``write`` of one line,
``1422.164:013c:017c:warn:debugstr:vDbgPrintExWithPrefix 00000065:00000008: text``; Wine ends it with a newline of its own
when the text has none, so a final newline of the text looks like Wine's. A text with newlines inside continues in lines without
a header.
"""

from __future__ import annotations

import codecs
import re

from lab.guest.lacks import function_name
from lab.prints.frame import Frame, Framer, Stray
from lab.prints.record import FaultRecord, GapRecord, MarkRecord, NoteRecord, PrintRecord, Record
from lab.prints.winefault import STUB_CALLED, WineFault, module_missing, raised, stub_called, unhandled_outside

# Wine writes the seconds three characters wide: numbers below 100 have leading blanks.
_WINE_LINE = re.compile(
    rb" {0,2}(?P<time>\d{1,12}\.\d{1,9}):(?P<process>[0-9a-f]{4,8}):(?P<thread>[0-9a-f]{4,8}):"
    rb"(?P<kind>[a-z]+):(?P<channel>\w+):(?P<function>\w+) ?(?P<text>.*)",
    re.DOTALL,
)
_PRINT_TEXT = re.compile(rb"([0-9a-f]{8}):([0-9a-f]{8}): ?(.*)", re.DOTALL)
#: The bit that LabCompat adds to the component of a print whose text differs from NT's: driver/wine-compat/prints.c.
_UNLIKE_NT = 0x40000000
_UNLIKE_NT_MASK = 0xC0000000
_PRINT_FUNCTION = b"vDbgPrintExWithPrefix"
_MARK = re.compile(rb"lab:mark:(\d{1,12}(?:\.\d{1,9})?):(\S+)")


def decode_text(raw: bytes, encoding: str) -> str:
    r"""Decode a print with the driver's encoding; undecodable bytes become ``\xNN``."""
    return raw.decode(encoding, "backslashreplace")


class _OpenPrint:
    """A print whose continuation lines may still come."""

    __slots__ = ("component", "guest_time", "host_time", "level", "lines", "thread")

    def __init__(self, host_time: float, guest_time: float, thread: str, component: int, level: int, first_line: bytes) -> None:
        self.host_time = host_time
        self.guest_time = guest_time
        self.thread = thread
        self.component = component
        self.level = level
        self.lines = [first_line]


class WineDecoder:
    """Turns the bytes of the print port into records.

    A print is held back until the next line shows that it has no continuation, or until :meth:`flush`.

    Args:
        encoding: The encoding of the driver's strings, for example ``utf-8`` or ``gbk``.
        first_line: Number of the line that comes first: 0 after a boot, another one in a fork of a guest that had
            already printed; None: any number.

    Raises:
        LookupError: There is no such encoding.
    """

    def __init__(self, encoding: str = "utf-8", *, first_line: int | None = 0) -> None:
        self._encoding = codecs.lookup(encoding).name
        self._framer = Framer()
        self._expected = first_line
        self._started = bool(first_line)
        self._sequence = 0
        self._open: _OpenPrint | None = None
        #: The call of a missing function: where, and which one. The line of the fault has only the address.
        self._stubs: dict[int, str] = {}

    @property
    def waiting(self) -> bool:
        """A complete print is held back, and nothing of the next line has come yet."""
        return self._open is not None and not self._framer.pending

    @property
    def next_line(self) -> int | None:
        """Number of the next line; None in the middle of one."""
        return None if self._framer.pending else self._expected

    def feed(self, data: bytes, host_time: float) -> list[Record]:
        """Decode the next bytes.

        Args:
            data: Any part of the stream, in order.
            host_time: Wall clock at which they were read, in seconds.
        """
        records: list[Record] = []
        for piece in self._framer.feed(data):
            self._take(piece, host_time, records)
        return records

    def flush(self) -> list[Record]:
        """Return the print that is held back, if there is one: it is complete."""
        records: list[Record] = []
        self._close_open(records)
        return records

    def finish(self, host_time: float) -> list[Record]:
        """End of the stream: return the print that is held back, and a line that was cut off."""
        records: list[Record] = []
        for piece in self._framer.finish():
            self._take(piece, host_time, records)
        self._close_open(records)
        return records

    def _take(self, piece: Frame | Stray, host_time: float, records: list[Record]) -> None:
        if isinstance(piece, Stray):
            self._take_stray(piece, host_time, records)
            return
        if self._expected is not None and piece.number != self._expected:
            self._close_open(records)
            missing = piece.number - self._expected
            reason = (
                f"{missing} line(s) before line {piece.number} did not arrive"
                if missing > 0
                else f"line {piece.number} came instead of line {self._expected}: the guest's print agent started again"
            )
            records.append(GapRecord(sequence=self._next(), host_time=host_time, missing=max(missing, 0), reason=reason))
        self._expected = piece.number + 1
        self._started = True
        self._take_line(piece.payload, host_time, records)

    def _take_stray(self, piece: Stray, host_time: float, records: list[Record]) -> None:
        self._close_open(records)
        if not self._started:
            # Firmware and kernel may write to the port before the agent opens it.
            self._note(piece.data, host_time, records)
            return
        shown = decode_text(piece.data[:80], "ascii")
        reason = f"damaged line: {len(piece.data)} byte(s) outside of every frame, beginning with {shown!r}"
        records.append(GapRecord(sequence=self._next(), host_time=host_time, missing=0, reason=reason))

    def _take_line(self, line: bytes, host_time: float, records: list[Record]) -> None:
        wine = _WINE_LINE.fullmatch(line)
        if wine is None:
            if line.startswith(b"wine: ") and self._take_last_words(line, host_time, records):
                return
            if self._open is not None and not line.startswith(b"lab:"):
                self._open.lines.append(line)
                return
            self._close_open(records)
            mark = _MARK.fullmatch(line)
            if mark is None:
                self._note(line, host_time, records)
            else:
                token = mark[2].decode("ascii", "backslashreplace")
                records.append(MarkRecord(sequence=self._next(), host_time=host_time, guest_time=float(mark[1]), token=token))
            return
        self._close_open(records)
        guest_time = float(wine["time"])
        text = _PRINT_TEXT.fullmatch(wine["text"]) if wine["function"] == _PRINT_FUNCTION else None
        if text is not None:
            thread = f"{wine['process'].decode()}:{wine['thread'].decode()}"
            self._open = _OpenPrint(host_time, guest_time, thread, int(text[1], 16), int(text[2], 16), text[3])
            return
        fault = raised(wine["text"]) if wine["kind"] == b"err" and wine["channel"] == b"seh" else None
        if fault is None:
            loader = wine["kind"] == b"err" and wine["channel"] == b"module"
            self._note(line, host_time, records, lacks=module_missing(wine["text"]) if loader else "")
            return
        self._fault(fault, wine["text"], host_time, guest_time, records)

    def _take_last_words(self, line: bytes, host_time: float, records: list[Record]) -> bool:
        """Take a line without header that Wine writes when a process ends; False if it is another line."""
        stub = stub_called(line)
        fault = unhandled_outside(line) if stub is None else None
        if stub is None and fault is None:
            return False
        self._close_open(records)
        if stub is not None:
            self._stubs[stub.address] = stub.lacks
            self._note(line, host_time, records)
        elif fault is not None:
            self._fault(fault, line, host_time, None, records)
        return True

    def _fault(self, fault: WineFault, said: bytes, host_time: float, guest_time: float | None, records: list[Record]) -> None:
        text = decode_text(said, "utf-8")
        lacks = fault.lacks
        if fault.code == STUB_CALLED:
            lacks = lacks or self._stubs.pop(fault.address, function_name("ntoskrnl.exe", "(unnamed)"))
        records.append(
            FaultRecord(
                sequence=self._next(),
                host_time=host_time,
                guest_time=guest_time,
                code=fault.code,
                parameters=(fault.address,),
                text=text,
                lacks=lacks,
            )
        )

    def _close_open(self, records: list[Record]) -> None:
        held = self._open
        if held is None:
            return
        self._open = None
        raw = b"\n".join(held.lines)
        # A component of -1, which DbgPrintEx accepts, too, has every bit set.
        marked = held.component & _UNLIKE_NT_MASK == _UNLIKE_NT
        records.append(
            PrintRecord(
                sequence=self._next(),
                host_time=held.host_time,
                guest_time=held.guest_time,
                source="wine",
                raw=raw,
                text=decode_text(raw, self._encoding),
                thread=held.thread,
                component=held.component & ~_UNLIKE_NT if marked else held.component,
                level=held.level,
                unlike_nt=marked,
            )
        )

    def _note(self, data: bytes, host_time: float, records: list[Record], *, lacks: str = "") -> None:
        text = decode_text(data, "utf-8")
        records.append(NoteRecord(sequence=self._next(), host_time=host_time, text=text, raw=data, lacks=lacks))

    def _next(self) -> int:
        number = self._sequence
        self._sequence += 1
        return number
