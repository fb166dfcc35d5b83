"""What a stand-in for a kernel exports, read from its own files at image build, compared with a driver's imports.

Wine's libraries export far more than they implement. The code of a function that is only declared (a stub) is always the same:
two addresses are loaded, of the texts ``ntoskrnl.exe`` and ``NameOfTheFunction``, and Wine's routine is called that raises
0x80000100 with them. Seen with Wine 10.0: this finds exactly the functions whose symbols begin with ``__wine_stub_`` (755 of
1663 in ntoskrnl.exe). Other exports are jumps into another library, or forwarded by name; those are followed.

What follows for a driver, tried in the guest:

- A module that is not there: the load fails (error 1114).
- A function that is a stub, or that the module does not export at all: the load succeeds, and a call ends the driver's process
  with the function's name. A driver may well never call it, so that its tests run until one does.
- A variable that is a stub: the load succeeds, and the driver reads machine code as the variable's value. Nothing reports it.
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import pefile

from lab.guest.lacks import data_name, function_name, module_name
from lab.image.manifest import KernelFacts, KernelModule

#: Variables that NT's kernel exports; an import does not tell whether it is one. Those of the import libraries of mingw-w64 10.
_VARIABLES = """
    CcFastMdlReadWait CcFastReadNotPossible CcFastReadWait CmKeyObjectType ExDesktopObjectType ExEventObjectType
    ExSemaphoreObjectType ExWindowStationObjectType FsRtlLegalAnsiCharacterArray HalDispatchTable HalPrivateDispatchTable
    InitSafeBootMode IoAdapterObjectType IoDeviceHandlerObjectSize IoDeviceHandlerObjectType IoDeviceObjectType
    IoDriverObjectType IoFileObjectType IoReadOperationCount IoReadTransferCount IoStatisticsLock IoWriteOperationCount
    IoWriteTransferCount KdComPortInUse KdDebuggerEnabled KdDebuggerNotPresent KdEnteredDebugger KeLastBranchMSR KeLoaderBlock
    KeNumberProcessors KeTickCount KiBugCheckData LpcPortObjectType Mm64BitPhysicalAddress MmBadPointer MmHighestUserAddress
    MmSectionObjectType MmSystemRangeStart MmUserProbeAddress NlsAnsiCodePage NlsLeadByteInfo NlsMbCodePageTag
    NlsMbOemCodePageTag NlsOemCodePage NlsOemLeadByteInfo NtBuildGUID NtBuildLab NtBuildNumber NtGlobalFlag POGOBuffer
    PsInitialSystemProcess PsJobType PsProcessType PsThreadType PsUILanguageComitted SeExports SePublicDefaultDacl
    SeSystemDefaultDacl SeTokenObjectType TmEnlistmentObjectType TmResourceManagerObjectType TmTransactionManagerObjectType
    TmTransactionObjectType psMUITest
