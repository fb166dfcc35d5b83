"""In which encoding the compiler reads a driver's sources, and in which one it writes their strings.

Microsoft's compiler reads a source without a byte order mark in the system's encoding, and writes narrow strings in that one,
too: a driver from a Chinese Windows prints GBK. GCC without an option copies bytes as they are, which is right for narrow
strings and an error for wide ones.
"""

from __future__ import annotations

import codecs
import logging
from collections.abc import Iterable
from pathlib import Path

from lab.errors import ConfigError
from lab.host.textfile import SAVE_AS_UTF8, marked_encoding

UTF8 = "utf-8"
#: Of a file that is ASCII after its byte order mark.
MARK_ALONE = "mark alone"


def charset_flags(folder: Path, names: Iterable[str], encoding: str) -> list[str]:
    """Flags of GCC for one source, which it reads in one encoding together with all that it includes.

    Args:
        folder: What the names are relative to.
        names: The source and the headers of the user that it includes.
        encoding: Of the manifest, as Python names it.

    Returns:
        Nothing where the files and their strings are UTF-8, GCC's own. Nothing either, and a line in the log, where some
        file is in neither encoding: narrow strings then are the bytes of the source as they are.

    Raises:
        ConfigError: A source and its headers are in several encodings.
    """
    if encoding == UTF8:
        return []
    found = {name: encoding_of(folder / name, encoding) for name in names}
    told = {value: name for name, value in found.items() if value}
    # With a mark and nothing beyond ASCII a file is UTF-8 where the others are; with other files, GCC compiles it correctly
    # only without an option for the encoding: narrow strings are right then.
    marked = [name for name, value in found.items() if value == MARK_ALONE]
    if marked and set(told) <= {MARK_ALONE, UTF8}:
        found = {name: UTF8 if value else value for name, value in found.items()}
        told = {UTF8: marked[0]}
    if None in found.values() or MARK_ALONE in told:
        odd = next(name for name, value in found.items() if value in (None, MARK_ALONE))
        logging.getLogger(__name__).warning("%s is not in %s; strings keep their bytes", folder / odd, encoding)
        return []
    if len(told) > 1:
        (first, one), (second, other) = told.items()
        raise ConfigError(
            f"is in {first}, and {folder / other}, which is compiled together with it, in {second}",
            file=str(folder / one),
            hint=f"save both in one encoding, because the compiler reads a source and its headers alike; {SAVE_AS_UTF8}",
        )
    return [*(f"-finput-charset={_iconv(source)}" for source in told), f"-fexec-charset={_iconv(encoding)}"]


def encoding_of(file: Path, encoding: str) -> str | None:
    """Encoding of a file: empty for ASCII, which fits all; None when it is in none of the allowed encodings."""
    try:
        data = file.read_bytes()
    except OSError:
        return ""  # the compiler reports it better
    if data.startswith(codecs.BOM_UTF8) and data[len(codecs.BOM_UTF8) :].isascii():
        return MARK_ALONE
    if marked_encoding(data):
        return UTF8
    if data.isascii():
        return ""
    for name in (encoding, UTF8):
        try:
            data.decode(name)
        except UnicodeDecodeError:
            continue
        return name
    return None


def _iconv(encoding: str) -> str:
    """Name of an encoding for iconv: ``iso8859-1`` and ``euc_kr`` of Python are ISO8859-1 and EUC-KR there."""
    return encoding.upper().replace("_", "-")
