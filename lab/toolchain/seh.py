"""Whether a component uses structured exception handling (``__try``), which GCC does not compile and Clang does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lab.toolchain.buildkeys import Language, language_of
from lab.toolchain.spelling import resolve

#: Comments, strings and characters. A string ends with its line at the latest: the text may be no valid C.
_NO_CODE = re.compile(
    r"""//(?:\\\r?\n|[^\n])*|/\*.*?(?:\*/|\Z)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?""",
    re.DOTALL,
)
# In C, Microsoft's headers define `try` and `except` as well; in C++, `try` is a keyword with another meaning.
_WORDS: dict[Language, re.Pattern[str]] = {
    "c": re.compile(r"\b(__try|_try|try(?=\s*\{))(?!\w)"),
    "c++": re.compile(r"\b(__try|_try)\b"),
}
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SehPlace:
    """The first use of structured exception handling.

    Attributes:
        file: From the folder of the manifest.
        line: Counted from 1.
        word: As it stands there: ``__try`` or ``try``.
    """

    file: str
    line: int
    word: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} uses {self.word}"


def seh_place(folder: Path, sources: Iterable[str], include: Sequence[str] = ()) -> SehPlace | None:
    """Where C and C++ sources, and those headers of the user that they include, use it first.

    Code that the preprocessor leaves out counts as well: only a compiler knows it, and this function decides which one is used.

    Args:
        folder: What the other paths are relative to.
        sources: The files that are compiled.
        include: Folders of headers.
    """
    for source in sources:
        language = language_of(source)
        if language not in _WORDS:
            continue
        for file, text in _with_headers(folder, source, include):
            code = _code(text) if "try" in text else ""
            match = _WORDS[language].search(code)
            if match:
                return SehPlace(file, code.count("\n", 0, match.start()) + 1, match[1])
    return None


def _code(text: str) -> str:
    """The text without comments and strings; its lines keep their numbers."""
    return _NO_CODE.sub(lambda match: "\n" * match[0].count("\n") or " ", text)


def _with_headers(folder: Path, source: str, include: Sequence[str]) -> Iterator[tuple[str, str]]:
    """A source and the headers of the user that it includes: path from ``folder``, and text."""
    waiting, seen = [folder / source], set[Path]()
    while waiting:
        path = waiting.pop(0)
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        try:
            # Only ASCII matters here, and each byte is a character of this encoding.
            text = path.read_text(encoding="latin-1")
        except OSError:
            continue  # the compiler reports it better
        yield Path(os.path.relpath(path, folder)).as_posix(), text
        places = [path.parent, folder, *(folder / name for name in include)]
        for name in _INCLUDE.findall(text):
            parts = PurePosixPath(name.replace("\\", "/")).parts
            found = next((file for file in (resolve(place, parts) for place in places) if file is not None), None)
            waiting += [found] if found is not None else []
