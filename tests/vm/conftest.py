"""Guests of a few bytes: BIOS images that write to I/O ports and halt. No image and no boot loader are needed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import pytest

COM1 = 0x3F8
HALT = bytes.fromhex("f4 ebfd")
#: With the ICH9 power management set up: wait for the power button, then power off.
OBEY_POWER_BUTTON = bytes.fromhex("ba0006 ed f6c401 74f7 ba0406 b80020 ef") + HALT


def out(port: int, value: int, size: int = 1) -> bytes:
    """Machine code for one write to an I/O port."""
    load = {1: b"\xb0", 2: b"\xb8", 4: b"\x66\xb8"}[size]
    write = {1: b"\xee", 2: b"\xef", 4: b"\x66\xef"}[size]
    return b"\xba" + port.to_bytes(2, "little") + load + value.to_bytes(size, "little") + write


def say(text: str) -> bytes:
    """Machine code that writes text to COM1."""
    return b"".join(out(COM1, byte) for byte in text.encode())


def power_button_setup() -> bytes:
    """Machine code that gives the q35's power management its ports and arms the power button."""
    pci = b"".join(out(0xCF8, 0x8000F800 | reg, 4) + out(0xCFC, value, 4) for reg, value in ((0x40, 0x601), (0x44, 0x80)))
    return pci + out(0x602, 0x100, 2)


RomMaker = Callable[..., Path]


@pytest.fixture
def make_rom(tmp_path: Path) -> RomMaker:
    """Makes a BIOS image that runs the given pieces of machine code, one after the other, then halts."""

    def make(*pieces: bytes, name: str = "guest.rom") -> Path:
        code = b"".join(pieces) + HALT
        rom = tmp_path / name
        rom.write_bytes(code.ljust(0xFFF0, b"\xf4") + bytes.fromhex("ea 0000 00f0").ljust(16, b"\xf4"))
        return rom

    return make


def poll(condition: Callable[[], object], what: str, timeout: float = 60.0) -> None:
    """Wait for a condition; generous, because other work may share the host."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout} s for: {what}"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """The process has ended (a zombie whose parent has not looked yet has ended too)."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def wait_for() -> Callable[..., None]:
    return poll


@pytest.fixture
def is_gone() -> Callable[[int], bool]:
    return gone


class Asm:
    """The pieces above, for tests (a conftest cannot be imported under import-mode importlib)."""

    halt = HALT
    obey_power_button = OBEY_POWER_BUTTON
    out = staticmethod(out)
    say = staticmethod(say)
    power_button_setup = staticmethod(power_button_setup)


@pytest.fixture
def asm() -> type[Asm]:
    return Asm


@pytest.fixture
def open_fds() -> Callable[[], Iterable[str]]:
    """The descriptors that this process has open, to check that none is left."""

    def look() -> list[str]:
        found = []
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 (the folder's own handle is in it)
            try:
                found.append(os.readlink(f"/proc/self/fd/{name}"))  # noqa: PTH115
            except OSError:
                continue
        return found

    return look
