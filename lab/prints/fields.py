"""Prints with fields: a template or a pattern that returns numbers as numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, NamedTuple

from lab.errors import SuiteError

Value = int | str


class _Type(NamedTuple):
    pattern: str
    read: Callable[[str], Value]
    what: str


#: Types that may follow the colon of a field; named after the conversions of ``DbgPrint``.
TYPES: Final[Mapping[str, _Type]] = MappingProxyType(
    {
        "s": _Type(".*?", str, "any text"),
        "w": _Type(r"\S+", str, "a word"),
        "d": _Type("[-+]?[0-9]+", int, "a decimal number"),
        "x": _Type("(?:0[xX])?[0-9a-fA-F]+", lambda text: int(text, 16), "a hexadecimal number"),
    }
)
_FIELD: Final = re.compile(r"\{\{|\}\}|\{(?P<name>[A-Za-z_]\w*)(?::(?P<type>[^{}]*))?\}|(?P<stray>[{}])")


@dataclass(frozen=True, slots=True)
class Fields:
    """An expected print with fields; see :func:`fields`.

    Attributes:
        shown: Its template or pattern, for messages.
        pattern: Matches the whole text of a print.
        types: Field → key of :data:`TYPES`.
        wanted: Field → value that it must have.
    """

    shown: str
    pattern: re.Pattern[str]
    types: Mapping[str, str]
    wanted: Mapping[str, Value] = field(default_factory=dict)

    def where(self, **wanted: Value) -> Fields:
        """The same expectation, limited to prints whose fields have these values.

        Raises:
            SuiteError: There is no such field, or its values are of another type.
        """
        for name, value in wanted.items():
            kind = self.types.get(name)
            if kind is None:
                raise SuiteError(f"{self.shown!r} has no field {name!r}", hint=f"it has {', '.join(self.types) or 'none'}")
            if isinstance(value, str) is not (kind in ("s", "w")):
                raise SuiteError(f"field {name} of {self.shown!r} is {TYPES[kind].what}, which {value!r} is not")
        return replace(self, wanted=MappingProxyType({**self.wanted, **wanted}))

    def read(self, text: str) -> Mapping[str, Value] | None:
        """The fields of a print's text; None if the print does not match."""
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        values = {name: TYPES[kind].read(found[name]) for name, kind in self.types.items() if found[name] is not None}
        return values if all(values.get(name) == value for name, value in self.wanted.items()) else None

    def __str__(self) -> str:
        """The template and the required values, for messages."""
        wanted = ", ".join(f"{name}={value!r}" for name, value in self.wanted.items())
        return self.shown + (f"  where {wanted}" if wanted else "")


def fields(expected: str | re.Pattern[str], **types: str) -> Fields:
    r"""An expected print with fields, for ``prints.expect``.

    >>> fields("read {length:d} bytes at {address:x}").read("read 20 bytes at 0xff80")
    {'length': 20, 'address': 65408}
    >>> fields(re.compile(r"(?P<asked>\d+) of (?P<name>\w+)"), asked="d").where(asked=3).read("3 of kettle")
    {'asked': 3, 'name': 'kettle'}

    Args:
        expected: A template: text with ``{name:d}`` for a decimal number, ``{name:x}`` for a hexadecimal one (with or
            without ``0x``), ``{name:w}`` for a word and ``{name}`` for any text; ``{{`` and ``}}`` are braces. Or a compiled
            pattern with named groups, which matches all of the print.
        types: For the groups of a pattern ``d``, ``x``, ``w`` or ``s``; ``s`` when not given.

    Raises:
        SuiteError: A field is wrong.
    """
    if isinstance(expected, re.Pattern):
        names = dict.fromkeys(expected.groupindex, "s")
        for name, kind in types.items():
            if name not in names:
                raise SuiteError(f"/{expected.pattern}/ has no group {name!r}", hint=f"it has {', '.join(names) or 'none'}")
            names[name] = _checked(kind, name, expected.pattern)
        return Fields(f"/{expected.pattern}/", expected, names)
    if types:
        raise SuiteError("types are only for patterns", hint="in a template, write them in the braces: {length:d}")
    names = {}
    pattern = "".join(_parts(expected.rstrip(), names))
    return Fields(expected.rstrip(), re.compile(pattern, re.DOTALL), names)


def _parts(template: str, names: dict[str, str]) -> Iterator[str]:
    """The pieces of a template's pattern; fills in the fields' types."""
    at = 0
    for found in _FIELD.finditer(template):
        yield re.escape(template[at : found.start()])
        at = found.end()
        name = found["name"]
        if found["stray"]:
            raise SuiteError(
                f"a brace without a field in {template!r}, position {found.start() + 1}",
                hint="{name:d}, or {{ and }} for braces",
            )
        if name is None:
            yield re.escape(found[0][0])
            continue
        if name in names:
            raise SuiteError(f"field {name!r} is twice in {template!r}", hint="give each a name")
        names[name] = _checked(found["type"] or "s", name, template)
        yield f"(?P<{name}>{TYPES[names[name]].pattern})"
    yield re.escape(template[at:])


def _checked(kind: str, name: str, where: str) -> str:
    if kind not in TYPES:
        known = ", ".join(f"{key} ({value.what})" for key, value in TYPES.items())
        raise SuiteError(f"field {name!r} of {where!r} has the unknown type {kind!r}", hint=known)
    return kind
