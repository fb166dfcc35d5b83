"""Compares prints with the expected ones, and explains a difference."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lab.errors import TimingFailed
from lab.prints.fields import Fields, Value
from lab.prints.record import PrintRecord

#: What a test may expect: a text, compared without trailing blanks and newlines; a pattern that matches the whole text; or
#: fields.
Expected = str | re.Pattern[str] | Fields


class PrintMismatch(AssertionError):
    """The prints of a test differ from the expected ones."""


class PrintsLate(PrintMismatch, TimingFailed):
    """Prints came at other intervals than the test expects; none was a wrong one."""


class PrintsMissing(PrintsLate):
    """Prints did not come before the deadline; none was a wrong one."""


def clean(text: str) -> str:
    """A print's text as tests compare it: without trailing blanks and newlines."""
    return text.rstrip()


def matches(expected: Expected, record: PrintRecord) -> bool:
    """Whether a print is the expected one: equal after :func:`clean`, or matched as a whole by the pattern."""
    if isinstance(expected, str):
        return clean(record.text) == clean(expected)
    return _fields(expected, record) is not None


def with_fields(expected: Expected, record: PrintRecord) -> PrintRecord:
    """A print that matches, with the fields that the expectation names."""
    values = None if isinstance(expected, str) else _fields(expected, record)
    return replace(record, fields=values) if values else record


def find(wanted: Sequence[Expected], came: Sequence[PrintRecord], skip_others: bool) -> tuple[list[int], bool]:
    """Indexes of the prints that match, in order, and whether there was an unexpected print."""
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
    """Explain how ``came`` differs from ``wanted``: one line, then a line-by-line comparison.

    Args:
        wanted: The expected prints.
        came: The actual prints.
        timeout: Seconds that were waited.
        skip_others: Other prints are allowed in between.
        of_load: Number of prints at the beginning that came while the drivers were loaded.
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
    """An expected print as text for a comparison; if its print came, both look the same."""
    if record is not None and matches(item, record):
        return clean(record.text)
    if isinstance(item, re.Pattern):
        return f"/{item.pattern}/"
    return clean(item) if isinstance(item, str) else str(item)


def _show(item: Expected) -> str:
    if isinstance(item, str):
        return repr(clean(item))
    return f"a match of {f'/{item.pattern}/' if isinstance(item, re.Pattern) else str(item)}"
