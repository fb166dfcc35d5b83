"""The line protocol of the guest's print agent: numbered frames, so that a lost line is always noticed.

A frame is ``0x1E <number> ; <payload bytes> ; <payload> LF``, both numbers decimal. Pure: bytes in, frames and damages out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Starts a frame.
START = 0x1E
#: A longer payload means a damaged length; a line of Wine's debug output has at most some kilobytes.
MAX_PAYLOAD = 64 * 1024

_HEADER = re.compile(rb"\x1e(\d{1,18});(\d{1,6});")
_HEADER_PREFIX = re.compile(rb"\x1e(?:\d{0,18}|\d{1,18};(?:\d{0,6}|\d{1,6};))\Z")


@dataclass(frozen=True, slots=True)
class Frame:
    """One intact line of the agent."""

    number: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Stray:
    """Bytes outside of intact frames."""

    data: bytes


class Framer:
    """Splits a byte stream into frames; the sizes of the reads do not matter."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._stray = bytearray()

    @property
    def pending(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame | Stray]:
        """Take the next bytes; return the frames and stray bytes that are complete, in order."""
        self._buffer += data
        found: list[Frame | Stray] = []
        while self._buffer:
            start = self._buffer.find(START)
            if start != 0:
                self._discard(len(self._buffer) if start < 0 else start)
                continue
            step = self._parse()
            if step is None:
                break
            if isinstance(step, Frame):
                self._flush_stray(found)
                found.append(step)
        return found

    def finish(self) -> list[Frame | Stray]:
        """Return the rest at the end of the stream as stray bytes."""
        found: list[Frame | Stray] = []
        self._discard(len(self._buffer))
        self._flush_stray(found)
        return found

    def _parse(self) -> Frame | bool | None:
        """A frame at the buffer's start; False when there can be none (one byte was dropped); None for 'need more'."""
        header = _HEADER.match(self._buffer)
        if header is None:
            if len(self._buffer) < 32 and _HEADER_PREFIX.match(self._buffer):
                return None
            self._discard(1)
            return False
        length = int(header[2])
        end = header.end() + length
        if length > MAX_PAYLOAD:
            self._discard(1)
            return False
        if len(self._buffer) <= end:
            return None
        if self._buffer[end] != 0x0A:
            self._discard(1)
            return False
        frame = Frame(int(header[1]), bytes(self._buffer[header.end() : end]))
        del self._buffer[: end + 1]
        return frame

    def _discard(self, count: int) -> None:
        self._stray += self._buffer[:count]
        del self._buffer[:count]

    def _flush_stray(self, found: list[Frame | Stray]) -> None:
        if self._stray:
            found.append(Stray(bytes(self._stray)))
            self._stray.clear()
