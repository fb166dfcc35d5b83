"""Which prints are the expected ones, and how it is told when they are not."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lab.prints.fields import Fields, Value
from lab.prints.record import PrintRecord

#: What a test may expect: the text without its trailing blanks and newlines; a pattern that matches all of it; or either
#: with fields.
Expected = str | re.Pattern[str] | Fields


class PrintMismatch(AssertionError):
    """The prints of a test are not the ones that it expects."""


def clean(text: str) -> str:
    """A print's text as tests compare it: without trailing blanks and newlines."""
    return text.rstrip()


def matches(expected: Expected, record: PrintRecord) -> bool:
    """Whether a print is the expected one: equal after :func:`clean`, or matched by the whole pattern."""
    if isinstance(expected, str):
        return clean(record.text) == clean(expected)
    return _fields(expected, record) is not None


def with_fields(expected: Expected, record: PrintRecord) -> PrintRecord:
    """A print that matches, with the fields that the expectation names."""
    values = None if isinstance(expected, str) else _fields(expected, record)
    return replace(record, fields=values) if values else record


def find(wanted: Sequence[Expected], came: Sequence[PrintRecord], skip_others: bool) -> tuple[list[int], bool]:
    """Indexes of the prints that match in order, and whether a print came that may not stand there."""
    found: list[int] = []
    for index, record in enumerate(came):
        if len(found) == len(wanted):
            break
        if matches(wanted[len(found)], record):
            found.append(index)
        elif not skip_others:
            return found, True
    return found, False


def explain(
    wanted: Sequence[Expected], came: Sequence[PrintRecord], timeout: float, *, skip_others: bool, of_load: int = 0
) -> str:
    """Why ``came`` is not ``wanted``: one line, then a line-by-line comparison.

    Args:
        wanted: What was expected.
        came: What came.
        timeout: Seconds that were waited.
        skip_others: Other prints may stand between.
        of_load: So many of the first that came are of the drivers' load.
    """
    found, wrong = find(wanted, came, skip_others)
    position = len(found)
    if wrong:
        what = f"kernel print {position + 1} is {clean(came[position].text)!r}, not {_show(wanted[position])}"
        if position < of_load:
            what += "\n(it was printed when the drivers were loaded: prints.skip_load() skips such prints)"
    else:
        what = (
            f"{position} of {len(wanted)} expected kernel prints came within {timeout:g} s; missing: {_show(wanted[position])}"
        )
    left = [_as_print(item, came[index] if index < len(came) else None) for index, item in enumerate(wanted)]
    right = [clean(record.text) for record in came]
    diff = "\n".join(difflib.ndiff(left, right)) if right else "\n".join("- " + line for line in left)
    return f"{what}\n('-': expected, but did not come; '+': came, but was not expected)\n{diff}"


def _fields(expected: re.Pattern[str] | Fields, record: PrintRecord) -> Mapping[str, Value] | None:
    """The fields of a print; None when it does not match."""
    if isinstance(expected, Fields):
        return expected.read(clean(record.text))
    found = expected.fullmatch(clean(record.text))
    return None if found is None else {name: value for name, value in found.groupdict().items() if value is not None}


def _as_print(item: Expected, record: PrintRecord | None) -> str:
    """How an expected print is shown in a comparison: one with its print beside it looks like that print."""
    if record is not None and matches(item, record):
        return clean(record.text)
    if isinstance(item, re.Pattern):
        return f"/{item.pattern}/"
    return clean(item) if isinstance(item, str) else str(item)


def _show(item: Expected) -> str:
    if isinstance(item, str):
        return repr(clean(item))
    return f"a match of {f'/{item.pattern}/' if isinstance(item, re.Pattern) else str(item)}"
