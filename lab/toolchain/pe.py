"""Checks a finished image: is it a driver that Windows would load, and that does nothing unsafe by construction?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pefile

from lab.errors import ConfigError
from lab.toolchain.compile import Arch
from lab.toolchain.manifest import Kind

_MACHINES: dict[int, Arch] = {0x8664: "x64", 0x014C: "x86"}
_KERNEL_MODULES = frozenset({"ntoskrnl.exe", "hal.dll"})

_RELOCS_STRIPPED = 0x0001
_EXECUTABLE_IMAGE = 0x0002
_DLL = 0x2000
_WDM_DRIVER = 0x2000
_MEM_EXECUTE = 0x20000000
_MEM_WRITE = 0x80000000
_SUBSYSTEM_NATIVE = 1
_SUBSYSTEMS_PROGRAM = (2, 3)  # window, console


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an image says of itself.

    Attributes:
        path: The file.
        arch: None for a processor that the lab does not know.
        native: True for the native subsystem, which drivers have.
        imports: Module (lower case) -> imported names (``#N`` for an ordinal).
        problems: What is wrong with it as the kind that was asked for; empty when all checks passed.
    """

    path: Path
    arch: Arch | None
    native: bool
    imports: Mapping[str, tuple[str, ...]]
    problems: tuple[str, ...]


def inspect(path: Path, kind: Kind = "driver") -> ImageFacts:
    """Read an image and list all that is wrong with it.

    Raises:
        ConfigError: The file cannot be read or is no PE image.
    """
    try:
        # From bytes: a mapped file would stay open, and later changes to it would shine through.
        image = pefile.PE(data=path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except pefile.PEFormatError as error:
        raise ConfigError(f"is not a Windows image: {error}", file=str(path), hint="point at a .sys file") from None
    imports = _imports(image)
    problems = [*_common(image), *(_driver(image, imports) if kind == "driver" else _program(image))]
    return ImageFacts(
        path=path,
        arch=_MACHINES.get(image.FILE_HEADER.Machine),
        native=image.OPTIONAL_HEADER.Subsystem == _SUBSYSTEM_NATIVE,
        imports=imports,
        problems=tuple(problems),
    )


def check(path: Path, kind: Kind, arch: Arch) -> ImageFacts:
    """:func:`inspect`, and raise for any problem.

    Raises:
        ConfigError: With all problems, one a line.
    """
    facts = inspect(path, kind)
    problems = list(facts.problems)
    if facts.arch is not None and facts.arch != arch:
        problems.append(f"it is for {facts.arch}, not for {arch}")
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise ConfigError(f"is not a sound {kind} image:{listed}", file=str(path))
    return facts


def _common(image: pefile.PE) -> Iterator[str]:
    header, optional = image.FILE_HEADER, image.OPTIONAL_HEADER
    if header.Machine not in _MACHINES:
        yield f"its processor (machine 0x{header.Machine:04x}) is neither x64 nor x86"
    if not header.Characteristics & _EXECUTABLE_IMAGE:
        yield "it is not marked as executable: the linker did not finish it"
    if header.Characteristics & _DLL:
        yield "it is a DLL; link it as an executable image (without -shared, /DLL)"
    if not optional.AddressOfEntryPoint:
        yield "it has no entry point"
    if header.Characteristics & _RELOCS_STRIPPED:
        yield "its relocations are stripped: it loads at one address only (link with --dynamicbase, without /FIXED)"
    elif not hasattr(image, "DIRECTORY_ENTRY_BASERELOC"):
        yield "it has no relocation table"
    for section in image.sections:
        if section.Characteristics & _MEM_EXECUTE and section.Characteristics & _MEM_WRITE:
            yield f"section {_name(section)} is both writable and executable"


def _driver(image: pefile.PE, imports: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    optional = image.OPTIONAL_HEADER
    if optional.Subsystem != _SUBSYSTEM_NATIVE:
        yield f"its subsystem is {optional.Subsystem}, not 1 (native): the kernel does not load it"
    if optional.DllCharacteristics & _WDM_DRIVER:
        yield "it has the WDM_DRIVER bit: as a plain service it could not be stopped (link without --wdmdriver)"
    for module, names in imports.items():
        if module not in _KERNEL_MODULES:
            some = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
            yield f"it imports {some} from {module}; a driver has only ntoskrnl.exe and hal.dll"
    if not optional.CheckSum:
        yield "it has no checksum"
    elif not image.verify_checksum():
        really = image.generate_checksum()
        yield f"its checksum is 0x{optional.CheckSum:08x} and should be 0x{really:08x}: it was changed after linking"


def _program(image: pefile.PE) -> Iterator[str]:
    if image.OPTIONAL_HEADER.Subsystem not in _SUBSYSTEMS_PROGRAM:
        yield f"its subsystem is {image.OPTIONAL_HEADER.Subsystem}: not a program"


def _imports(image: pefile.PE) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for entry in getattr(image, "DIRECTORY_ENTRY_IMPORT", []):
        names = tuple(item.name.decode("ascii", "replace") if item.name else f"#{item.ordinal}" for item in entry.imports)
        module = entry.dll.decode("ascii", "replace").lower()
        found[module] = found.get(module, ()) + names
    return found


def _name(section: pefile.SectionStructure) -> str:
    return bytes(section.Name).rstrip(b"\0").decode("ascii", "replace")
