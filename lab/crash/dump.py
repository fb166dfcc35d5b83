"""The header of a Windows kernel dump (MEMORY.DMP, a minidump of the kernel, or QEMU's win-dmp).

Only the header is read: what crashed, where and when. Stacks and symbols are a debugger's business.
"""

from __future__ import annotations

import datetime
import struct
from dataclasses import dataclass
from pathlib import Path

from lab.crash.bugcheck import Bugcheck
from lab.crash.codes import plain_code
from lab.errors import ConfigError

#: Code of a dump that was taken of a running system.
LIVE_DUMP_CODE = 0x161

_MACHINES = {0x14C: "x86", 0x1C4: "arm", 0x8664: "x64", 0xAA64: "arm64"}
#: 1 to 7 are the WDK's DUMP_TYPE (KBUGCHECK_ADD_PAGES); from Windows 8 on a bugcheck leaves 5 or 6. Some readers call 6 "live",
#: after dumps of Task Manager: only the code shows whether the system continued to run. 8 to 10 are what WinDbg's .dump writes.
_TYPES = {
    1: "full",
    2: "kernel",
    3: "header only",
    4: "small",
    5: "full (bitmap)",
    6: "kernel (bitmap)",
    7: "automatic",
    8: "kernel memory",
    9: "kernel and user memory",
    10: "complete memory",
}
_EPOCH = datetime.datetime(1601, 1, 1, tzinfo=datetime.UTC)
#: Windows fills a header with this before it writes the fields that it has.
_UNSET = int.from_bytes(b"PAGE", "little")
_UNSET_LONG = int.from_bytes(b"PAGEPAGE", "little")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the fields lie; ``word`` is the struct code of a pointer."""

    bits: int
    size: int
    word: str
    machine: int
    code: int
    parameters: int
    exception: int
    exception_address: int
    comment: int
    dump_type: int
    system_time: int
    uptime: int


_LAYOUTS = {
    b"PAGEDU64": _Layout(64, 0x2000, "Q", 0x30, 0x38, 0x40, 0xF00, 0xF10, 0xFB0, 0xF98, 0xFA8, 0x1030),
    b"PAGEDUMP": _Layout(32, 0x1000, "I", 0x20, 0x28, 0x2C, 0x7D0, 0x7DC, 0x820, 0xF88, 0xFC0, 0xFB8),
}
#: Files that are often mistaken for a kernel dump: first bytes, what it is, what to do.
_OTHERS = (
    (
        b"\x7fELF",
        "an ELF core of the guest's memory, made by QEMU on the host, not a Windows dump",
        "convert it: `elf2dmp FILE memory.dmp` (a program of the QEMU project; it downloads symbols), then read that file",
    ),
    (
        b"KDUMP   ",
        "a compressed dump of the guest's memory, made by QEMU on the host, not a Windows dump",
        "let QEMU write the format win-dmp or elf instead",
    ),
    (
        b"makedumpfile",
        "a compressed dump of the guest's memory, made by QEMU on the host, not a Windows dump",
        "let QEMU write the format win-dmp or elf instead",
    ),
    (b"MDMP", "a user-mode minidump: of a process, not of the kernel", "open it with WinDbg"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it first"),
    (b"\x1f\x8b", "a gzip file", "unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"QFI\xfb", "a qcow2 disk image", "take the dump out of the guest's disk first"),
)


@dataclass(frozen=True, slots=True)
class DumpHeader:
    """What the header of a kernel dump says.

    Attributes:
        path: The file.
        file_size: Its size in bytes.
        bits: 64 or 32.
        build: Windows build, for example 19041.
        machine: Processor's name, for example ``x64``; its number in hex when unknown.
        cpus: Processors.
        code: Bugcheck code; 0x161 in a dump of a running system.
        parameters: The bugcheck's four parameters.
        dump_type: Number of the type; 0 when the header does not say.
        dump_type_name: Its name.
        system_time: When the dump began; None when the header does not say.
        uptime: Time since the boot, likewise.
        comment: A comment; mostly empty.
        exception_code: The exception's code; 0 when the header carries none.
        exception_address: Where it was raised.
    """

    path: Path
    file_size: int
    bits: int
    build: int
    machine: str
    cpus: int
    code: int
    parameters: tuple[int, int, int, int]
    dump_type: int
    dump_type_name: str
    system_time: datetime.datetime | None
    uptime: datetime.timedelta | None
    comment: str
    exception_code: int
    exception_address: int

    @property
    def is_live(self) -> bool:
        """The dump was taken of a running system: there was no crash."""
        return self.code == LIVE_DUMP_CODE

    @property
    def bugcheck(self) -> Bugcheck | None:
        """The bugcheck; None in a dump of a running system."""
        return None if self.is_live or not self.code else Bugcheck(self.code, self.parameters, text=f"header of {self.path}")

    def disagreement(self, code: int, parameters: tuple[int, ...]) -> str:
        """How the header differs from a bugcheck that was reported elsewhere, for people; empty when they agree.

        Args:
            code: The other source's code. The header of a small dump has an additional bit set, which is ignored.
            parameters: The other source's parameters; too few are not compared. A 32-bit guest's may be sign-extended.
        """
        if self.is_live:
            return f"the dump's header has no crash, but the guest reported 0x{code:08X}: the dump is of a running system"
        wrong = []
        if plain_code(self.code) != plain_code(code):
            wrong.append(f"code 0x{self.code:08X}, but 0x{code:08X}")
        mask = (1 << self.bits) - 1
        for number, (own, other) in enumerate(zip(self.parameters, parameters, strict=False), 1):
            if own & mask != other & mask:
                wrong.append(f"parameter {number} 0x{own:x}, but 0x{other:x}")
        return f"the dump's header differs from the guest's report: {'; '.join(wrong)}" if wrong else ""


def read_dump_header(path: Path) -> DumpHeader:
    """Read the header of a kernel dump, of 64-bit or 32-bit Windows.

    Raises:
        ConfigError: The file cannot be read, is not a kernel dump, or ends within the header.
    """
    data, size = _read_start(path)
    layout = _LAYOUTS.get(data[:8])
    if not layout:
        raise _not_a_dump(path, data)
    if len(data) < layout.size:
        raise ConfigError(
            f"the dump ends within its header: {size} of {layout.size} bytes",
            file=str(path),
            hint="it was copied or written incompletely: copy it again, and check the free space of the guest's disk",
        )
    machine, cpus = struct.unpack_from("<2I", data, layout.machine)
    first, second, third, fourth = struct.unpack_from(f"<4{layout.word}", data, layout.parameters)
    dump_type = _field(data, "I", layout.dump_type)
    exception = _field(data, "I", layout.exception)
    return DumpHeader(
        path=path,
        file_size=size,
        bits=layout.bits,
        build=_field(data, "I", 0xC),
        machine=_MACHINES.get(machine, f"0x{machine:x}"),
        cpus=cpus,
        code=_field(data, "I", layout.code),
        parameters=(first, second, third, fourth),
        dump_type=dump_type,
        dump_type_name=_TYPES.get(dump_type, f"unknown ({dump_type})" if dump_type else "unknown"),
        system_time=_time(_field(data, "Q", layout.system_time)),
        uptime=_duration(_field(data, "Q", layout.uptime)),
        comment=_comment(data[layout.comment : layout.comment + 128]),
        exception_code=exception,
        exception_address=_field(data, layout.word, layout.exception_address) if exception else 0,
    )


def _read_start(path: Path) -> tuple[bytes, int]:
    """As much as the longest header, and the file's size."""
    try:
        # A pipe or a device would make the lab wait for its first bytes.
        if path.exists() and not path.is_file():
            raise ConfigError("this is not a file", file=str(path), hint="give the dump itself, for example MEMORY.DMP")
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            return stream.read(max(layout.size for layout in _LAYOUTS.values())), size
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"the dump cannot be read: {reason}", file=str(path)) from None


