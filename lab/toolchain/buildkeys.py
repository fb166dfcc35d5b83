"""The keys of a manifest that say how something is compiled and linked: the same for drivers, programs and inline clients."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

Runtime = Literal["c", "none"]
#: For which Windows the headers declare functions.
Api = Literal["ws03", "vista", "win7", "win8", "win8.1", "win10", "win11"]
Warnings = Literal["errors", "on", "off"]
#: auto: Clang where a source uses `__try`, else GCC.
CompilerKey = Literal["auto", "gcc", "clang"]
Language = Literal["c", "c++", "asm"]

_LANGUAGES: dict[str, Language] = {".c": "c", ".cpp": "c++", ".cxx": "c++", ".cc": "c++", ".S": "asm"}
_DEFINE = re.compile(r"[A-Za-z_]\w*(=.*)?", re.DOTALL)
#: Options that change which file is linked, or that read a file whose changes the lab would not notice.
_NOT_TO_GIVE = re.compile(
    r"@.*|-c|-S|-E|-o.*|-M\w*.*|-x.*|-save-temps.*|-shared|-flto.*|-fsyntax-only|-dumpbase.*|--?sysroot.*|-Wl,.*|-l.*|-L.*|-pipe"
)


def language_of(source: str) -> Language:
    """The language of a source, by its suffix, which the manifest has checked."""
    return _LANGUAGES[PurePosixPath(source).suffix]


def is_library_file(folder: Path, name: str) -> bool:
    """Whether a library of a manifest is a file of the user, not one of the compiler's."""
    return "/" in name or name.endswith((".a", ".o", ".obj")) or (folder / name).is_file()


def relative_path(value: str, what: str) -> str:
    """A path from the manifest's folder, as it may stand in a manifest.

    Raises:
        ValueError: It is empty, absolute, or written with backslashes.
    """
    if "\\" in value:
        raise ValueError(f"must use slashes: write {value.replace(chr(92), '/')}")
    if not value.strip():
        raise ValueError(f"must name {what}")
    if Path(value).is_absolute():
        raise ValueError(
            f"must name {what} by its path relative to the manifest's folder, such as ../{Path(value).name}, because"
            " absolute paths differ between hosts"
        )
    return value


def _yes_and_no(value: object) -> object:
    """YAML reads a plain ``on`` as true and a plain ``off`` as false."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


def _as_words(value: object) -> object:
    """``defines`` may be a mapping, too: ``{LAB_LIMIT: 4, LAB_TRACE: }``."""
    if not isinstance(value, dict):
        return value
    # YAML reads a plain `yes` as true.
    plain = {name: int(text) if isinstance(text, bool) else text for name, text in value.items()}
    return [str(name) if text is None else f"{name}={text}" for name, text in plain.items()]


class BuildKeys(BaseModel):
    """How a component is compiled and linked. Paths are relative to the manifest's folder, and may lead out of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[str, ...] = Field(
        default=(), description="C (.c), C++ (.cpp, .cxx, .cc) and assembler (.S) files; default: image is a finished file"
    )
    include: tuple[str, ...] = Field(default=(), description="folders with headers, searched before those of the compiler")
    defines: Annotated[tuple[str, ...], BeforeValidator(_as_words)] = Field(
        default=(), description="preprocessor definitions: NAME, NAME=VALUE, or a mapping"
    )
    compiler: CompilerKey = Field(
        default="auto", description="auto: clang if a C or C++ source, or a header of yours, uses __try; gcc otherwise"
    )
    cflags: tuple[str, ...] = Field(default=(), description="more compiler options for all sources, placed after the lab's own")
    libraries: tuple[str, ...] = Field(
        default=(), description="import or static libraries: a name, such as ksecdd or ws2_32, or the path of an .a or .lib"
    )
    api: Api | None = Field(
        default=None,
        description="newest Windows whose functions the headers declare; default: what the sources define, or win10",
    )
    warnings: Annotated[Warnings, BeforeValidator(_yes_and_no)] = Field(
        default="on", description="errors: a warning stops the build; on: warnings are shown; off: they are hidden"
    )
    runtime: Runtime = Field(
        default="c",
        description="program: c: starts in main(), with the C library; none: starts in Start(), with only kernel32",
    )

    @field_validator("sources")
    @classmethod
    def _known_languages(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for source in value:
            suffix = PurePosixPath(relative_path(source, "a source")).suffix
            if suffix.lower() in (".asm", ".s") and suffix != ".S":
                raise ValueError(
                    f"has {source}, which the lab does not compile: write assembler in GNU syntax, in files that end in .S"
                )
            if suffix not in _LANGUAGES:
                raise ValueError(f"must end in one of {', '.join(_LANGUAGES)}; {source} does not")
        return value

    @field_validator("include")
    @classmethod
    def _folders(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(relative_path(folder, "a folder").rstrip("/") or "." for folder in value)

    @field_validator("defines")
    @classmethod
    def _definitions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for define in value:
            if not _DEFINE.fullmatch(define):
                raise ValueError(f"must be NAME or NAME=VALUE, without -D; {define} is not")
        return value

    @field_validator("cflags")
    @classmethod
    def _options(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for flag in value:
            if _NOT_TO_GIVE.fullmatch(flag):
                raise ValueError(
                    f"has {flag}: the lab decides which files are read, written and linked (sources, include, libraries)"
                )
        return value

    @field_validator("libraries")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for library in value:
            relative_path(library, "a library")
            if library.startswith("-"):
                raise ValueError(f"must be names or paths, without -l; {library} is not")
        return value
