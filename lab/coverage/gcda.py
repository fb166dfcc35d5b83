"""Files of counters (``.gcda``), as GCC 12 and later write them.

A header of four words: ``gcda``, the compiler's version, a stamp and a checksum, which belong to the notes (``.gcno``). Then
records: a tag, a length in bytes, the content. A function's record has three words, which identify it. The record of counters
after it has 64-bit numbers; a negative length stands for that many zero bytes, which are left out. Words have 32 bits, the low
byte first. (gcc/gcov-io.h.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from lab.errors import LabError

_HEAD = struct.Struct("<4sIII")
_RECORD = struct.Struct("<Ii")
_FUNCTION = struct.Struct("<III")
_SUMMARY = struct.Struct("<II")
_MAGIC = b"adcg"  # "gcda" as a little-endian word
_TAG_FUNCTION = 0x01000000
_TAG_ARCS = 0x01A10000
_TAG_SUMMARY = 0xA1000000

#: Identity of a function: GCC's number of it, the checksum of its lines, the checksum of its flow graph.
Function = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Counters:
    """The counters of one source.

    Attributes:
        version: The compiler's, as in the file.
        stamp: Of the notes.
        checksum: Of the notes.
        counts: Function → its counters. Functions that never ran are left out.
    """

    version: int
    stamp: int
    checksum: int
    counts: Mapping[Function, tuple[int, ...]]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a file.

        Raises:
            LabError: It is no such file, or it is cut off.
        """
        try:
            magic, version, stamp, checksum = _HEAD.unpack_from(data)
            if magic != _MAGIC:
                raise ValueError(f"it begins with {magic!r}")
            return cls(version, stamp, checksum, dict(_functions(data)))
        except (struct.error, ValueError) as error:
            raise LabError(
                f"the counters of a driver cannot be read: {error}",
                hint="build the driver again with GCC 12 or later: delete the folder `coverage` in its folder of builds",
            ) from error

    def bytes(self) -> bytes:
        """The file that gcov reads."""
        parts = [_HEAD.pack(_MAGIC, self.version, self.stamp, self.checksum)]
        parts += [_RECORD.pack(_TAG_SUMMARY, _SUMMARY.size), _SUMMARY.pack(1, 0)]
        for function, counts in self.counts.items():
            parts += [_RECORD.pack(_TAG_FUNCTION, _FUNCTION.size), _FUNCTION.pack(*function)]
            parts += [_RECORD.pack(_TAG_ARCS, 8 * len(counts)), struct.pack(f"<{len(counts)}Q", *counts)]
        return b"".join(parts)

    def since(self, before: Counters) -> Counters:
        """What was counted after ``before``."""
        left: dict[Function, tuple[int, ...]] = {}
        for function, counts in self.counts.items():
            old = before.counts.get(function, (0,) * len(counts))
            new = tuple(now - then for now, then in zip(counts, old, strict=True))
            if any(new):
                left[function] = new
        return Counters(self.version, self.stamp, self.checksum, left)

    def plus(self, other: Counters) -> Counters:
        """The sum of both.

        Raises:
            LabError: They are of two builds.
        """
        if (self.version, self.stamp, self.checksum) != (other.version, other.stamp, other.checksum):
            raise LabError("counters of two builds of a driver cannot be added up", hint="build the driver once for the run")
        total = dict(self.counts)
        for function, counts in other.counts.items():
            old = total.get(function, (0,) * len(counts))
            total[function] = tuple(one + two for one, two in zip(counts, old, strict=True))
        return Counters(self.version, self.stamp, self.checksum, total)


def total(several: Iterable[Counters]) -> Counters | None:
    """The sum of some counters of one source; None for none."""
    found: Counters | None = None
    for one in several:
        found = one if found is None else found.plus(one)
    return found


def _functions(data: bytes) -> Iterable[tuple[Function, tuple[int, ...]]]:
    at, function = _HEAD.size, None
    while at + _RECORD.size <= len(data):
        tag, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if tag == 0:
            return
        stored = max(length, 0)
        if at + stored > len(data):
            raise ValueError(f"a record of {stored} bytes is cut off")
        if tag == _TAG_FUNCTION:
            function = _FUNCTION.unpack_from(data, at) if length else None
        elif tag == _TAG_ARCS and function is not None and length > 0:
            counts = struct.unpack_from(f"<{length // 8}Q", data, at)
            if any(counts):
                yield function, counts
        at += stored
