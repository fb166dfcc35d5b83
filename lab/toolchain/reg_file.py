r"""``registry:`` of a manifest: typed values below a driver's service, and the ``.reg`` file that puts them into a guest.

The type of a value follows from its YAML, or is named::

    registry:
      Greeting: hello                                       # REG_SZ
      Limit: 4                                              # REG_DWORD
      Names: [one, two]                                     # REG_MULTI_SZ
      Home: {type: REG_EXPAND_SZ, value: '%SystemRoot%\x'}
      Parameters:                                           # a subkey
        Blob: {type: REG_BINARY, value: 01 02 ff}

The file is Registry Editor's, version 5.00: https://learn.microsoft.com/troubleshoot/windows-server/performance/windows-registry-advanced-users
"""

from __future__ import annotations

import re
import struct
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lab.config.yamlfile import KeyPath, YamlDocument, dotted
from lab.errors import ConfigError

#: The numbers of the types, as winnt.h has them.
TYPES: Mapping[str, int] = {
    "REG_SZ": 1,
    "REG_EXPAND_SZ": 2,
    "REG_BINARY": 3,
    "REG_DWORD": 4,
    "REG_MULTI_SZ": 7,
    "REG_QWORD": 11,
}
#: Values that the service manager writes.
_OF_THE_SERVICE = frozenset({"type", "start", "errorcontrol", "imagepath", "group"})
_SERVICES = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services"
_BITS = {"REG_DWORD": 32, "REG_QWORD": 64}
#: Control characters, halves of pairs, and separators of lines and paragraphs.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}[\s,]*)*")


@dataclass(frozen=True, slots=True)
class RegistryValue:
    """One value.

    Attributes:
        key: Path of its key below the service's, with backslashes; empty for the service's own.
        name: Its name; ``@`` is a key's default value.
        type: One of :data:`TYPES`.
        data: As the registry holds it.
    """

    key: str
    name: str
    type: str
    data: bytes


def parse_registry(document: YamlDocument) -> tuple[RegistryValue, ...]:
    """Read ``registry:`` of a manifest.

    Raises:
        ConfigError: With key and line.
    """
    tree = document.data.get("registry")
    if tree is None:
        return ()
    if not isinstance(tree, dict):
        raise _wrong(document, ("registry",), "must be a list of `name: value` lines", "Parameters: {Level: 3}")
    for path, written in document.misread.items():
        if path[0] == "registry":
            said = f"is written {written}, which YAML reads as another number (a time in seconds, or octal)"
            raise _wrong(document, path, said, "write the number in decimal or as 0x…, or quote it to make it a text")
    found = tuple(_values(document, tree, ("registry",), ""))
    seen: dict[tuple[str, str], str] = {}
    for value in found:
        other = seen.setdefault((value.key.lower(), value.name.lower()), value.name)
        if other is not value.name:
            raise _wrong(document, ("registry", value.name), f"is {other} once more: Windows ignores letter case", "")
    return found


def reg_file(service: str, values: Iterable[RegistryValue]) -> bytes:
    """The values of one service as a file for ``reg import``: UTF-16 with a byte order mark, keys in their order."""
    keys: dict[str, list[RegistryValue]] = {}
    for value in values:
        keys.setdefault(value.key, []).append(value)
    lines = ["Windows Registry Editor Version 5.00", ""]
    for key, inside in keys.items():
        lines.append(f"[{_SERVICES}\\{service}{chr(92) if key else ''}{key}]")
        lines += [f"{_quoted(value.name) if value.name != '@' else '@'}={_data(value)}" for value in inside]
        lines.append("")
    return b"\xff\xfe" + ("\r\n".join(lines) + "\r\n").encode("utf-16-le", "surrogatepass")


def _values(document: YamlDocument, tree: Mapping[object, object], path: KeyPath, key: str) -> Iterator[RegistryValue]:
    for raw, value in tree.items():
        here = (*path, str(raw))
        if not isinstance(raw, str):
            raise _wrong(document, here, f"is not a text: YAML reads {raw!r}", "quote it")
        name = raw
        if not name:
            raise _wrong(document, here, "has no name", "@ is the default value of a key")
        if any(unicodedata.category(character) in _UNPRINTABLE for character in name):
            # A line break in it would begin a line of its own in the file, and be another key or value.
            key_said = dotted((*path, name.encode("unicode_escape").decode("ascii")))
            said = "has a control character in its name"
            raise ConfigError(said, file=document.file, key=key_said, line=document.line(here), hint="leave it out")
        if isinstance(value, dict) and "type" not in {str(word).lower() for word in value}:
            if not value:
                raise _wrong(document, here, "is a subkey without values", "leave it out, or give it one")
            if name.startswith("\\") or name.endswith("\\") or "\\\\" in name:
                raise _wrong(document, here, "is not the path of a subkey", "for example Parameters, or Parameters\\Deep")
            yield from _values(document, value, here, f"{key}\\{name}" if key else name)
            continue
        if not key and name.lower() in _OF_THE_SERVICE:
            raise _wrong(document, here, "is set by the service manager", "load_order_group and start are keys of the manifest")
        yield RegistryValue(key, name, *_typed(document, here, value))


