"""Builds the bare-metal programs around the print relay: its own C files in one, its finished driver in the other."""

from __future__ import annotations

from pathlib import Path

from lab.host.assets import data_root
from lab.toolchain.compile import Arch, find_compiler
from tests.prints.kd.target import build as kd_target

SOURCES = Path(__file__).resolve().parent
DRIVER = data_root() / "driver" / "relay"
#: The hardware part is that of the kernel-debugger target.
_MACHINE = [kd_target.SOURCES / name for name in ("boot.S", "machine.c", "text.c")]
_INCLUDES = [f"-I{kd_target.SOURCES}", f"-I{DRIVER}"]


def build_target(folder: Path) -> Path:
    """Compile the program that writes records with the driver's encoder and lock; ``main.c`` describes its command line.

    Args:
        folder: Where the files go; made when it is missing.

    Returns:
        A Multiboot kernel for QEMU's ``-kernel``.
    """
    files = [SOURCES / "main.c", SOURCES / "processors.S", DRIVER / "writer.c", DRIVER / "record.c"]
    return kd_target.build_multiboot(folder, [*_MACHINE, *files], _INCLUDES)


def build_kernel(folder: Path, arch: Arch) -> Path:
    """Compile the program that loads the finished driver, its first module; ``kernel.c`` describes its command line."""
    headers = ["-isystem", str(find_compiler(arch).kernel_headers), "-D_WIN32_WINNT=0x0600", "-Wno-array-bounds"]
    boot = _MACHINE[0] if arch == "x86" else SOURCES / "boot64.S"
    files = [SOURCES / "kernel.c", *([SOURCES / "serve.c"] if arch == "x64" else [])]
    return kd_target.build_multiboot(folder, [boot, *_MACHINE[1:], *files], [*_INCLUDES, f"-I{SOURCES}", *headers], arch)
