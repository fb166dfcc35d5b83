"""A driver's functions and where they are, for a debugger."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import ConfigError
from lab.host.process import run
from lab.toolchain.peimage import opened
from lab.toolchain.select import DriverPackage

_NM = {"x64": "x86_64-w64-mingw32-nm", "x86": "i686-w64-mingw32-nm"}
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSymbols:
    """The symbols of a driver that is loaded.

    Attributes:
        name: The driver's.
        file: With its DWARF.
        offset: Difference between addresses in the guest and in the file.
        functions: Name → address in the guest.
    """

    name: str
    file: Path
    offset: int
    functions: Mapping[str, int] = field(repr=False)


def loaded_symbols(package: DriverPackage, base: int) -> LoadedSymbols:
    """The symbols of a driver at its address.

    Args:
        package: The driver, as it is loaded.
        base: Its address in the guest.

    Raises:
        ConfigError: It has no symbols that gdb can read.
    """
    file = next((one for one in package.symbols if one.suffix == ".dbg"), None)
    if file is None:
        raise ConfigError(
            f"driver {package.name} has no DWARF symbols beside it, so gdb does not know its functions",
            hint="the lab's own builds have them; for a finished .sys, put a .dbg file of `objcopy --only-keep-debug`"
            " beside it",
        )
    with opened(package.image) as (_, image):
        offset = base - int(image.OPTIONAL_HEADER.ImageBase)
    listed = run([_NM[package.arch], "--defined-only", str(file)], _TIMEOUT_S).stdout
    functions = {}
    for line in listed.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in "tT" and not words[2].startswith("."):
            functions[words[2].removeprefix("_") if package.arch == "x86" else words[2]] = int(words[0], 16) + offset
    return LoadedSymbols(name=package.name, file=file, offset=offset, functions=functions)


def find_function(symbols: list[LoadedSymbols], name: str) -> list[int]:
    """Addresses of a function, one for each driver that has it.

    Raises:
        ConfigError: No driver has it.
    """
    found = [one.functions[name] for one in symbols if name in one.functions]
    if not found:
        known = sorted({function for one in symbols for function in one.functions})
        near = difflib.get_close_matches(name, known, n=3) or known[:8]
        raise ConfigError(
            f"no function {name} in {', '.join(one.name for one in symbols)}",
            hint=f"known are {', '.join(near)}; a function that is inlined everywhere has no address: use a line, sync.c:66",
        )
    return found
