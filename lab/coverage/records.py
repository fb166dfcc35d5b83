"""The records of the driver that collects counters (``driver/coverage/labcov.h``)."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lab.coverage.gcda import Counters
from lab.errors import TransportError
from lab.toolchain.instrument import note_of

#: Size of what is in front of all records.
HEAD_SIZE = 16
_HEAD = struct.Struct("<4sIII")
_RECORD = struct.Struct("<III64s")
_LENGTH = struct.Struct("<I")
_MAGIC, _VERSION = b"LCOV", 1
_ALIGN = 4


class State(enum.IntEnum):
    """What the counters of a record are."""

    LIVE = 0
    UNLOADED = 1
    #: The guest had no memory for the last counters of a driver.
    LOST = 2


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """The counters of one load of a driver.

    Attributes:
        driver: Its name.
        number: Of the load in this guest; a driver that is loaded again has another one.
        state: See :class:`State`.
        counters: Name of a note file, see :func:`lab.toolchain.instrument.note_of` → the counters of that source.
    """

    driver: str
    number: int
    state: State
    counters: Mapping[str, Counters] = field(default_factory=dict)


def size_of(data: bytes) -> int:
    """The size of all records, from the first bytes of them.

    Raises:
        TransportError: These bytes are no records.
    """
    if len(data) >= _HEAD.size:
        magic, version, size, _count = _HEAD.unpack_from(data)
        if magic == _MAGIC and version == _VERSION and size >= _HEAD.size:
            return int(size)
    raise _wrong(f"they begin with {data[: _HEAD.size].hex() or 'nothing'}")


def parse_records(data: bytes) -> tuple[LoadRecord, ...]:
    """Read all records.

    Raises:
        TransportError: They are cut off or damaged.
    """
    size = size_of(data)
    if len(data) != size:
        raise _wrong(f"they have {size} bytes, and {len(data)} came")
    count, at = int(_HEAD.unpack_from(data)[3]), _HEAD.size
    found: list[LoadRecord] = []
    try:
        for _ in range(count):
            length, number, state, name = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            if at + length > size:
                raise ValueError(f"a record of {length} bytes is cut off")
            driver = name.rstrip(b"\0").decode("ascii", "backslashreplace")
            counters = dict(_objects(data[at : at + length]))
            found.append(LoadRecord(driver, number, State(state), counters))
            at += -(-length // _ALIGN) * _ALIGN
    except (struct.error, ValueError) as error:
        raise _wrong(str(error)) from error
    return tuple(found)


def _objects(payload: bytes) -> Iterator[tuple[str, Counters]]:
    at = 0
    while at < len(payload):
        name, at = _bytes(payload, at)
        content, at = _bytes(payload, at)
        yield note_of(name.decode("ascii", "backslashreplace")), Counters.parse(content)


def _bytes(payload: bytes, at: int) -> tuple[bytes, int]:
    (length,) = _LENGTH.unpack_from(payload, at)
    begin, end = at + _LENGTH.size, at + _LENGTH.size + length
    if end > len(payload):
        raise ValueError(f"an entry of {length} bytes is cut off")
    return payload[begin:end], end


def _wrong(why: str) -> TransportError:
    return TransportError(f"the guest sent counters in a wrong format: {why}", hint="build the driver `lab-coverage` again")