"""
VARIABLES = frozenset(_VARIABLES.split())

#: ``sub rsp, 28h; lea rcx, [rip + module]; lea rdx, [rip + function]; call …``
_STUB = struct.Struct("<4s3si3siB")
_STUB_PARTS = (b"\x48\x83\xec\x28", b"\x48\x8d\x0d", b"\x48\x8d\x15", 0xE8)
_JUMP = b"\xff\x25"
#: Names that stand for modules which Windows chooses by its version.
_API_SETS = ("api-ms-", "ext-ms-")


@dataclass(frozen=True, slots=True)
class ImportGaps:
    """What a driver imports and a guest does not have, named as in :mod:`lab.guest.lacks`.

    Attributes:
        hopeless: Modules and variables without which the driver cannot be loaded, or misbehaves.
        calls: Functions: only a test that reaches a call of one fails.
    """

    hopeless: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()


def import_gaps(imports: Mapping[str, Collection[str]], kernel: KernelFacts | None, *, own: Collection[str] = ()) -> ImportGaps:
    """Compare a driver's imports with what a guest's kernel has.

    Args:
        imports: Module -> imported names (``#N`` for an ordinal).
        kernel: What the guest has; None, for example of Windows, lacks nothing.
        own: File names of drivers that are in the guest as well: imports from those are not checked.
    """
    if kernel is None:
        return ImportGaps()
    there = {*kernel.modules, *kernel.others, *(name.lower() for name in own)}
    hopeless: list[str] = []
    calls: list[str] = []
    for module, names in imports.items():
        key = module.lower()
        if key not in there and not key.startswith(_API_SETS):
            hopeless.append(module_name(key))
        known = kernel.modules.get(key)
        if known is None or key in {name.lower() for name in own}:
            continue
        has = set(known.functions)
        for name in (name for name in names if name not in has and not name.startswith("#")):
            if name in VARIABLES:
                hopeless.append(data_name(key, name))
            else:
                calls.append(function_name(key, name))
    return ImportGaps(tuple(dict.fromkeys(hopeless)), tuple(dict.fromkeys(calls)))


def kernel_facts(archive: Path, *, given: Mapping[str, Collection[str]] = MappingProxyType({})) -> KernelFacts:
    """Read what the guest's kernel has.

    Args:
        archive: A tar file with the kernel's modules, those that they lead to, and ``others.txt``: names of all other
            files that a driver could import from, one a line.
        given: Module -> functions that drivers get although the module's own file only declares them.
    """
    images: dict[str, pefile.PE] = {}
    others: list[str] = []
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            file = tar.extractfile(member)
            if file is None:
                continue
            name = PurePosixPath(member.name).name.lower()
            if name == "others.txt":
                others = file.read().decode("utf-8").lower().split("\n")
            else:
                images[name] = pefile.PE(data=file.read())
    modules = {name: _Module(name, image) for name, image in images.items()}
    told: dict[str, KernelModule] = {}
    for name, module in sorted(modules.items()):
        works = {export for export in module.exports if export in given.get(name, ()) or _works(modules, name, export)}
        if name != "ntdll.dll":  # drivers do not import from it
            told[name] = KernelModule(functions=tuple(sorted(works)), stubs=tuple(sorted(module.exports.keys() - works)))
    return KernelFacts(
        modules=told,
        others=tuple(sorted({name for name in others if name and name not in modules} | ({"ntdll.dll"} & set(modules)))),
    )


def _works(modules: Mapping[str, _Module], module: str, name: str, hops: int = 0) -> bool:
    """Whether an export leads to something that is not a stub; where that lies in a module that was not read, it does."""
    found = modules.get(module)
    if found is None or hops > 8:
        return True
    if name not in found.exports or found.is_stub(name):
        return False
    target = found.leads_to(name)
    return target is None or _works(modules, *target, hops + 1)


class _Module:
    """One of Wine's libraries.

    Args:
        name: Its file name, in lower case.
        image: The file.
    """

    def __init__(self, name: str, image: pefile.PE) -> None:
        self._name = name
        self._bytes: bytes = image.get_memory_mapped_image()
        symbols = getattr(image, "DIRECTORY_ENTRY_EXPORT", None)
        named = [symbol for symbol in (symbols.symbols if symbols else []) if symbol.name]
        #: Name -> (offset in memory, ``module.name`` of a forwarded one).
        self.exports: dict[str, tuple[int, str]] = {
            symbol.name.decode("ascii"): (symbol.address, (symbol.forwarder or b"").decode("ascii")) for symbol in named
        }
        base = image.OPTIONAL_HEADER.ImageBase
        self._imports: dict[int, tuple[str, str]] = {
            item.address - base: (entry.dll.decode("ascii").lower(), item.name.decode("ascii"))
            for entry in getattr(image, "DIRECTORY_ENTRY_IMPORT", [])
            for item in entry.imports
            if item.name
        }

    def is_stub(self, name: str) -> bool:
        """Whether the code of an export only raises the error for a missing function."""
        offset, _ = self.exports[name]
        code = self._bytes[offset : offset + _STUB.size]
        if len(code) < _STUB.size:
            return False
        first, load_module, module, load_function, function, call = _STUB.unpack(code)
        if (first, load_module, load_function, call) != _STUB_PARTS:
            return False
        # Each offset counts from the end of its own instruction.
        return self._text(offset + 11 + module).lower() == self._name and self._text(offset + 18 + function) == name

    def leads_to(self, name: str) -> tuple[str, str] | None:
        """Module and name that an export is forwarded to, or jumps to through the import table."""
        offset, forwarder = self.exports[name]
        if forwarder:
            module, _, target = forwarder.rpartition(".")
            return (module if "." in module else f"{module}.dll").lower(), target
        code = self._bytes[offset : offset + 6]
        if not code.startswith(_JUMP):
            return None
        return self._imports.get(offset + 6 + struct.unpack("<i", code[2:])[0])

    def _text(self, offset: int) -> str:
        if not 0 <= offset < len(self._bytes):
            return ""
        return self._bytes[offset : self._bytes.index(b"\0", offset)].decode("ascii", "replace")