def _not_a_dump(path: Path, data: bytes) -> ConfigError:
    """Why a file is not a kernel dump, as precisely as its first bytes show."""
    if not data:
        return ConfigError(
            "the file is empty",
            file=str(path),
            hint="the guest had no space for its dump, or was stopped before it was written",
        )
    for magic, kind, hint in _OTHERS:
        if data.startswith(magic):
            return ConfigError(f"this is {kind}", file=str(path), hint=hint)
    if len(data) < 8 and any(magic.startswith(data) for magic in _LAYOUTS):
        return ConfigError(f"the dump ends within its signature, after {len(data)} bytes", file=str(path), hint="copy it again")
    return ConfigError(
        f"this is not a Windows kernel dump: it begins with {data[:8].hex(' ')} instead of PAGEDU64 or PAGEDUMP",
        file=str(path),
        hint="a kernel dump is C:\\Windows\\MEMORY.DMP or a file in C:\\Windows\\Minidump",
    )


def _field(data: bytes, kind: str, offset: int) -> int:
    """A number; 0 when Windows left the field as it was."""
    (value,) = struct.unpack_from(f"<{kind}", data, offset)
    return 0 if value in (_UNSET, _UNSET_LONG) else int(value)


def _time(filetime: int) -> datetime.datetime | None:
    """A FILETIME (100 ns since 1601) as UTC."""
    passed = _duration(filetime)
    try:
        return _EPOCH + passed if passed else None
    except OverflowError:
        return None


def _duration(ticks: int) -> datetime.timedelta | None:
    try:
        return datetime.timedelta(microseconds=ticks // 10) if ticks else None
    except OverflowError:
        return None


def _comment(data: bytes) -> str:
    """The comment as printable text: a dump comes from a VM, whose bytes must not control a terminal."""
    text = data.split(b"\0", 1)[0]
    if text.startswith(b"PAGEPAGE"):
        return ""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in text).strip()
