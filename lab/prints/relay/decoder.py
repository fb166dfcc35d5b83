"""Decodes the print relay's records; missing records are counted by their numbers. Pure and incremental."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from lab.prints.decode import decode_text
from lab.prints.record import GapRecord, MarkRecord, NoteRecord, PrintRecord, Record
from lab.prints.relay.frame import BYE, HELLO, MARK, PRINT, STRAY_MAX, TRUNCATED, VERSION, Frame, Framer, Stray

_SECOND: Final = 10_000_000  # units of 100 ns
_NUMBERS: Final = 1 << 32
_CHUNK: Final = 1 << 20
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class RelayPosition:
    """The position of a print relay. It is stored with a template, because its forks' logs begin in the middle of a session.

    Attributes:
        session: The print relay's session.
        sequence: Number of the next record.
        unloaded: The last record was the relay's goodbye.
    """

    session: int
    sequence: int
    unloaded: bool = False


class RelayDecoder:
    """Turns the bytes of the debug console into records.

    Each absent number is a missing print: the driver dropped it, or its bytes were damaged or never written. Other bytes are
    only a note if no number is missing after them.

    Args:
        encoding: Encoding of the drivers' strings.
        resume: Position of the print relay at the snapshot; None: the log begins with the guest's boot.

    Raises:
        LookupError: There is no such encoding.
    """

    def __init__(self, encoding: str = "cp1252", resume: RelayPosition | None = None) -> None:
        self._encoding = codecs.lookup(encoding).name
        self._framer = Framer()
        self._position = resume
        self._sequence = 0
        self._strays: list[Stray] = []
        self._stray_bytes = 0

    @property
    def position(self) -> RelayPosition | None:
        """Position of the print relay after the last record; None before the first."""
        return self._position

    @property
    def tail(self) -> bytes | None:
        """All bytes after the last record: the beginning of the next one, usually nothing. None: too many to be kept.

        Another decoder that begins at :attr:`position` and gets these bytes first goes on as this one would.
        """
        kept = b"".join(stray.data for stray in self._strays)
        return kept + self._framer.tail if len(kept) == self._stray_bytes else None

    def feed(self, data: bytes, host_time: float = 0.0) -> list[Record]:
        """Decode the next bytes.

        Args:
            data: Any part of the log, in order.
            host_time: Wall clock at which they were read, in seconds.
        """
        records: list[Record] = []
        for piece in self._framer.feed(data):
            self._take(piece, host_time, records)
        return records

    def finish(self, host_time: float = 0.0) -> list[Record]:
        """End of the log: return the records that were held back or cut off."""
        records: list[Record] = []
        for piece in self._framer.finish():
            self._take(piece, host_time, records)
        if self._strays:
            here = self._position
            damaged = [seq for stray in self._strays for session, seq in stray.headers if here and session == here.session]
            missing = max(((seq - here.sequence) % _NUMBERS + 1 for seq in damaged), default=0) if here else 0
            self._gap(missing, f"the log ends in {self._stray_words()}", host_time, records)
        return records

    def _take(self, piece: Frame | Stray, host_time: float, records: list[Record]) -> None:
        if isinstance(piece, Stray):
            self._stray_bytes += len(piece.data)
            # A file of gigabytes may turn out not to be a log: only its beginning is kept, for the note.
            if len(self._strays) < 2:
                self._strays.append(piece)
            return
        self._account(piece, host_time, records)
        self._position = RelayPosition(piece.session, (piece.sequence + 1) % _NUMBERS, unloaded=piece.kind == BYE)
        self._convert(piece, host_time, records)

    def _account(self, frame: Frame, host_time: float, records: list[Record]) -> None:
        """Record what is missing before a frame, or that foreign bytes precede it."""
        here, number = self._position, frame.sequence
        if here is None:
            if number:
                self._gap(
                    number, f"the log begins with record {number} of the print relay, not with its first", host_time, records
                )
        elif frame.session != here.session:
            what = "the print relay was loaded again; prints in between are missing"
            if not here.unloaded:
                what = (
                    "the guest started again; its last prints may be missing, and those before its print relay was loaded"
                    " are missing"
                )
            also = f"; so are the first {number} of the print relay itself" if number else ""
            self._gap(number, what + also, host_time, records)
        elif number != here.sequence:
            missing = (number - here.sequence) % _NUMBERS
            if missing < _NUMBERS // 2:
                self._gap(missing, f"{missing} record(s) before record {number} did not arrive", host_time, records)
            else:
                reason = f"record {number} came instead of record {here.sequence}"
                self._gap(0, reason, host_time, records)
        if self._strays:
            raw = b"".join(stray.data for stray in self._strays)[:STRAY_MAX]
            text = f"{self._stray_words()}, and no record is missing"
            records.append(NoteRecord(sequence=self._next(), host_time=host_time, text=text, raw=raw))
            self._forget_strays()

    def _convert(self, frame: Frame, host_time: float, records: list[Record]) -> None:
        guest_time = frame.time / _SECOND
        if frame.kind == PRINT:
            records.append(
                PrintRecord(
                    sequence=self._next(),
                    host_time=host_time,
                    guest_time=guest_time,
                    source="relay",
                    raw=frame.text,
                    text=decode_text(frame.text, self._encoding),
                    cpu=frame.cpu,
                    component=frame.component,
                    level=frame.level,
                )
            )
            if frame.flags & TRUNCATED:
                self._note("the print before this was longer; the print relay cut it", b"", host_time, records)
        elif frame.kind == MARK:
            token = frame.text.decode("ascii", "backslashreplace")
            records.append(MarkRecord(sequence=self._next(), host_time=host_time, guest_time=guest_time, token=token))
        else:
            words = {HELLO: "the print relay begins", BYE: "the print relay is unloaded; later prints are missing"}
            what = words.get(frame.kind, f"a record of kind {frame.kind}, which this version of the lab does not know")
            said = f": {decode_text(frame.text, self._encoding)}" if frame.text else ""
            self._note(what + said, frame.text, host_time, records)

    def _note(self, text: str, raw: bytes, host_time: float, records: list[Record]) -> None:
        records.append(NoteRecord(sequence=self._next(), host_time=host_time, text=text, raw=raw))

    def _gap(self, missing: int, reason: str, host_time: float, records: list[Record]) -> None:
        if self._strays and not reason.startswith("the log ends"):
            reason += f"; before it are {self._stray_words()}"
        records.append(GapRecord(sequence=self._next(), host_time=host_time, missing=missing, reason=reason))
        self._forget_strays()

    def _stray_words(self) -> str:
        first = self._strays[0].data[:_SHOWN]
        words = f"{self._stray_bytes} byte(s) that are not a complete record, beginning with {first!r}"
        versions = {version for stray in self._strays for version in stray.versions}
        if versions:
            listed = ", ".join(str(version) for version in sorted(versions))
            words += f" (from a print relay of version {listed}; this lab reads version {VERSION})"
        return words

    def _forget_strays(self) -> None:
        self._strays.clear()
        self._stray_bytes = 0

    def _next(self) -> int:
        number = self._sequence
        self._sequence += 1
        return number


def decode_file(
    stream: BinaryIO, encoding: str = "cp1252", *, resume: RelayPosition | None = None, tail: bytes = b""
) -> Iterator[Record]:
    """The records of a log, one by one; their host times are 0, because a log has none.

    Args:
        stream: The log.
        encoding: Encoding of the drivers' strings.
        resume: Position of the print relay where the log begins; None: the log begins with the guest's boot.
        tail: The bytes of the record in whose middle the log begins.
    """
    decoder = RelayDecoder(encoding, resume)
    yield from decoder.feed(tail)
    while data := stream.read(_CHUNK):
        yield from decoder.feed(data)
    yield from decoder.finish()
