"""Text files of users, as the editors of Windows save them: UTF-8 with or without a mark, and UTF-16 with one."""

from __future__ import annotations

import codecs
from pathlib import Path

from lab.errors import ConfigError

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
#: The usual way to do it on Windows.
SAVE_AS_UTF8 = "save it as UTF-8 (Notepad: Save as, Encoding: UTF-8; Visual Studio: Save with Encoding)"


def read_text(path: Path, *, secret: bool = False) -> str:
    """Read a text file of the user.

    Args:
        path: The file; UTF-8, or UTF-16 with a byte order mark.
        secret: No part of it may appear in an error.

    Returns:
        Its text without a byte order mark; lines end as in the file.

    Raises:
        ConfigError: It cannot be read, or is in another encoding; with its line and what to do.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError("there is no such file", file=str(path)) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    return decode_text(data, str(path), secret=secret)


def decode_text(data: bytes, file: str, *, secret: bool = False) -> str:
    """:func:`read_text` for bytes that were read already; ``file`` is how errors name them."""
    encoding = marked_encoding(data) or "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        # Without its cause, which quotes the file.
        line = data[: error.start].count(b"\n") + 1
        what = "bytes" if secret else f"the byte 0x{data[error.start]:02x}"
        name = "UTF-8" if encoding.startswith("utf-8") else "UTF-16, as its first bytes say"
        raise ConfigError(f"is not {name}: line {line} has {what} of another encoding", file=file, hint=SAVE_AS_UTF8) from None
    if "\0" in text:
        # Text that Windows calls Unicode, from a program that leaves out the mark.
        raise ConfigError("has zero bytes, so it may be UTF-16 without a byte order mark", file=file, hint=SAVE_AS_UTF8)
    return text


def marked_encoding(data: bytes) -> str:
    """The encoding of a byte order mark, as Python names it; empty without one."""
    return next((name for mark, name in _MARKS if data.startswith(mark)), "")
