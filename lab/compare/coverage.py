"""What became of the lines of the drivers: those that tests reached in one run, and none in the other."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from lab.compare.model import CoverageChange, LostLine
from lab.coverage.model import Coverage, CoveredFile


def compare_coverage(base: Coverage | None, new: Coverage | None) -> CoverageChange | None:
    """Compare the lines of two runs; None if one of them has not counted them.

    A line is found again by its text and its neighbours, so that lines above it may have come or gone. A line that was changed,
    or removed, is no line that lost its tests.

    Args:
        base: The lines of the older run.
        new: Those of the newer one.
    """
    if base is None or new is None or base.percent is None or new.percent is None:
        return None
    before = {file.file: file for file in base.files}
    lost = [line for file in new.files if file.file in before for line in _lost(before[file.file], file, base.tests)]
    return CoverageChange(base=base.percent, new=new.percent, lost=lost)


def _lost(base: CoveredFile, new: CoveredFile, tests: list[str]) -> Iterator[LostLine]:
    reached = {line.line: line for line in base.lines if line.tests}
    now = {line.line: line for line in new.lines}
    for old, number in _same_lines(base.text, new.text):
        before, after = reached.get(old), now.get(number)
        if before is not None and after is not None and not after.tests:
            names = [tests[place] for place in before.tests]
            yield LostLine(file=new.file, line=number, text=new.text[number - 1].strip(), tests=names)


def _same_lines(base: list[str], new: list[str]) -> Iterator[tuple[int, int]]:
    """(number in BASE, number in NEW) of the lines that are the same; none if the text of a run was not kept."""
    matcher = difflib.SequenceMatcher(None, base, new, autojunk=False)
    for block in matcher.get_matching_blocks():
        for step in range(block.size):
            yield block.a + step + 1, block.b + step + 1