def _typed(document: YamlDocument, path: KeyPath, value: object) -> tuple[str, bytes]:
    """Type and data of a value."""
    if isinstance(value, dict):
        if set(value) != {"type", "value"}:
            raise _wrong(document, path, "must have only the keys type and value", "{type: REG_QWORD, value: 1}")
        name = str(value["type"]).upper()
        name = name if name.startswith("REG_") else f"REG_{name}"
        if name not in TYPES:
            raise _wrong(document, path, f"has the type {value['type']}", f"one of {', '.join(TYPES)}")
        return name, _encoded(document, path, name, value["value"])
    if isinstance(value, bool):
        raise _wrong(document, path, f"is {value}: the registry has no such type", "write 0 or 1, or quote it")
    if isinstance(value, int):
        return "REG_DWORD", _encoded(document, path, "REG_DWORD", value)
    if isinstance(value, str):
        return "REG_SZ", _encoded(document, path, "REG_SZ", value)
    if isinstance(value, list):
        return "REG_MULTI_SZ", _encoded(document, path, "REG_MULTI_SZ", value)
    said = "is empty" if value is None else f"is {value}, which is not a text, a number or a list"
    raise _wrong(document, path, said, "quote it to make it a text")


def _encoded(document: YamlDocument, path: KeyPath, name: str, value: object) -> bytes:
    if name in _BITS:
        bits = _BITS[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << bits:
            hint = (
                "{type: REG_QWORD, value: …} holds 64 bits"
                if isinstance(value, int) and bits == 32
                else "for example 7, or 0x1f"
            )
            raise _wrong(document, path, f"must be a number from 0 to 2^{bits}-1 for {name}, not {value!r}", hint)
        return struct.pack("<I" if bits == 32 else "<Q", value)
    if name == "REG_BINARY":
        return _bytes(document, path, value)
    if name == "REG_MULTI_SZ":
        texts = value if isinstance(value, list) else [value]
        for text in texts:
            if not isinstance(text, str) or not text or "\0" in text:
                raise _wrong(document, path, f"must be a list of non-empty texts, not {value!r}", "quote numbers")
        return _text("".join(f"{text}\0" for text in texts))
    if not isinstance(value, str) or "\0" in value:
        raise _wrong(document, path, f"must be text for {name}, not {value!r}", "quote it")
    return _text(value)


def _bytes(document: YamlDocument, path: KeyPath, value: object) -> bytes:
    if isinstance(value, list) and all(type(one) is int and 0 <= one <= 255 for one in value):
        return bytes(value)
    if isinstance(value, str) and _HEX.fullmatch(value.strip()):
        return bytes.fromhex(re.sub(r"[\s,]", "", value))
    said = f"must be bytes, such as '01 02 ff' or [1, 2, 255], not {value!r}"
    raise _wrong(document, path, said, "quote it: without quotes, YAML reads a number" if isinstance(value, int) else "")


def _text(text: str) -> bytes:
    return f"{text}\0".encode("utf-16-le", "surrogatepass")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _data(value: RegistryValue) -> str:
    if value.type == "REG_DWORD":
        return f"dword:{struct.unpack('<I', value.data)[0]:08x}"
    if value.type == "REG_SZ":
        text = value.data.decode("utf-16-le", "surrogatepass")[:-1]
        if text.isprintable():
            return _quoted(text)
    kind = "hex" if value.type == "REG_BINARY" else f"hex({TYPES[value.type]:x})"
    return f"{kind}:{','.join(f'{byte:02x}' for byte in value.data)}"


def _wrong(document: YamlDocument, path: KeyPath, message: str, hint: str) -> ConfigError:
    return ConfigError(message, file=document.file, key=dotted(path), line=document.line(path), hint=hint)
