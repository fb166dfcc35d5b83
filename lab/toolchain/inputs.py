"""The inputs of a build, from the output of the compiler and the linker, and whether all of them are unchanged.

Both tools can write down every file that they read (``-M``, ``--dependency-file``), as a rule of a makefile. The content of
each counts, wherever it lies: headers beside the component, those of the compiler, and the libraries that were linked.

The list does not contain files that were searched for and not found. A file that appears later in an earlier folder of the
search, with the name of a file that was read, would be read in its place: such names are checked, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.toolchain.files import sha256_of

#: Environment variables that make the compiler read, or write, other files.
ENVIRONMENT = ("CPATH", "C_INCLUDE_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX", "LIBRARY_PATH", "SOURCE_DATE_EPOCH")
#: Of these, the ones that hold folders of headers.
_HEADER_PATHS = ("CPATH", "C_INCLUDE_PATH")
#: `#include "one/two/three.h"` is looked for under its last one, two or three names.
_TAIL = 3

# An escaped newline or blank, a name's characters with what the compiler escapes in them, blanks. GCC doubles the backslashes
# in front of a blank or a #, and no others.
_TOKEN = re.compile(r"\\\r?\n|(?:\$\$|\\+[ \t#]|\\(?!\r?\n)|[^\s\\$]|\$)+|\s+")
_END = re.compile(r"(?<!\\)\r?\n")
_ESCAPED = re.compile(r"(\\+)([ \t#])")


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files of one build.

    Attributes:
        files: Path, as the tool wrote it (relative to the component's folder, or absolute) → SHA-256.
        shadows: Existing files that no tool read, with names and places that a search could find: when one appears or
            disappears, the search may have another result.
    """

    files: Mapping[str, str]
    shadows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileHashes:
    """Hashes of files, each computed once: components share most of their headers."""

    _known: dict[Path, str] = field(default_factory=dict)

    def of(self, path: Path) -> str:
        """SHA-256 of a file; empty where there is none."""
        if path not in self._known:
            try:
                self._known[path] = sha256_of(path)
            except OSError:
                self._known[path] = ""
        return self._known[path]


def parse_dependencies(text: str) -> list[str]:
    """The files after the colon of a makefile's first rule, as GCC and ld write it, each once and in their order.

    ld adds a rule without files for each of them, so that make does not mind one that is gone; those say nothing more.

    Args:
        text: The rule; its target must be one word without special characters.
    """
    _, _, names = text.partition(":")
    names = _END.split(names, maxsplit=1)[0]
    found = (match.group() for match in _TOKEN.finditer(names))
    return list(dict.fromkeys(_unescape(name) for name in found if not name.isspace() and name.strip("\\\r\n")))


def take_inputs(folder: Path, names: Iterable[str], search: Sequence[str] = ()) -> Inputs:
    """Read the files of these names, which are relative to a component's folder, as they are now.

    A file that no longer exists has an empty hash, so that the build does not count as up to date.

    Args:
        folder: The component's folder.
        names: Of the files.
        search: Folders of headers that the component names.
    """
    hashes = FileHashes()
    files = {name: hashes.of(folder / name) for name in names}
    return Inputs(files, tuple(_shadows(folder, files, search)))


def unchanged(inputs: Inputs, folder: Path, hashes: FileHashes, search: Sequence[str] = ()) -> bool:
    """Whether a build of these inputs would read the same again.

    Args:
        inputs: Of the build.
        folder: The component's folder.
        hashes: Of the files, as they are now.
        search: Folders of headers that the component names.
    """
    if not inputs.files or not all(inputs.files.values()):
        return False
    if any(hashes.of(folder / name) != sha256 for name, sha256 in inputs.files.items()):
        return False
    return tuple(_shadows(folder, inputs.files, search)) == inputs.shadows


def environment() -> list[str]:
    """The user's environment variables that the compiler reads, as ``NAME=VALUE``."""
    return [f"{name}={os.environ[name]}" for name in ENVIRONMENT if name in os.environ]


def _shadows(folder: Path, files: Mapping[str, str], search: Sequence[str]) -> Iterator[str]:
    """Files that are not among ``files``, lie where a search begins, and have the name of one of them."""
    begins = dict.fromkeys(["", *search, *(str(Path(name).parent) for name in files if not Path(name).is_absolute())])
    for variable in _HEADER_PATHS:
        begins |= dict.fromkeys(filter(None, os.environ.get(variable, "").split(os.pathsep)))
    tails = dict.fromkeys(
        "/".join(parts[-length:])
        for name in files
        for parts in [name.split("/")]
        for length in range(1, min(_TAIL, len(parts)) + 1)
    )
    known = {os.path.normpath(name) for name in files}
    candidates = {os.path.normpath(Path(begin, tail)) for begin in begins for tail in tails} - known
    yield from sorted(name for name in candidates if (folder / name).is_file())


def _unescape(name: str) -> str:
    name = _ESCAPED.sub(lambda match: "\\" * (len(match[1]) // 2) + match[2], name)
    return name.replace("$$", "$")
