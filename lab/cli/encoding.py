"""The encoding of drivers' strings, as a user names it."""

from __future__ import annotations

import codecs

from lab.errors import ConfigError

_SAMPLE = bytes(range(256))


def check_encoding(name: str) -> None:
    """Refuse an encoding that cannot turn any bytes into text.

    Raises:
        ConfigError: There is none of that name, or it is not an encoding of text: ``rot13``, ``base64``, ``idna``.
    """
    hint = "for example cp1252, utf-8, gbk"
    try:
        codecs.lookup(name)
    except (LookupError, ValueError):
        raise ConfigError(f"there is no encoding {name!r}", key="--encoding", hint=hint) from None
    try:
        # Some have no error handlers, and some decode only their own output.
        for data in (_SAMPLE, *(bytes((byte,)) for byte in _SAMPLE)):
            data.decode(name, "backslashreplace")
    except (LookupError, ValueError, TypeError):
        raise ConfigError(f"{name!r} cannot be the encoding of a driver's prints", key="--encoding", hint=hint) from None
