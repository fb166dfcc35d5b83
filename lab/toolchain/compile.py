"""Compiles and links drivers and guest programs with mingw-w64: same inputs, same bytes, warnings are shown."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lab.errors import HostToolError, LabError
from lab.host.process import run
from lab.toolchain.charset import charset_flags
from lab.toolchain.codeview import codeview
from lab.toolchain.diagnosis import explained, refuse_utf16, warnings_in
from lab.toolchain.inputs import Inputs, environment, parse_dependencies, take_inputs
from lab.toolchain.manifest import Component
from lab.toolchain.spelling import Spelling

Arch = Literal["x64", "x86"]
ARCHES: tuple[Arch, ...] = ("x64", "x86")

_TRIPLET: dict[Arch, str] = {"x64": "x86_64-w64-mingw32", "x86": "i686-w64-mingw32"}
_PACKAGE: dict[Arch, str] = {"x64": "gcc-mingw-w64-x86-64", "x86": "gcc-mingw-w64-i686"}
_TOOL_TIMEOUT_S = 120.0
#: An editor saves once; a program that writes all the time is told of.
_TRIES = 3

# What a component is linked to: the kernel, kernel32 alone, or kernel32 and the C library.
_Flavour = Literal["kernel", "bare", "c"]

# -g changes no code; what it adds is stripped from the image, and kept in the file beside it.
_COMPILE = ("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-fno-ident")
# Errors are what makes another driver than the source says: a function taken for one that returns int loses half of a pointer.
# GCC 14 has most of them as errors by itself, and one more that Microsoft's compiler only warns of.
_ERRORS = (
    *("-Werror=implicit-function-declaration", "-Werror=implicit-int", "-Werror=int-conversion", "-Werror=return-type"),
    "-Wno-error=incompatible-pointer-types",
)
# What code for Microsoft's compiler is full of: its pragmas and attributes, which say where code lies and which of its warnings
# are meant; pool tags such as 'tag1'; a structure without a name inside of another one; annotations for its code analysis.
# What drivers alone have of it is in wdk.h.
_MICROSOFT = (
    *("-fms-extensions", "-Wno-unknown-pragmas", "-Wno-attributes", "-Wno-multichar"),
    *("-D__pragma(x)=", "-D_Interlocked_operand_=", "-D_Enum_is_bitflag_="),
)
_COMPILE_FLAVOUR: dict[_Flavour, tuple[str, ...]] = {
    # wdm.h of mingw-w64 10 needs 0x0600 to be complete on x86; what may be imported is checked in the finished file.
    # Frames above a page would call a stack probe that the kernel does not have.
    # GCC 12 takes the headers' reads relative to the GS segment for reads through a null pointer.
    # Left alone, <stdio.h> makes sprintf a function of mingw-w64's own C library; ntoskrnl.exe exports the plain one.
    "kernel": (
        "-D_WIN32_WINNT=0x0600",
        "-D__USE_MINGW_ANSI_STDIO=0",
        "-ffreestanding",
        "-fno-stack-protector",
        "-mno-stack-arg-probe",
        "-Wno-array-bounds",
    ),
    # Such a program brings its own memcpy; without the third flag, GCC turns that loop into a call of itself.
    "bare": (
        "-D_WIN32_WINNT=0x0502",
        "-DLAB_FREESTANDING",
        "-fno-tree-loop-distribute-patterns",
        "-ffreestanding",
        "-fno-stack-protector",
    ),
    "c": ("-D_WIN32_WINNT=0x0502",),
}
#: What mingw-w64's kernel headers lack. The compiler names it among the files that it read, so a change builds again.
_WDK = Path(__file__).with_name("wdk.h")
# x64 keeps its unwind tables: the kernel debugger walks the stack by them.
_COMPILE_ARCH: dict[Arch, tuple[str, ...]] = {"x64": (), "x86": ("-fno-asynchronous-unwind-tables",)}

# A kernel announces to its debugger only images with a debug directory, and this is the linker's way to write one. The id
# is its hash of what it wrote: the same for the same image, whatever the file is called and wherever it lies.
_BUILD_ID = "-Wl,--build-id"

# No -shared: Wine calls the entry point of a DLL as DllMain first. No --wdmdriver: that bit would make the service
# manager refuse to stop a driver which was started as a plain service.
_STRIP = "-s"
_LINK = (
    _STRIP,
    "-Wl,--dynamicbase",
    "-Wl,--nxcompat",
    "-Wl,--section-alignment,0x1000",
    "-Wl,--file-alignment,0x200",
    "-Wl,--no-insert-timestamp",
    "-Wl,--major-os-version,5",
    "-Wl,--minor-os-version,2",
    "-Wl,--fatal-warnings",
)
_LINK_FLAVOUR: dict[_Flavour, tuple[str, ...]] = {
    "kernel": ("-nostdlib", "-Wl,--subsystem,native:5.2", _BUILD_ID),
    "bare": ("-nostdlib", "-Wl,--subsystem,console:5.2"),
    "c": ("-static", "-Wl,--subsystem,console:5.2"),
}
_LIBRARIES: dict[_Flavour, tuple[str, ...]] = {"kernel": ("-lntoskrnl", "-lhal"), "bare": ("-lkernel32", "-lgcc"), "c": ()}
_ENTRY: dict[_Flavour, dict[Arch, tuple[str, ...]]] = {
    "kernel": {"x64": ("-Wl,--entry,DriverEntry",), "x86": ("-Wl,--entry,_DriverEntry@8",)},
    "bare": {"x64": ("-Wl,--entry,Start",), "x86": ("-Wl,--entry,_Start",)},
    "c": {"x64": (), "x86": ()},
}

# x64 code can do without a single absolute address. ld then writes no .reloc section, and the image could not be told
# from one whose relocations were stripped: one pointer to itself keeps the section.
_ANCHOR = 'static const void *const anchor __attribute__((used, section(".rdata"))) = &anchor;\n'


@dataclass(frozen=True, slots=True)
class Compiler:
    """A mingw-w64 C compiler.

    Attributes:
        arch: What it compiles for.
        program: Its name.
        version: First line of ``--version``; part of what a build depends on.
        kernel_headers: Folder of ``ntddk.h``.
    """

    arch: Arch
    program: str
    version: str
    kernel_headers: Path


@dataclass(frozen=True, slots=True)
class Compiled:
    """What became of a compilation.

    Attributes:
        inputs: Every file that was read, as it was while it was read.
        warnings: What the compiler warned of, a line each: ``driver.c:12:5: warning: …``.
    """

    inputs: Inputs
    warnings: tuple[str, ...]


def find_compiler(arch: Arch) -> Compiler:
    """Find the compiler for ``arch`` and its kernel headers.

    Raises:
        HostToolError: It is not installed, or came without ``ddk/ntddk.h``.
    """
    program = f"{_TRIPLET[arch]}-gcc"
    hint = f"apt-get install {_PACKAGE[arch]}"
    version = run([program, "--version"], _TOOL_TIMEOUT_S, hint=hint).stdout.splitlines()[0]
    # The compiler says where it looks for headers on standard error.
    said = run([program, "-xc", "-E", "-v", "/dev/null"], _TOOL_TIMEOUT_S, hint=hint).stderr
    for line in said.splitlines():
        folder = Path(line.strip()) / "ddk"
        if line.startswith(" /") and (folder / "ntddk.h").is_file():
            return Compiler(arch, program, version, folder)
    raise HostToolError([program], None, message=f"{program} has no ddk/ntddk.h among its headers", hint=hint)


def recipe_hash(component: Component, compiler: Compiler, defines: Sequence[str] = ()) -> str:
    """SHA-256 over what decides the bytes of a build beside the files that it reads: compiler, flags, names.

    The names of all headers beside or below the manifest are part of it: a source may ask whether one is there.
    """
    digest = hashlib.sha256()
    headers = sorted(path.relative_to(component.folder).as_posix() for path in component.folder.rglob("*.h"))
    for part in (compiler.version, compiler.arch, *_commands(component, compiler, defines), _ANCHOR, *headers, *environment()):
        digest.update(part.encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()


def compile_component(component: Component, compiler: Compiler, target: Path, *, defines: Sequence[str] = ()) -> Compiled:
    """Compile and link a component.

    Args:
        component: With sources.
        compiler: For the wanted architecture.
        target: The file to write; its folder must exist. A driver's image is written once more beside it, with its
            symbols and line numbers, as ``.dbg``: `addr2line` and gdb tell from it what an address is.
        defines: Preprocessor definitions, ``NAME`` or ``NAME=VALUE``.

    Returns:
        What was read and what the compiler warned of.

    Raises:
        ConfigError: A mistake in the sources; with the compiler's words.
        HostToolError: The compiler could not work, or wrote a driver without a debug directory.
        LabError: The files change all the time.
    """
    for _ in range(_TRIES):
        with tempfile.TemporaryDirectory(prefix="lab-build-") as folder:
            job = _Job(component, compiler, Path(folder), defines)
            before = take_inputs(component.folder, job.headers())
            libraries = job.compile(target)
        # Somebody may save a file while the compiler reads it: the same before and behind it, it is what was compiled.
        after = take_inputs(component.folder, before.files)
        if after == before:
            return Compiled(take_inputs(component.folder, [*before.files, *libraries]), tuple(job.warnings))
    raise LabError(f"the files of {component.name} change while it is built", hint="wait until whatever writes them is done")


@dataclass(frozen=True, slots=True)
class _Job:
    """One compilation, in a scratch folder of its own."""

    component: Component
    compiler: Compiler
    work: Path
    defines: Sequence[str]
    warnings: list[str] = field(default_factory=list)
    #: Of each source: itself and the headers of the user that it includes.
    own: dict[str, list[str]] = field(default_factory=dict)

    def headers(self) -> list[str]:
        """The sources and all that they include, by the preprocessor's own list."""
        folder, sources = self.component.folder, self.component.manifest.sources
        refuse_utf16(folder, sources)
        found: dict[str, None] = {}
        rule = self.work / "rule.d"
        for source in sources:
            rules = ["-M", "-MT", "object", "-MF", str(rule), source]
            while not self._preprocessed(rules):
                pass  # each time one header more, so it comes to an end
            read = parse_dependencies(rule.read_text(encoding="utf-8", errors="surrogateescape"))
            self.own[source] = [name for name in read if not Path(name).is_absolute()]
            found |= dict.fromkeys(read)
        self.warnings.clear()  # the compiler says them once more
        return [name for name in found if not name.startswith(f"{self.work}/")]

    def _preprocessed(self, rules: Sequence[str]) -> bool:
        """False when a header was missed, and is there now by the name that was asked for."""
        try:
            self._tool([*self._command(), *rules], self.component.folder)
        except HostToolError as error:
            if not self._spelling().mend(error.output):
                raise self._explained(error) from None
            return False
        return True

    def _command(self) -> list[str]:
        return [*_compile_command(self.component, self.compiler, self.defines), *self._spelling().flags()]

    def _spelling(self) -> Spelling:
        headers = self.compiler.kernel_headers
        return Spelling(self.component.folder, self.work, [headers, headers.parent])

    def compile(self, target: Path) -> list[str]:
        """Compile and link, once :meth:`headers` were sought; gives the compiler's own objects and libraries that went in.

        Args:
            target: The file to write.
        """
        component, compiler, work = self.component, self.compiler, self.work
        objects: list[str] = []
        for number, source in enumerate(component.manifest.sources):
            objects.append(f"{number}.o")
            charset = charset_flags(component.folder, self.own[source], component.manifest.encoding)
            self._run([*self._command(), *charset, "-c", source, "-o", str(work / objects[-1])], component.folder)
        (work / "anchor.c").write_text(_ANCHOR, encoding="ascii")
        run([compiler.program, *_COMPILE, "-c", "anchor.c", "-o", "anchor.o"], _TOOL_TIMEOUT_S, cwd=work)
        link, libraries = _link_command(component, compiler), _LIBRARIES[_flavour(component)]
        rest = [*objects, "anchor.o", *libraries]
        # A plain name as the target: it stands in front of the rule's colon.
        self._run([*link, *rest, "-Wl,--dependency-file=rule.d", "-o", "image.bin"], work)
        shutil.move(work / "image.bin", target)
        if component.manifest.kind == "driver":
            # The linker hashes the symbols, too: left alone, an image and its symbols would have two ids.
            made = codeview(target)
            if made is None:
                raise HostToolError(
                    [*link],
                    None,
                    message=f"{compiler.program} linked {target.name} without a debug directory: no kernel announces it",
                    hint="a linker that knows --build-id for PE images; binutils-mingw-w64 2.40 does",
                )
            same_id = {_STRIP: [], _BUILD_ID: [f"{_BUILD_ID}=0x{made.build_id}"]}
            unstripped = [option for word in link for option in same_id.get(word, [word])]
            run([*unstripped, *rest, "-o", target.absolute().with_suffix(".dbg")], _TOOL_TIMEOUT_S, cwd=work)
        read = parse_dependencies((work / "rule.d").read_text(encoding="utf-8", errors="surrogateescape"))
        return [name for name in read if Path(name).is_absolute()]

    def _run(self, argv: Sequence[str], cwd: Path) -> None:
        """Run the compiler over what the user wrote."""
        try:
            self._tool(argv, cwd)
        except HostToolError as error:
            raise self._explained(error) from None

    def _tool(self, argv: Sequence[str], cwd: Path) -> None:
        # Its words in English, whatever the user's language: they are looked into.
        environ = {**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": ""}
        self.warnings.extend(warnings_in(run(argv, _TOOL_TIMEOUT_S, cwd=cwd, env=environ).stderr))

    def _explained(self, error: HostToolError) -> LabError:
        return explained(error, self.component.folder, self.component.file)


def _flavour(component: Component) -> _Flavour:
    if component.manifest.kind == "driver":
        return "kernel"
    return "bare" if component.manifest.runtime == "none" else "c"


def _compile_command(component: Component, compiler: Compiler, defines: Sequence[str]) -> list[str]:
    flavour = _flavour(component)
    headers = ["-isystem", str(compiler.kernel_headers), "-include", str(_WDK)] if flavour == "kernel" else []
    named = [f"-D{define}" for define in defines]
    flags = (*_COMPILE, *_ERRORS, *_MICROSOFT, *_COMPILE_FLAVOUR[flavour], *_COMPILE_ARCH[compiler.arch])
    return [compiler.program, *flags, *headers, *named]


def _link_command(component: Component, compiler: Compiler) -> list[str]:
    flavour = _flavour(component)
    return [compiler.program, *_LINK, *_LINK_FLAVOUR[flavour], *_ENTRY[flavour][compiler.arch]]


def _commands(component: Component, compiler: Compiler, defines: Sequence[str]) -> list[str]:
    return [
        *_compile_command(component, compiler, defines),
        *_link_command(component, compiler),
        *_LIBRARIES[_flavour(component)],
        *component.manifest.sources,
        component.manifest.encoding,
    ]
