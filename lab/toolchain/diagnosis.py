"""Why the compiler or the linker failed: a mistake in the user's source, or a problem of this host.

What is wrong in a source is a ConfigError (usage) with the tool's own words, file and line, and what to do where that is known:
above all where a driver was written for Microsoft's compiler, and mingw-w64's has no such thing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.errors import ConfigError, HostToolError, LabError
from lab.host.textfile import SAVE_AS_UTF8, marked_encoding

#: Messages of the tools that do not come from the source: damage, a full disk, no memory, a killed process.
_HOST = re.compile(
    r"internal compiler error|Killed signal|terminated with signal|[Oo]ut of memory|memory exhausted|Cannot allocate memory"
    r"|No space left|Input/output error|cannot execute|installation problem|not supported by iconv|no iconv implementation"
    r"|PLEASE submit a bug report|unable to execute command|error in backend"
)
_CHARSETS = re.compile(r"not supported by iconv|no iconv implementation")
_PLACE = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+)(?::\d+)?: (?:fatal )?error: (?P<said>.*)$", re.MULTILINE)
_NAMED = re.compile(r"(?:^|from )([^:\n]+):\d+[:,]", re.MULTILINE)
#: GCC's words, and Clang's.
_MISSING = re.compile(r"fatal error: '?(?P<name>.+?)(?:: No such file or directory|' file not found)")
_UNDEFINED = re.compile(r"undefined reference to [`‘](?P<name>[^'’]+)['’]")
# ld writes no blank in front of the name of a file that it does not know.
_ERROR_LINE = re.compile(r"error:|undefined reference|multiple definition|\bld:")
#: The name of a library that does not exist; the path of a file that is not a library.
_LIBRARY = re.compile(r"cannot find -l(?P<name>[^\s:]+)|\bld: ?(?P<path>/[^:\n]+): file format not recognized")
_SHOWN = 24
_FINISHED = "build it with the WDK and name the finished .sys as `image`, without `sources`"
#: Seen with 19.1.7: `__try { flag ? one() : two(); }`, where both give a value.
_CLANG_CRASHED = re.compile(r"clang frontend command failed|PLEASE submit a bug report|^ *#\d+ 0x.*\bclang::", re.MULTILINE)
_FRAME = re.compile(r" *#\d+ 0x")
#: Last line of Clang's output: it may quote a line with __try for another reason.
_BY_CLANG = re.compile(r"^\d+ (?:warnings?|errors?)(?: and \d+ errors?)? generated\.$", re.MULTILINE)
#: What GCC says to __try; `try` and `except` are Microsoft's macros for it, and GCC shows the line.
_SEH = (
    re.compile(
        r"__try|__except|__finally|__leave|[‘'`]try[’']|declaration of function [‘'`]except[’']"
        r"|^\s*\d+ \|[\s}]*(?:try|finally)\s*\{?\s*$|^\s*\d+ \|[\s}]*except\s*\(",
        re.MULTILINE,
    ),
    "it uses structured exception handling (__try, try, except), which GCC lacks: write `compiler: clang` into its manifest",
)
#: What the compiler says to code for Microsoft's, and what to do.
_IDIOMS = (
    (
        re.compile(r"before string constant[^\n]*\n[^\n]*__FUNCTION__|__FUNCTION__ \""),
        'in GCC, __FUNCTION__ is not a string literal: write "%s: …" and pass __FUNCTION__ as an argument',
    ),
    (
        re.compile(r"[’'] undeclared|unknown type name|was not declared in this scope|use of undeclared identifier"),
        "the kernel headers of mingw-w64 do not have this name: include the header or define the macro that"
        f" declares it (also by `defines` in the manifest), or {_FINISHED}",
    ),
    (
        re.compile(r"implicit declaration of function|call to undeclared (?:library )?function"),
        f"the kernel headers of mingw-w64 do not declare it: correct the spelling, declare it in the source, or {_FINISHED}",
    ),
    (
        re.compile(r"error: (?:unknown argument|unsupported option|argument unused)"),
        "Clang compiles a driver that uses __try, and `cflags` must be options of Clang",
    ),
    (
        re.compile(r"illegal character encoding in"),
        "name the encoding of the sources in the manifest, for example `encoding: gbk`",
    ),
    (
        re.compile(r"to execution character set|failure to convert"),
        "name the encoding of the sources in the manifest, for example `encoding: gbk`",
    ),
    (
        re.compile(r"invalid suffix [\"“`‘'][uU]?[iI](8|16|32|64)"),
        "GCC does not have these suffixes of numbers: write LL for i64 and ULL for ui64",
    ),
    (
        re.compile(r"conflicting types for|resolving _\w+@\d+ by linking to _"),
        "for x86 the WDK compiles with stdcall as the default (/Gz), and GCC does not: write NTAPI before the function's name",
    ),
    (
        re.compile(r"cannot find entry symbol"),
        'a driver needs `DriverEntry(PDRIVER_OBJECT, PUNICODE_STRING)`, not static, and in C++ extern "C"',
    ),
    (
        re.compile(r"cannot find -l"),
        "mingw-w64 has no import library with this name: write the path of an .a or .lib file under `libraries`",
    ),
    (
        re.compile(r"file format not recognized"),
        "it is no library for Windows: `libraries` needs import or static libraries (.a, .lib) or object files (.o, .obj)",
    ),
    (
        re.compile(r"exception handling disabled|cannot use .?dynamic_cast|cannot use .?typeid"),
        "in the kernel, C++ has no exceptions and no run-time type information",
    ),
    (re.compile(r"\[-Werror"), "`warnings: on` in the manifest shows it and continues the build"),
)
_HEADERS = (
    (re.compile(r"^(wdf|ucx|udecx)", re.IGNORECASE), f"mingw-w64 has no headers of KMDF: {_FINISHED}"),
    (
        re.compile(r"\.tmh$", re.IGNORECASE),
        f"the preprocessor of WPP tracing, a part of the WDK, generates it: {_FINISHED}",
    ),
)


def refuse_utf16(folder: Path, names: Iterable[str]) -> None:
    """Refuse sources and headers in UTF-16, for which GCC would report thousands of stray characters.

    Args:
        folder: What the names are relative to.
        names: Of the user's files.

    Raises:
        ConfigError: One is in UTF-16.
    """
    for name in names:
        file = folder / name
        try:
            with file.open("rb") as stream:
                start = stream.read(4)
        except OSError:
            continue  # the compiler reports it better
        # Without a mark, every other byte of a source's first characters is zero.
        if marked_encoding(start) == "utf-16" or (b"\0" in start[:2] and any(start)):
            raise ConfigError("is UTF-16, which the compiler cannot read", file=str(file), hint=SAVE_AS_UTF8)


def explained(error: HostToolError, folder: Path, manifest: Path, *, measured: bool = False) -> LabError:
    """The error for the user that a failure of the compiler or of the linker means.

    Args:
        error: The failure.
        folder: Of the sources: the names in the tool's words are relative to it.
        manifest: The component's manifest, for errors without a line in a source.
        measured: The driver is built to count its lines.

    Returns:
        A ConfigError for a mistake in the source; else ``error``, with a hint where there is one.
    """
    output = error.output
    if _CLANG_CRASHED.search(output):
        hint = (
            "Clang 19 crashes on a __try block that ends with ?: or an intrinsic function without using the result:"
            " use the result, or add a statement after it"
        )
        said = "\n".join(line for line in output.splitlines() if not _FRAME.match(line))
        return HostToolError(error.argv, error.exit_code, said, message="Clang crashed", hint=hint)
    if _CHARSETS.search(output):
        hint = "apt-get install libc-gconv-modules-extra, or save the sources as UTF-8 and leave `encoding` out"
        return HostToolError(error.argv, error.exit_code, output, hint=hint)
    if error.exit_code is None or error.exit_code < 0 or _HOST.search(output) or not _ERROR_LINE.search(output):
        return error
    place = _PLACE.search(output)
    shown = "\n".join(f"    {line}" for line in _relevant(output))
    hint = next(filter(None, _hints(output, measured=measured)), "")
    if place is None:
        return ConfigError(f"does not link:\n{shown}", file=str(manifest), hint=hint)
    return ConfigError(f"does not compile:\n{shown}", file=str(folder / place["file"]), line=int(place["line"]), hint=hint)


def library_in(output: str) -> str:
    """The library that the linker did not find (its name) or could not read (its path); empty if it was something else."""
    found = _LIBRARY.search(output)
    return (found["name"] or found["path"]) if found else ""


def files_in(output: str) -> list[str]:
    """The files of the user that a compiler's words name."""
    return list(dict.fromkeys(name for name in _NAMED.findall(output) if not Path(name).is_absolute()))


