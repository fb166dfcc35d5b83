"""From an address in a driver to the line of its source."""

from __future__ import annotations

import logging
from pathlib import Path

from lab.errors import ConfigError, HostToolError
from lab.host.process import run
from lab.toolchain.codeview import codeview
from lab.toolchain.peimage import opened
from lab.toolchain.select import DriverPackage

_ADDR2LINE = {"x64": "x86_64-w64-mingw32-addr2line", "x86": "i686-w64-mingw32-addr2line"}
#: Images are loaded at multiples of this.
_GRANULARITY = 0x10000
_TIMEOUT_S = 30.0
_EXECUTABLE = 0x20000000


def locate(package: DriverPackage, address: int) -> str:
    """The place of an address in a driver, if it is in that driver, whose load address is unknown.

    An image is loaded at a multiple of 64 KiB, so the last four digits of an address are its offset when all code is in the
    first 64 KiB.

    Args:
        package: The driver, with its symbols where there are some.
        address: Of an instruction.

    Returns:
        For example ``sync.sys+0x1050 (DispatchRead, sync.c:66)``; empty when it is unknown, or outside of the code.
    """
    try:
        with opened(package.image) as (_, image):
            base = int(image.OPTIONAL_HEADER.ImageBase)
            code = [
                (int(section.VirtualAddress), int(section.Misc_VirtualSize))
                for section in image.sections
                if section.Characteristics & _EXECUTABLE
            ]
    except ConfigError:
        return ""
    offset = address % _GRANULARITY
    if any(start + length > _GRANULARITY for start, length in code) or not any(
        start <= offset < start + length for start, length in code
    ):
        return ""
    line = _source_line(package, base + offset)
    return f"{package.image.name}+0x{offset:x}" + (f" ({line})" if line else "")


def _source_line(package: DriverPackage, address: int) -> str:
    candidates = (file for file in package.symbols if file.suffix == ".dbg")
    # A driver that was not stripped has its own symbols; for a stripped one, the tool prints nothing.
    symbols = next((file for file in candidates if _belong_together(package.image, file)), package.image)
    try:
        said = run(
            [_ADDR2LINE[package.arch], "-f", "-C", "-i", "-e", str(symbols), hex(address)], _TIMEOUT_S
        ).stdout.splitlines()
    except HostToolError:
        return ""
    if len(said) < 2 or said[0] == "??":
        return ""
    # The innermost function first; the function that it was inlined into gives the place in the driver's own source.
    return ", in ".join(_place(function, place) for function, place in zip(said[::2], said[1::2], strict=False))


def _place(function: str, place: str) -> str:
    """Function, file and line, from two lines of the tool."""
    file, _, number = place.partition(" ")[0].rpartition(":")
    return f"{function}, {Path(file).name}:{number}" if number.isdigit() else function


def _belong_together(image: Path, symbols: Path) -> bool:
    """False when both have an id and the ids differ: symbols of another build would name a wrong line."""
    ours, theirs = codeview(image), codeview(symbols)
    if ours is None or theirs is None or ours.build_id == theirs.build_id:
        return True
    logging.getLogger(__name__).warning(
        "%s: these symbols belong to another build than %s, so no source lines are shown", symbols, image
    )
    return False
