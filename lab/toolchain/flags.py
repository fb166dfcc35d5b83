"""Options of the compiler and the linker: the lab's own, then those of the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from lab.toolchain.buildkeys import Api, Language, is_library_file, language_of
from lab.toolchain.clang import ASYNC, TARGET
from lab.toolchain.manifest import Component

Arch = Literal["x64", "x86"]
#: What a component is linked to: the kernel, kernel32 alone, or kernel32 and the C library.
Flavour = Literal["kernel", "bare", "c"]
#: The compiler; GCC assembles and links in any case.
By = Literal["gcc", "clang"]

# -g changes no code; what it adds is stripped from the image, and kept in the file beside it.
_COMPILE = ("-O2", "-g", "-Wall", "-Wextra", "-fno-ident")
_STANDARD: dict[Language, tuple[str, ...]] = {"c": ("-std=gnu11",), "c++": ("-std=gnu++17",), "asm": ()}
# These warnings are errors, because the driver would not do what its source says: an undeclared function that is assumed to
# return int loses half of a pointer. GCC 14 has most of them as errors by itself, and one more that Microsoft's compiler only
# warns of.
_ERRORS: dict[Language, tuple[str, ...]] = {
    "c": ("-Werror=implicit-function-declaration", "-Werror=implicit-int", "-Werror=int-conversion", "-Werror=return-type"),
    "c++": ("-Werror=return-type",),
    "asm": (),
}
_NO_ERROR: dict[Language, tuple[str, ...]] = {"c": ("-Wno-error=incompatible-pointer-types",), "c++": (), "asm": ()}
# Constructs that are common in code for Microsoft's compiler: its pragmas and attributes, which place code and name its
# warnings; pool tags such as 'tag1'; a structure without a name inside of another one; annotations for its code analysis. Those
# of drivers only are in wdk.h.
_MICROSOFT = (
    *("-fms-extensions", "-Wno-unknown-pragmas", "-Wno-attributes", "-Wno-multichar"),
    *("-D__pragma(x)=", "-D_Interlocked_operand_=", "-D_Enum_is_bitflag_="),
)
_FLAVOUR: dict[Flavour, tuple[str, ...]] = {
    # Frames above a page would call a stack probe that the kernel does not have.
    # GCC 12 mistakes reads of the headers relative to the GS segment for reads through a null pointer.
    # Code that Microsoft's compiler accepts and GCC treats as undefined. A loop over KEY_VALUE_PARTIAL_INFORMATION.Data, which
    # is declared with one byte, in a structure with more room after it, ended after that byte: a correct driver failed. Without
    # these, <stdio.h> makes sprintf a function of mingw-w64's own C library; ntoskrnl.exe exports the plain one.
    "kernel": (
        *("-fno-strict-aliasing", "-fno-aggressive-loop-optimizations", "-fno-delete-null-pointer-checks", "-fwrapv"),
        "-D__USE_MINGW_ANSI_STDIO=0",
        "-ffreestanding",
        "-fno-stack-protector",
        "-mno-stack-arg-probe",
        "-Wno-array-bounds",
    ),
    # Such a program brings its own memcpy; without the second flag, GCC turns that loop into a call of itself.
    "bare": ("-DLAB_FREESTANDING", "-fno-tree-loop-distribute-patterns", "-ffreestanding", "-fno-stack-protector"),
    "c": (),
}
# Drivers have no runtime that unwinds, provides types, guards statics, or runs destructors at the end.
_NO_CXX_RUNTIME = ("-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-fno-use-cxa-atexit")
# RTL_CONSTANT_STRING of mingw-w64 converts a literal to PWSTR, which C++ forbids; Microsoft's macro casts.
_CXX: dict[Flavour, tuple[str, ...]] = {"kernel": (*_NO_CXX_RUNTIME, "-Wno-write-strings"), "bare": _NO_CXX_RUNTIME, "c": ()}
# x64 keeps its unwind tables: the kernel debugger walks the stack by them.
_ARCH: dict[Arch, tuple[str, ...]] = {"x64": (), "x86": ("-fno-asynchronous-unwind-tables",)}
# Options that Clang does not know or need: it has __pragma, and with -ffreestanding calls no memcpy for a loop.
_NOT_CLANG = frozenset(
    {"-fno-aggressive-loop-optimizations", "-fno-tree-loop-distribute-patterns", "-Wno-attributes", "-D__pragma(x)="}
)
# Its <intrin.h>, which every driver includes, warns about a header that it includes itself.
_CLANG = (
    *(
        TARGET,
        *ASYNC,
        "-fno-addrsig",
        "-fno-crash-diagnostics",
        "-Wno-duplicate-decl-specifier",
        "-D_CLANG_DISABLE_CRT_DEPRECATION_WARNINGS",
    ),
    *(
        "-Wno-microsoft",
        "-Wno-ignored-attributes",
        "-Wno-unknown-attributes",
        "-Wno-ignored-pragma-intrinsic",
        "-Wno-invalid-source-encoding",
    ),
    # An error by itself since Clang 16; GCC and Microsoft's compiler warn.
    "-Wno-error=incompatible-function-pointer-types",
)
#: ``_WIN32_WINNT``, and the ``NTDDI_VERSION`` that belongs to it: the last one of its name that the headers know.
_API: dict[Api, tuple[str, str]] = {
    "ws03": ("0x0502", "0x05020000"),
    "vista": ("0x0600", "0x06000000"),
    "win7": ("0x0601", "0x06010000"),
    "win8": ("0x0602", "0x06020000"),
    "win8.1": ("0x0603", "0x06030000"),
    "win10": ("0x0A00", "0x0A000008"),
    "win11": ("0x0A00", "0x0A00000B"),
}
#: What mingw-w64's kernel headers lack. The compiler names them among the files that it read, so a change of them causes a new
#: build.
WDK = Path(__file__).with_name("wdk.h")
KERNEL = Path(__file__).with_name("kernel")
#: Options of Clang in addition.
SEH = Path(__file__).with_name("seh.h")
#: Headers of the driver kit that programs beside a driver include, and mingw-w64 lacks.
PROGRAMS = Path(__file__).with_name("programs")

# A kernel announces to its debugger only images with a debug directory, and this is the linker's way to write one. The id
# is its hash of what it wrote: the same for the same image, whatever the file's name and folder.
BUILD_ID = "-Wl,--build-id"
# No -shared: Wine calls the entry point of a DLL as DllMain first. No --wdmdriver: that bit would make the service
# manager refuse to stop a driver which was started as a plain service.
STRIP = "-s"
_LINK = (
    STRIP,
    "-Wl,--dynamicbase",
    "-Wl,--nxcompat",
    "-Wl,--section-alignment,0x1000",
    "-Wl,--file-alignment,0x200",
    "-Wl,--no-insert-timestamp",
    "-Wl,--major-os-version,5",
    "-Wl,--minor-os-version,2",
    "-Wl,--fatal-warnings",
)
_LINK_FLAVOUR: dict[Flavour, tuple[str, ...]] = {
    "kernel": ("-nostdlib", "-Wl,--subsystem,native:5.2", BUILD_ID),
    "bare": ("-nostdlib", "-Wl,--subsystem,console:5.2"),
    "c": ("-static", "-Wl,--subsystem,console:5.2"),
}
_LIBRARIES: dict[Flavour, tuple[str, ...]] = {"kernel": ("-lntoskrnl", "-lhal"), "bare": ("-lkernel32", "-lgcc"), "c": ()}
_ENTRY: dict[Flavour, dict[Arch, tuple[str, ...]]] = {
    "kernel": {"x64": ("-Wl,--entry,DriverEntry",), "x86": ("-Wl,--entry,_DriverEntry@8",)},
    "bare": {"x64": ("-Wl,--entry,Start",), "x86": ("-Wl,--entry,_Start",)},
    "c": {"x64": (), "x86": ()},
}
_MEASURED: dict[Arch, tuple[str, ...]] = {
    "x64": ("-Wl,--entry,LabCoverageEntry",),
    "x86": ("-Wl,--entry,_LabCoverageEntry@8",),
}


def flavour_of(component: Component) -> Flavour:
    """What a component is linked to."""
    if component.manifest.kind == "driver":
        return "kernel"
    return "bare" if component.manifest.runtime == "none" else "c"


def compile_flags(
    component: Component, arch: Arch, language: Language, defines: Sequence[str] = (), by: By = "gcc"
) -> list[str]:
    """Options that do not depend on this host; those of the manifest come last, and so override them.

    Args:
        component: What is compiled.
        arch: For which processor.
        language: Of the source.
        defines: Beside those of the manifest.
        by: Which compiler; of assembler it is always GCC.
    """
    manifest, flavour = component.manifest, flavour_of(component)
    level = _API[manifest.api] if manifest.api else None
    names = [*([f"_WIN32_WINNT={level[0]}", f"NTDDI_VERSION={level[1]}"] if level else []), *manifest.defines, *defines]
    named = [f"-D{name}" for name in names]
    folders = [word for folder in manifest.include for word in ("-I", folder)]
    if language == "asm":
        return ["-g", *folders, *named]
    strict = ("-Werror",) if manifest.warnings == "errors" else _NO_ERROR[language]
    flags = (*_STANDARD[language], *_COMPILE, *_ERRORS[language], *strict, *_MICROSOFT, *_FLAVOUR[flavour], *_ARCH[arch])
    flags += _CXX[flavour] if language == "c++" else ()
    if by == "clang":
        flags = (*(flag for flag in flags if flag not in _NOT_CLANG), *_CLANG)
    return [*flags, *folders, *named, *manifest.cflags]


def header_flags(component: Component, kernel_headers: Path, language: Language, by: By = "gcc") -> list[str]:
    """Options that name the headers of this host."""
    if flavour_of(component) != "kernel":
        return ["-idirafter", str(PROGRAMS)]
    found = ["-isystem", str(KERNEL), "-isystem", str(kernel_headers)]
    if language == "asm":
        return found
    return [*found, "-include", str(WDK), *(("-include", str(SEH)) if by == "clang" else ())]


def link_flags(component: Component, arch: Arch, *, measured: bool = False) -> list[str]:
    """Options of the linker. A measured driver begins in the code that is linked to it, see :mod:`lab.toolchain.instrument`."""
    flavour = flavour_of(component)
    return [*_LINK, *_LINK_FLAVOUR[flavour], *(_MEASURED[arch] if measured else _ENTRY[flavour][arch])]


def libraries(component: Component) -> list[str]:
    """Libraries to link after the objects: those of the manifest, then those of all components."""
    return [*(_library(component.folder, name) for name in component.manifest.libraries), *_LIBRARIES[flavour_of(component)]]


def links_by_cxx(component: Component) -> bool:
    """Whether the C++ library belongs to it."""
    return flavour_of(component) == "c" and "c++" in languages(component)


def languages(component: Component) -> frozenset[Language]:
    """Of its sources."""
    return frozenset(language_of(source) for source in component.manifest.sources)


def build_text(component: Component, arch: Arch, by: By = "gcc") -> str:
    """Everything that a build depends on except the files that it reads and the compiler itself, as one text."""
    spoken = sorted(languages(component))
    lines: Iterator[Sequence[str]] = (compile_flags(component, arch, language, by=by) for language in spoken)
    manifest = component.manifest
    rest = [manifest.warnings, manifest.encoding, *manifest.libraries, *_LIBRARIES[flavour_of(component)], *manifest.sources]
    return "\n".join("\0".join(words) for words in (*lines, link_flags(component, arch), rest))


def _library(folder: Path, name: str) -> str:
    if is_library_file(folder, name):
        return str((folder / name).absolute())
    return f"-l{name.removesuffix('.lib')}"
