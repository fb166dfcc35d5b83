"""Checks a finished image: is it a driver that Windows would load, without anything that is unsafe by construction?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pefile

from lab.errors import ConfigError
from lab.toolchain.authenticode import Signature, read_signatures
from lab.toolchain.compile import Arch
from lab.toolchain.imagesums import checksum, sums_layout
from lab.toolchain.manifest import Kind
from lab.toolchain.peimage import damaged, opened, section_name

_MACHINES: dict[int, Arch] = {0x8664: "x64", 0x014C: "x86"}
_KERNEL_MODULES = frozenset({"ntoskrnl.exe", "hal.dll"})
#: These are in user mode; a driver that was linked to one does not load.
_USER_MODULES = frozenset(
    {"ntdll.dll", "kernel32.dll", "kernelbase.dll", "user32.dll", "advapi32.dll", "msvcrt.dll", "ucrtbase.dll"}
)

_RELOCS_STRIPPED = 0x0001
_EXECUTABLE_IMAGE = 0x0002
_DLL = 0x2000
_WDM_DRIVER = 0x2000
_MEM_EXECUTE = 0x20000000
_MEM_WRITE = 0x80000000
_MEM_DISCARDABLE = 0x02000000
_SUBSYSTEM_NATIVE = 1
_SUBSYSTEMS_PROGRAM = (2, 3)  # window, console
_RELOCATIONS = 5


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts about an image, from its headers.

    Attributes:
        path: The file.
        size: Its length in bytes.
        arch: None for a processor that the lab does not know.
        native: True for the native subsystem, which drivers have.
        imports: Module (lower case) -> imported names (``#N`` for an ordinal).
        problems: Why Windows would not load it as the kind that was asked for; empty when all checks passed.
        remarks: Findings that are errors in the lab's own builds only.
        signatures: Its signatures, see :func:`lab.toolchain.authenticode.read_signatures`.
    """

    path: Path
    size: int
    arch: Arch | None
    native: bool
    imports: Mapping[str, tuple[str, ...]]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    signatures: tuple[Signature, ...]


def inspect(path: Path, kind: Kind = "driver") -> ImageFacts:
    """Read an image, and list what is wrong with it and what is unusual.

    The file is read by pages, whatever its size; checksum and signature each read it once.

    Raises:
        ConfigError: The file cannot be read, is empty, is cut off, or is not a PE image.
    """
    with opened(path) as (pages, image):
        try:
            image.parse_data_directories(directories=[pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_IMPORT"]])
            imports = _imports(image)
        except Exception as error:
            raise damaged(path, error) from None
        layout = sums_layout(image)
        problems = list(_common(image))
        remarks = list(_unusual(image))
        if kind == "driver":
            problems += [*_driver(image, imports), *_sum(image, checksum(pages, layout))]
            remarks += _unusual_driver(image, imports)
        else:
            problems += _program(image)
        return ImageFacts(
            path=path,
            size=len(pages),
            arch=_MACHINES.get(image.FILE_HEADER.Machine),
            native=image.OPTIONAL_HEADER.Subsystem == _SUBSYSTEM_NATIVE,
            imports=imports,
            problems=tuple(problems),
            remarks=tuple(remarks),
            signatures=read_signatures(pages, layout),
        )


def check(path: Path, kind: Kind, arch: Arch, *, others: bool = False) -> ImageFacts:
    """:func:`inspect` of what the lab built: raise for any problem, and for anything unusual.

    Args:
        path: The image.
        kind: What it must be.
        arch: For which processor.
        others: A driver may import from kernel modules beside ntoskrnl.exe and hal.dll: its manifest names their libraries.

    Raises:
        ConfigError: With all of it, one a line.
    """
    facts = inspect(path, kind)
    wanted = set(_others(facts.imports)) if others else set()
    problems = [*facts.problems, *(remark for remark in facts.remarks if remark not in wanted)]
    if facts.arch is not None and facts.arch != arch:
        problems.append(f"it is for {facts.arch}, not for {arch}")
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise ConfigError(f"is not a valid {kind} image:{listed}", file=str(path))
    return facts


def _common(image: pefile.PE) -> Iterator[str]:
    header, optional = image.FILE_HEADER, image.OPTIONAL_HEADER
    if header.Machine not in _MACHINES:
        yield f"its processor (machine 0x{header.Machine:04x}) is neither x64 nor x86"
    if not header.Characteristics & _EXECUTABLE_IMAGE:
        yield "it is not marked as executable: the linker did not complete it"
    if not optional.AddressOfEntryPoint:
        yield "it has no entry point"
    if header.Characteristics & _RELOCS_STRIPPED:
        yield "its relocations are stripped, so it loads at one address only (link with --dynamicbase, without /FIXED)"


def _driver(image: pefile.PE, imports: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    if image.OPTIONAL_HEADER.Subsystem != _SUBSYSTEM_NATIVE:
        yield f"its subsystem is {image.OPTIONAL_HEADER.Subsystem}, not 1 (native): the kernel does not load it"
    for module, names in imports.items():
        if module in _USER_MODULES:
            yield f"it imports {_some(names)} from {module}, which the kernel does not have"


def _sum(image: pefile.PE, really: int) -> Iterator[str]:
    told = int(image.OPTIONAL_HEADER.CheckSum)
    if not told:
        yield "it has no checksum"
    elif told != really:
        yield f"its checksum is 0x{told:08x} and should be 0x{really:08x}: the file was changed after linking"


def _program(image: pefile.PE) -> Iterator[str]:
    if image.OPTIONAL_HEADER.Subsystem not in _SUBSYSTEMS_PROGRAM:
        yield f"its subsystem is {image.OPTIONAL_HEADER.Subsystem}: not a program"


def _unusual(image: pefile.PE) -> Iterator[str]:
    if image.FILE_HEADER.Characteristics & _DLL:
        yield "it is a DLL: Wine calls its entry point as DllMain first (link it without -shared or /DLL)"
    directories = image.OPTIONAL_HEADER.DATA_DIRECTORY
    has_relocations = len(directories) > _RELOCATIONS and directories[_RELOCATIONS].Size
    if not has_relocations and not image.FILE_HEADER.Characteristics & _RELOCS_STRIPPED:
        yield "it has no relocation table"
    for section in image.sections:
        flags = section.Characteristics
        if flags & _MEM_EXECUTE and flags & _MEM_WRITE:
            gone = "; it is discarded after DriverEntry (older kits link INIT like this)" if flags & _MEM_DISCARDABLE else ""
            yield f"section {section_name(section)} is both writable and executable{gone}"


def _unusual_driver(image: pefile.PE, imports: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    if image.OPTIONAL_HEADER.DllCharacteristics & _WDM_DRIVER:
        yield "it has the WDM_DRIVER bit (/DRIVER:WDM): as a plain service it may not stop"
    yield from _others(imports)


def _others(imports: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for module, names in imports.items():
        if module not in _KERNEL_MODULES | _USER_MODULES:
            yield f"it imports {_some(names)} from {module}, which the guest must have in addition to ntoskrnl.exe and hal.dll"


def _imports(image: pefile.PE) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for entry in getattr(image, "DIRECTORY_ENTRY_IMPORT", []):
        names = tuple(item.name.decode("ascii", "replace") if item.name else f"#{item.ordinal}" for item in entry.imports)
        module = entry.dll.decode("ascii", "replace").lower()
        found[module] = found.get(module, ()) + names
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
