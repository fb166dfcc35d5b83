"""Headers of kernel dumps, made field by field."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

#: 2026-01-02 03:04:05 UTC.
FILETIME = 134117966450000000
DumpMaker = Callable[..., Path]


def dump64(*, code: int = 0xD1, dump_type: int = 2, filetime: int = FILETIME, exception: int = 0x80000003) -> bytes:
    data = bytearray(b"PAGE" * (0x2000 // 4))
    data[:8] = b"PAGEDU64"
    struct.pack_into("<2I", data, 8, 15, 19041)
    struct.pack_into("<3I", data, 0x30, 0x8664, 2, code)
    struct.pack_into("<4Q", data, 0x40, 0xFFFFD00012345678, 2, 1, 0xFFFFF80212345678)
    struct.pack_into("<I", data, 0xF00, exception)
    struct.pack_into("<Q", data, 0xF10, 0xFFFFF80212345678)
    struct.pack_into("<I", data, 0xF98, dump_type)
    struct.pack_into("<Q", data, 0xFA8, filetime)
    struct.pack_into("<Q", data, 0x1030, 125 * 10_000_000)
    return bytes(data)


def dump32() -> bytes:
    data = bytearray(b"PAGE" * (0x1000 // 4))
    data[:8] = b"PAGEDUMP"
    struct.pack_into("<2I", data, 8, 15, 2600)
    struct.pack_into("<7I", data, 0x20, 0x14C, 1, 0x1000007E, 0xC0000005, 0x804E1234, 0xF8A1, 0xF7A1)
    struct.pack_into("<I", data, 0x7D0, 0xC0000005)
    struct.pack_into("<I", data, 0x7DC, 0x804E1234)
    data[0x820 : 0x820 + 10] = b"by a test\0"
    struct.pack_into("<I", data, 0xF88, 4)
    struct.pack_into("<2Q", data, 0xFB8, 10_000_000, FILETIME)
    return bytes(data)


@pytest.fixture
def make_dump(tmp_path: Path) -> DumpMaker:
    """Writes a dump of that many bits, with changed fields, and some pages after the header."""

    def make(bits: int = 64, **changes: int) -> Path:
        file = tmp_path / "MEMORY.DMP"
        file.write_bytes((dump64(**changes) if bits == 64 else dump32()) + bytes(0x3000))
        return file

    return make
