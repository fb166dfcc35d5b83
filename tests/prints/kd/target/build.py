"""Builds the bare-metal target of the kernel-debugger protocol: ``python -m tests.prints.kd.target.build FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lab.errors import HostToolError
from lab.host.process import find_program, run
from lab.toolchain.compile import Arch

SOURCES = Path(__file__).resolve().parent
_TRIPLET: dict[Arch, str] = {"x86": "i686-w64-mingw32", "x64": "x86_64-w64-mingw32"}
_HINT: dict[Arch, str] = {"x86": "apt-get install gcc-mingw-w64-i686", "x64": "apt-get install gcc-mingw-w64-x86-64"}
_ENTRY: dict[Arch, str] = {"x86": "_Start", "x64": "Start"}
_TIMEOUT_S = 120.0
_COMPILE = (
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-fno-stack-protector",
    "-mno-stack-arg-probe",
    "-fno-asynchronous-unwind-tables",
    "-fno-ident",
    # The vector unit is off at the start.
    "-mgeneral-regs-only",
)
_LINK = ("-nostdlib", "-s", "-Wl,--image-base,0x100000", "-Wl,--no-insert-timestamp")
#: boot.S comes first: its header has to be the first bytes of the flat file.
_FILES = ("boot.S", "machine.c", "text.c", "link.c", "stop.c", "serve.c", "scenario.c")


def build_target(folder: Path) -> Path:
    """Compile the target.

    Args:
        folder: Where the files go; made when it is missing.

    Returns:
        A Multiboot kernel for QEMU's ``-kernel``; its command line is described in ``scenario.c``.

    Raises:
        HostToolError: The compiler is missing or refused the sources.
    """
    return build_multiboot(folder, [SOURCES / name for name in _FILES])


def build_multiboot(folder: Path, files: Sequence[Path], options: Sequence[str] = (), arch: Arch = "x86") -> Path:
    """Compile sources, of which ``boot.S`` is the first, into a Multiboot kernel.

    Args:
        folder: Where the files go; made when it is missing.
        files: Sources in the order in which they are linked.
        options: Further options of the compiler.
        arch: Processor of all but the first instructions, which are 32-bit ones anyway.

    Raises:
        HostToolError: The compiler is missing or refused the sources.
    """
    gcc, objcopy = (f"{_TRIPLET[arch]}-{tool}" for tool in ("gcc", "objcopy"))
    for program in (gcc, objcopy):
        if not find_program(program):
            raise HostToolError([program], None, message=f"{program}: there is no such program on this host", hint=_HINT[arch])
    folder.mkdir(parents=True, exist_ok=True)
    linked, flat = folder / "target.exe", folder / "target.bin"
    run([gcc, *_COMPILE, *_LINK, f"-Wl,--entry,{_ENTRY[arch]}", *options, "-o", linked, *files], _TIMEOUT_S)
    run([objcopy, "-O", "binary", linked, flat], _TIMEOUT_S)
    return flat


if __name__ == "__main__":
    build_target(Path(sys.argv[1]))
