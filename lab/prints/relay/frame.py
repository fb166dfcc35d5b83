"""The print relay's records in a byte stream: found, checked, and separated from other bytes.

The format is described in ``driver/relay/record.h``. Pure: bytes in, frames and strays out; the sizes of the reads do not
matter.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Final

MAGIC: Final = b"\xfeTAP"
VERSION: Final = 1
#: magic, version, kind, flags, session, sequence, time, cpu, length, component, level, check of the text
_HEADER: Final = struct.Struct("<4sBBHIIQHHIII")
_CHECK: Final = struct.Struct("<I")
HEADER_SIZE: Final = _HEADER.size + _CHECK.size
TEXT_MAX: Final = 4096
#: Strays are returned in pieces of at most this size.
STRAY_MAX: Final = 64 * 1024

HELLO: Final = 0
PRINT: Final = 1
MARK: Final = 2
BYE: Final = 3
#: Flag: the text was longer than :data:`TEXT_MAX`.
TRUNCATED: Final = 0x0001


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One intact record.

    Attributes:
        kind: :data:`HELLO`, :data:`PRINT`, :data:`MARK`, :data:`BYE`, or a number that this version does not know.
        flags: :data:`TRUNCATED` or nothing.
        session: A number that differs for each load of the driver.
        sequence: Number within the session, modulo 2**32.
        time: Guest interrupt time in units of 100 ns.
        cpu: Processor of the print.
        component: DPFLTR component id.
        level: DPFLTR level.
        text: The text's bytes.
    """

    kind: int
    session: int
    sequence: int
    text: bytes
    time: int = 0
    cpu: int = 0
    component: int = 0
    level: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Stray:
    """Bytes that belong to no intact record.

    Attributes:
        data: The bytes.
        headers: Session and sequence of each intact header among them whose text is damaged or cut off.
        versions: Versions of intact headers that this module cannot read.
    """

    data: bytes
    headers: tuple[tuple[int, int], ...] = ()
    versions: tuple[int, ...] = ()


def encode(frame: Frame) -> bytes:
    """The bytes of a record, as the driver writes them."""
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        frame.kind,
        frame.flags,
        frame.session,
        frame.sequence,
        frame.time,
        frame.cpu,
        len(frame.text),
        frame.component,
        frame.level,
        zlib.crc32(frame.text),
    )
    return header + _CHECK.pack(zlib.crc32(header)) + frame.text


@dataclass(slots=True)
class _Strays:
    """The bytes that were skipped since the last frame."""

    data: bytearray = field(default_factory=bytearray)
    headers: list[tuple[int, int]] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)

    def take(self, found: list[Frame | Stray]) -> None:
        if self.data:
            found.append(Stray(bytes(self.data), tuple(self.headers), tuple(self.versions)))
            self.data.clear()
            self.headers.clear()
            self.versions.clear()


class Framer:
    """Cuts a byte stream into records.

    A header counts if its checksum is right; then the text has the length that it states, whatever the text contains. If a
    checksum is wrong, the search continues one byte further, so that no intact record after or within damaged bytes is missed.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._strays = _Strays()

    @property
    def pending(self) -> int:
        """Bytes that wait for the rest of their record."""
        return len(self._buffer)

    @property
    def tail(self) -> bytes:
        """The bytes that came after everything that was returned so far."""
        return bytes(self._strays.data + self._buffer)

    def feed(self, data: bytes) -> list[Frame | Stray]:
        """Take the next bytes; return the frames and strays that are complete, in order."""
        self._buffer += data
        return self._scan(last=False)

    def finish(self) -> list[Frame | Stray]:
        """End of the stream: an incomplete record becomes stray bytes, except intact records within it."""
        found = self._scan(last=True)
        self._strays.take(found)
        return found

    def _scan(self, *, last: bool) -> list[Frame | Stray]:
        found: list[Frame | Stray] = []
        at = 0
        while True:
            begin = self._buffer.find(MAGIC, at)
            if begin < 0:
                begin = len(self._buffer) - (0 if last else _begun_magic(self._buffer, at))
            self._pass_over(at, begin, found)
            at = begin
            if at == len(self._buffer):
                break
            end = self._frame_at(at, found, last=last)
            if end is None:
                break
            if end == at:
                self._pass_over(at, at + 1, found)
                at += 1
            else:
                at = end
        del self._buffer[:at]
        return found

    def _frame_at(self, at: int, found: list[Frame | Stray], *, last: bool) -> int | None:
        """The end of the frame that begins here; ``at`` itself if there is none; None if more bytes are needed."""
        body = at + HEADER_SIZE
        if len(self._buffer) < body:
            return at if last else None
        (check,) = _CHECK.unpack_from(self._buffer, at + _HEADER.size)
        if zlib.crc32(self._buffer[at : at + _HEADER.size]) != check:
            return at
        fields = _HEADER.unpack_from(self._buffer, at)
        _, version, kind, flags, session, sequence, time, cpu, length, component, level, text_check = fields
        if version != VERSION:
            self._strays.versions.append(version)
            return at
        end: int = body + length
        if length > TEXT_MAX:
            return at
        if len(self._buffer) < end and not last:
            return None
        text = bytes(self._buffer[body:end])
        if len(text) < length or zlib.crc32(text) != text_check:
            self._strays.headers.append((session, sequence))
            return at
        self._strays.take(found)
        found.append(
            Frame(
                kind=kind,
                flags=flags,
                session=session,
                sequence=sequence,
                time=time,
                cpu=cpu,
                component=component,
                level=level,
                text=text,
            )
        )
        return end

    def _pass_over(self, begin: int, end: int, found: list[Frame | Stray]) -> None:
        while begin < end:
            piece = self._buffer[begin : min(end, begin + STRAY_MAX - len(self._strays.data))]
            self._strays.data += piece
            begin += len(piece)
            if len(self._strays.data) >= STRAY_MAX:
                self._strays.take(found)


def _begun_magic(buffer: bytearray, at: int) -> int:
    """Number of bytes at the end that may be the beginning of a magic."""
    for length in range(min(len(MAGIC) - 1, len(buffer) - at), 0, -1):
        if buffer.endswith(MAGIC[:length]):
            return length
    return 0
