"""Compiles and links drivers and guest programs for mingw-w64: same inputs, same bytes, warnings are shown."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import ConfigError, HostToolError, LabError
from lab.host.process import run
from lab.toolchain.buildkeys import language_of
from lab.toolchain.charset import charset_flags
from lab.toolchain.clang import INLINED, Clang
from lab.toolchain.codeview import codeview
from lab.toolchain.counting import counting_objects
from lab.toolchain.diagnosis import explained, files_in, library_in, refuse_utf16, warnings_in
from lab.toolchain.flags import (
    BUILD_ID,
    KERNEL,
    STRIP,
    By,
    build_text,
    compile_flags,
    header_flags,
    languages,
    libraries,
    link_flags,
    links_by_cxx,
)
from lab.toolchain.flags import (
    Arch as Arch,
)
from lab.toolchain.inputs import Inputs, environment, parse_dependencies, take_inputs
from lab.toolchain.instrument import counter_flags, runtime_folder, write_notes
from lab.toolchain.manifest import Component
from lab.toolchain.spelling import Spelling
from lab.toolchain.transcode import transcoded

ARCHES: tuple[Arch, ...] = ("x64", "x86")

_TRIPLET: dict[Arch, str] = {"x64": "x86_64-w64-mingw32", "x86": "i686-w64-mingw32"}
_PACKAGE: dict[Arch, str] = {"x64": "mingw-w64-x86-64", "x86": "mingw-w64-i686"}
_TOOL_TIMEOUT_S = 120.0
#: An editor saves once; a program that writes all the time is an error.
_TRIES = 3
_DEFINITIONS: dict[Arch, str] = {"x64": "ntoskrnl.def", "x86": "ntoskrnl-x86.def"}

# x64 code may have no absolute address at all. ld then writes no .reloc section, as if relocations had been stripped: one
# pointer to itself keeps the section.
_ANCHOR = 'static const void *const anchor __attribute__((used, section(".rdata"))) = &anchor;\n'
_LINK_WORDS = b"/DEFAULTLIB:"
# The intrinsics of mingw-w64 as functions: seh.h says who calls them.
_INLINED = "#include <intrin.h>\n"
# The entry of a pure virtual function in a table of virtual functions; it is never called.
_PURE = "void __cxa_pure_virtual(void) { __builtin_trap(); }\n"


@dataclass(frozen=True, slots=True)
class Compiler:
    """A mingw-w64 compiler.

    Attributes:
        arch: What it compiles for.
        program: Its name, for C, assembler and the linker.
        version: First line of ``--version``; part of what a build depends on.
        kernel_headers: Folder of ``ntddk.h``.
    """

    arch: Arch
    program: str
    version: str
    kernel_headers: Path

    @property
    def cxx(self) -> str:
        """The C++ compiler; asked for when a source needs it."""
        return f"{_TRIPLET[self.arch]}-g++"

    def tool(self, name: str) -> str:
        """One of the binary tools that belong to it, such as ``ar``."""
        return f"{_TRIPLET[self.arch]}-{name}"


@dataclass(frozen=True, slots=True)
class Compiled:
    """The result of a compilation.

    Attributes:
        inputs: Every file that was read, as it was while it was read.
        warnings: The compiler's warnings, a line each: ``driver.c:12:5: warning: …``.
    """

    inputs: Inputs
    warnings: tuple[str, ...]


def find_compiler(arch: Arch) -> Compiler:
    """Find the compiler for ``arch`` and its kernel headers.

    Raises:
        HostToolError: It is not installed, or came without ``ddk/ntddk.h``.
    """
    program = f"{_TRIPLET[arch]}-gcc"
    hint = f"apt-get install gcc-{_PACKAGE[arch]}"
    version = run([program, "--version"], _TOOL_TIMEOUT_S, hint=hint).stdout.splitlines()[0]
    # The compiler prints its header folders on standard error.
    said = run([program, "-xc", "-E", "-v", "/dev/null"], _TOOL_TIMEOUT_S, hint=hint).stderr
    for line in said.splitlines():
        folder = Path(line.strip()) / "ddk"
        if line.startswith(" /") and (folder / "ntddk.h").is_file():
            return Compiler(arch, program, version, folder)
    raise HostToolError([program], None, message=f"{program} has no ddk/ntddk.h among its headers", hint=hint)


def recipe_hash(
    component: Component,
    compiler: Compiler,
    defines: Sequence[str] = (),
    *,
    clang: Clang | None = None,
    measured: bool = False,
) -> str:
    """SHA-256 over what decides the bytes of a build beside the files that it reads: compiler, flags, names.

    The names of all headers beside or below the manifest, and of those in its ``include`` folders, are part of it: a source may
    test whether one exists.
    """
    folder = component.folder
    headers = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.h"))
    for place in component.manifest.include:
        headers += sorted(f"{place}/{path.name}" for path in (folder / place).glob("*.h*"))
    text = build_text(component, compiler.arch, "clang" if clang else "gcc")
    parts = [compiler.version, compiler.arch, text, *defines, str(compiler.kernel_headers)]
    parts += [clang.version, *INLINED] if clang else []
    if "c++" in languages(component):
        parts.append(_cxx_version(compiler))
    if measured:
        runtime = sorted(runtime_folder().glob("*.[ch]"))
        parts += ["measured, with its sources", *(file.read_text(encoding="ascii") for file in runtime)]
    digest = hashlib.sha256()
    for part in (*parts, _ANCHOR, _PURE, *headers, *environment()):
        digest.update(part.encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()


def _cxx_version(compiler: Compiler) -> str:
    hint = f"apt-get install g++-{_PACKAGE[compiler.arch]}"
    return run([compiler.cxx, "--version"], _TOOL_TIMEOUT_S, hint=hint).stdout.splitlines()[0]


def compile_component(
    component: Component,
    compiler: Compiler,
    target: Path,
    *,
    defines: Sequence[str] = (),
    clang: Clang | None = None,
    measured: bool = False,
) -> Compiled:
    """Compile and link a component.

    Args:
        component: With sources.
        compiler: For the wanted architecture.
        target: The file to write; its folder must exist. A driver's image is written once more beside it, with its
            symbols and line numbers, as ``.dbg``: `addr2line` and gdb use it to explain addresses.
        defines: Preprocessor definitions, ``NAME`` or ``NAME=VALUE``.
        clang: Compiles its C and C++ sources in the place of GCC, which still assembles and links.
        measured: Count how often each line of a driver runs; the compiler's notes are written beside it, as ``.notes.zip``.

    Returns:
        What was read and what the compiler warned of.

    Raises:
        ConfigError: A mistake in the sources; with the compiler's words.
        HostToolError: The compiler failed, or wrote a driver without a debug directory.
        LabError: The files change all the time.
    """
    for _ in range(_TRIES):
        with tempfile.TemporaryDirectory(prefix="lab-build-") as folder:
            job = _Job(component, compiler, Path(folder), defines, clang, measured)
            search = component.manifest.include
            before = take_inputs(component.folder, job.headers(), search)
            read = job.compile(target)
            if measured:
                own = list(dict.fromkeys(name for names in job.own.values() for name in names))
                notes = target.absolute().with_suffix(".notes.zip")
                write_notes(notes, component, compiler.arch, job.work, before.files, own)
        # A file may be saved while the compiler reads it: if it is the same before and after, it is what was compiled.
        after = take_inputs(component.folder, before.files, search)
        if after == before:
            shown = () if component.manifest.warnings == "off" else tuple(dict.fromkeys(job.warnings))
            return Compiled(take_inputs(component.folder, [*before.files, *read], search), shown)
    raise LabError(
        f"the files of {component.name} changed during the build", hint="wait until the program that writes them has finished"
    )


@dataclass(frozen=True, slots=True)
class _Job:
    """One compilation, in a scratch folder of its own."""

    component: Component
    compiler: Compiler
    work: Path
    defines: Sequence[str]
    clang: Clang | None = None
    measured: bool = False
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
            while not self._preprocessed(source, rules):
                pass  # one more header in each round, so it ends
            read = _names_in(rule)
            self.own[source] = [name for name in read if not Path(name).is_absolute()]
            refuse_utf16(folder, self.own[source])
            found |= dict.fromkeys(read)
        return [name for name in found if not name.startswith(f"{self.work}/")]

    def _preprocessed(self, source: str, rules: Sequence[str]) -> bool:
        """False when a header was missing, and has been written under the name that the source uses."""
        try:
            self._tool([*self._command(source), *rules], self.component.folder)  # the compiler prints its warnings again
        except HostToolError as error:
            if not self._spelling().mend(error.output):
                refuse_utf16(self.component.folder, files_in(error.output))
                raise self._explained(error) from None
            return False
        return True

    def _command(self, source: str, number: int | None = None) -> list[str]:
        """The compiler and its options; with the number of the source, those that have its lines counted, too."""
        component, compiler, language = self.component, self.compiler, language_of(source)
        program = compiler.cxx if language == "c++" else compiler.program
        clang = self._clang(source)
        if clang:
            program = clang.program
        by: By = "clang" if clang else "gcc"
        flags = compile_flags(component, compiler.arch, language, self.defines, by)
        flags += header_flags(component, compiler.kernel_headers, language, by)
        if self.measured and number is not None and language != "asm":
            flags += counter_flags(number, component.folder.resolve(), self.work)
        return [program, *flags, *self._spelling().flags()]

    def _clang(self, source: str) -> Clang | None:
        return None if language_of(source) == "asm" else self.clang

    def _spelling(self) -> Spelling:
        headers = self.compiler.kernel_headers
        return Spelling(self.component.folder, self.work, self.component.manifest.include, [headers, headers.parent])

    def compile(self, target: Path) -> list[str]:
        """Compile and link, after :meth:`headers`; returns the files that were read beside sources and headers.

        That is the compiler's own objects, libraries, and files that assembler sources include (``.incbin``).

        Args:
            target: The file to write.
        """
        component, compiler, work = self.component, self.compiler, self.work
        objects, read = self._objects()
        (work / "anchor.c").write_text(_ANCHOR, encoding="ascii")
        self._own(["anchor.c", "-o", "anchor.o"])
        link = link_flags(component, compiler.arch, measured=self.measured)
        counting = counting_objects(component, compiler, work) if self.measured else ()
        rest = [*objects, "anchor.o", *counting, *libraries(component), *self._support()]
        linker = compiler.cxx if links_by_cxx(component) else compiler.program
        # A plain name as the target: it stands in front of the rule's colon.
        self.warnings.extend(self._run([linker, *link, *rest, "-Wl,--dependency-file=rule.d", "-o", "image.bin"], work))
        shutil.move(work / "image.bin", target)
        if component.manifest.kind == "driver":
            # The linker hashes the symbols, too: without this, an image and its symbols would have different ids.
            made = codeview(target)
            if made is None:
                raise HostToolError(
                    [linker, *link],
                    None,
                    message=f"{linker} linked {target.name} without a debug directory, so no kernel announces its loads",
                    hint="use a linker that supports --build-id for PE images, such as binutils-mingw-w64 2.40",
                )
            same_id = {STRIP: [], BUILD_ID: [f"{BUILD_ID}=0x{made.build_id}"]}
            unstripped = [option for word in link for option in same_id.get(word, [word])]
            run([linker, *unstripped, *rest, "-o", target.absolute().with_suffix(".dbg")], _TOOL_TIMEOUT_S, cwd=work)
        return [*read, *(name for name in _names_in(work / "rule.d") if Path(name).is_absolute())]

    def _objects(self) -> tuple[list[str], list[str]]:
        """Compile the sources, as many at once as there are processors; returns the objects, and what the assembler read."""
        folder, sources, work = self.component.folder, self.component.manifest.sources, self.work
        objects, rules = ([f"{number}.{kind}" for number in range(len(sources))] for kind in ("o", "d"))
        # Sources may have headers in common, of which copies in another encoding are made: one after the other.
        commands = [
            [*self._command(source, number), *self._how(source, work / rule), "-c", source, "-o", str(work / made)]
            for number, (source, made, rule) in enumerate(zip(sources, objects, rules, strict=True))
        ]
        # Warnings, and the error of the first wrong source, are those of one compilation after the other.
        with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
            for warnings in pool.map(lambda command: self._run(command, folder), commands):
                self.warnings.extend(warnings)
        read: list[str] = []
        for source, made, rule in zip(sources, objects, rules, strict=True):
            # The assembler's own input, which the compiler wrote, is gone by now.
            read += [name for name in _names_in(work / rule) if (folder / name).is_file()]
            if self._clang(source):
                self._without_link_words(made)
            self._refuse_constructors(source, made)
        return objects, read

    def _how(self, source: str, rule: Path) -> list[str]:
        """Options for encodings, and for the list of files that the assembler reads.

        Clang's own assembler writes no such list.
        """
        own, encoding = self.own[source], self.component.manifest.encoding
        if self._clang(source):
            return transcoded(self.component.folder, own, encoding, self.work)
        charset = [] if language_of(source) == "asm" else charset_flags(self.component.folder, own, encoding)
        return [*charset, f"-Wa,--MD,{rule}"]

    def _without_link_words(self, made: str) -> None:
        """Remove ``#pragma comment(lib, …)``: Clang passes it on as Microsoft's options, and ld warns; GCC ignores it."""
        if _LINK_WORDS in (self.work / made).read_bytes():
            run([self.compiler.tool("objcopy"), "--remove-section=.drectve", made], _TOOL_TIMEOUT_S, cwd=self.work)

    def _own(self, words: Sequence[str]) -> None:
        """Compile a source of the lab's own."""
        run([self.compiler.program, "-std=gnu11", "-O2", "-fno-ident", "-c", *words], _TOOL_TIMEOUT_S, cwd=self.work)

    def _support(self) -> list[str]:
        """Libraries, made here, for symbols that nothing before them defines; mostly the linker takes nothing from them."""
        component, compiler, work = self.component, self.compiler, self.work
        made: list[str] = []
        if component.manifest.kind == "driver":
            definitions = KERNEL / _DEFINITIONS[compiler.arch]
            words = ["--kill-at", "--temp-prefix", "more", "-d", str(definitions), "-l", "more.a"]
            run([compiler.tool("dlltool"), *words], _TOOL_TIMEOUT_S, cwd=work)
            made.append("more.a")
        if self.clang and component.manifest.kind == "driver":
            (work / "inlined.c").write_text(_INLINED, encoding="ascii")
            run([self.clang.program, *INLINED, "-c", "inlined.c", "-o", "inlined.o"], _TOOL_TIMEOUT_S, cwd=work)
            run([compiler.tool("ar"), "rcsD", "inlined.a", "inlined.o"], _TOOL_TIMEOUT_S, cwd=work)
            made.append("inlined.a")
        if "c++" in languages(component) and not links_by_cxx(component):
            (work / "pure.c").write_text(_PURE, encoding="ascii")
            self._own(["pure.c", "-o", "pure.o"])
            run([compiler.tool("ar"), "rcsD", "pure.a", "pure.o"], _TOOL_TIMEOUT_S, cwd=work)
            made.append("pure.a")
        return made

    def _refuse_constructors(self, source: str, made: str) -> None:
        """Refuse a driver with constructors of variables: nothing runs them, so it would not do what its source says."""
        if language_of(source) != "c++" or links_by_cxx(self.component):
            return
        said = run([self.compiler.tool("objdump"), "-h", made], _TOOL_TIMEOUT_S, cwd=self.work).stdout
        if ".ctors" in said:
            raise ConfigError(
                "has global variables with constructors, and the kernel does not run constructors",
                file=str(self.component.folder / source),
                hint="make the constructor constexpr, or use a pointer, and create the object in DriverEntry",
            )

    def _run(self, argv: Sequence[str], cwd: Path) -> list[str]:
        """Run the compiler over what the user wrote; returns its warnings."""
        try:
            return self._tool(argv, cwd)
        except HostToolError as error:
            raise self._explained(error) from None

    def _tool(self, argv: Sequence[str], cwd: Path) -> list[str]:
        # Its output in English, whatever the user's language: it is parsed.
        environ = {**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": ""}
        return warnings_in(run(argv, _TOOL_TIMEOUT_S, cwd=cwd, env=environ).stderr)

    def _explained(self, error: HostToolError) -> LabError:
        component = self.component
        library = library_in(error.output)
        found = explained(error, component.folder, component.file, measured=self.measured)
        for number, name in enumerate(component.manifest.libraries):
            if library in (name.removesuffix(".lib"), str((component.folder / name).absolute())):
                said = found.message.removeprefix(f"{component.file}: ")
                return component.wrong(said, "libraries", number, hint=found.hint)
        return found


def _names_in(rule: Path) -> list[str]:
    if not rule.exists():
        return []
    return parse_dependencies(rule.read_text(encoding="utf-8", errors="surrogateescape"))
