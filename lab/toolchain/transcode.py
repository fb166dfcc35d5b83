"""Sources for Clang, which reads and writes UTF-8 only: those in another encoding, or with strings in another one.

Each such file is written once more into the scratch folder, in UTF-8, with escapes for the bytes of narrow text beyond ASCII.
Clang reads the copy in place of the file, and reports the file's own name and lines (an overlay of its file system:
https://clang.llvm.org/docs/ClangCommandLineReference.html, ``-ivfsoverlay``). The user's files stay as they are.
"""

from __future__ import annotations

import codecs
import json
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from lab.errors import ConfigError
from lab.toolchain.charset import MARK_ALONE, UTF8, encoding_of

#: Comments and names of headers; then strings with their prefixes. A string ends with its line at the latest.
_TOKEN = re.compile(
    r"""//(?:\\\r?\n|[^\n])*|/\*.*?(?:\*/|\Z)|^[ \t]*\#[ \t]*include[^\n]*"""
    r"""|(?P<kind>\b(?:u8|[LuU]))?(?P<text>"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)""",
    re.DOTALL | re.MULTILINE,
)


def transcoded(folder: Path, names: Iterable[str], encoding: str, work: Path) -> list[str]:
    """Flags of Clang for one source; none where its files and their strings are UTF-8.

    Args:
        folder: What the names are relative to.
        names: The source and the headers of the user that it includes.
        encoding: Of the manifest, as Python names it.
        work: Scratch folder.

    Raises:
        ConfigError: A string has a character that the encoding does not have.
    """
    if encoding == UTF8:
        return []
    roots: list[dict[str, str]] = []
    for name in names:
        file = folder / name
        found = encoding_of(file, encoding)
        if found is None:
            logging.getLogger(__name__).warning("%s is not in %s; strings keep their bytes", file, encoding)
        if not found or found == MARK_ALONE:
            continue
        copy = work / f"utf-8-{len(roots)}"
        text = file.read_bytes().removeprefix(codecs.BOM_UTF8).decode(found)
        copy.write_bytes(_with_bytes(text, encoding, file).encode(UTF8))
        place = os.path.normpath(folder.resolve() / name)
        roots.append({"type": "file", "name": place, "external-contents": str(copy)})
    if not roots:
        return []
    overlay = work / "overlay.json"
    overlay.write_text(json.dumps({"version": 0, "use-external-names": False, "roots": roots}), encoding=UTF8)
    return ["-ivfsoverlay", str(overlay)]


def _with_bytes(text: str, encoding: str, file: Path) -> str:
    """The text, with narrow strings beyond ASCII as octal escapes of their bytes: they end after three digits."""

    def escaped(match: re.Match[str]) -> str:
        if match["text"] is None or match["kind"]:
            return match[0]
        try:
            return "".join(sign if sign.isascii() else _octal(sign.encode(encoding)) for sign in match["text"])
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"{error.object!r} cannot be written in {encoding}",
                file=str(file),
                line=text.count("\n", 0, match.start()) + 1,
                hint="`encoding` in the manifest is the encoding of what the driver prints",
            ) from None

    return _TOKEN.sub(escaped, text)


def _octal(data: bytes) -> str:
    return "".join(f"\\{byte:03o}" for byte in data)
