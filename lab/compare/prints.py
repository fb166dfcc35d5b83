"""Differences between the prints of tests that pass in both runs.

These are noise, and no difference: addresses; ids of processes, threads and handles, where the print calls them so; times of
day. Other numbers count: the length that a driver prints is what its test may be about.

A test may print something else in every run, for a tick comes sooner or later than a cancellation. So a difference is none if
one attempt in BASE printed the same as one in NEW, and it is no driver's if all drivers are the same to the byte. The same
prints in another order are a kind of their own: that is what several clients at once bring about.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence

from lab.compare.model import PrintChange
from lab.report.model import PrintEntry, TestEntry

_MOST_LINES = 20
_LABELS = "pid|tid|process(?: id)?|thread(?: id)?|handle|client id|进程|线程|句柄"
_NOISE = re.compile(
    rf"""
    (?P<label>\b(?:{_LABELS})\s*[:=#]?\s*)(?:0x)?[0-9a-f]+\b
  | 0x(?!0*[8c]000[0-9a-f]{{4}}\b)0*[1-9a-f][0-9a-f]{{4,}}\b
  | (?<![0-9a-z])(?=[a-f]*[0-9])(?=[0-9]*[a-f])(?![8c]000[0-9a-f]{{4}}\b)[0-9a-f]{{8,}}\b
  | (?<!\d)\d\d?:\d\d:\d\d(?:[.,]\d+)?
    """,
    re.VERBOSE | re.IGNORECASE,
)

#: One print as it is compared.
Line = str


def quiet(text: str) -> Line:
    """A print without noise, see the module's text."""
    return _NOISE.sub(lambda found: f"{found['label'] or ''}#", text.rstrip())


def variants(test: TestEntry) -> list[tuple[Line, ...]]:
    """What the passing attempts of a test printed, each variant once; prints of the kernel itself are no test's."""
    all_prints: list[Sequence[PrintEntry]] = [attempt.prints for attempt in test.history[:-1] if attempt.verdict == "passed"]
    all_prints.append(test.prints)
    return list(dict.fromkeys(tuple(quiet(p.text) for p in prints if not p.by_kernel) for prints in all_prints))


def compare_prints(base: TestEntry, new: TestEntry, *, same_drivers: bool) -> PrintChange | None:
    """How the prints of a test differ; None if they do not.

    Args:
        base: The test in BASE; it passed.
        new: The test in NEW; it passed.
        same_drivers: The test's drivers are the same to the byte.
    """
    before, after = variants(base), variants(new)
    if not set(before).isdisjoint(after):
        return None
    counts = {frozenset(Counter(lines).items()) for lines in before}
    same_lines = any(frozenset(Counter(lines).items()) in counts for lines in after)
    old, now = before[-1], after[-1]
    return PrintChange(
        nodeid=base.nodeid,
        kind="order" if same_lines else "varies" if same_drivers else "differs",
        base=len(old),
        new=len(now),
        diff=_diff(old, now),
    )


def _diff(old: Sequence[Line], now: Sequence[Line]) -> list[str]:
    lines = [line for line in difflib.ndiff(old, now) if line[:1] in "-+"]
    more = [f"… {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
    return [*lines[:_MOST_LINES], *more]