def warnings_in(output: str) -> list[str]:
    """The warnings that a compiler wrote, one line each, without the lines of the source that follow them."""
    return [line for line in output.splitlines() if ": warning: " in line]


def _relevant(output: str) -> list[str]:
    """The tool's words from its first error on."""
    lines = output.rstrip().splitlines()
    first = next((number for number, line in enumerate(lines) if _ERROR_LINE.search(line)), 0)
    shown = lines[first : first + _SHOWN]
    return [*shown, f"… and {len(lines) - first - _SHOWN} more lines"] if len(lines) - first > _SHOWN else shown


def _hints(output: str, *, measured: bool = False) -> Iterator[str]:
    missing = _MISSING.search(output)
    if missing:
        name = missing["name"]
        yield from (hint for pattern, hint in _HEADERS if pattern.search(name))
        yield (
            f"{name} is neither beside the sources nor among the headers of mingw-w64: if it is your own, name its"
            f" folder, `include: [../inc]` in the manifest; if it belongs to the WDK, {_FINISHED}"
        )
    undefined = _UNDEFINED.search(output)
    if undefined and undefined["name"].startswith("operator "):
        yield "a C++ driver defines operators new and delete itself, with ExAllocatePoolWithTag and ExFreePoolWithTag"
    elif undefined and re.match(r"__cxa_|__gxx_|__emutls|_Unwind|std::", undefined["name"]):
        yield "the kernel has no C++ library: no exceptions, no std::, no thread_local, no destructors of global variables"
    elif undefined and measured:
        # C has no code for a function that is only `inline`: it is there for calls that the optimizer replaces.
        yield (
            "with --coverage, a driver is not optimized, and no function is expanded at its calls: if it links without"
            f" --coverage, make {undefined['name']} `static inline`"
        )
    elif undefined:
        yield (
            f"{undefined['name']} is neither in the sources nor in mingw-w64's import libraries of ntoskrnl.exe and hal.dll;"
            f" a driver that needs another module: {_FINISHED}"
        )
    idioms = _IDIOMS if _BY_CLANG.search(output) else (_SEH, *_IDIOMS)
    yield from (hint for pattern, hint in idioms if pattern.search(output))
