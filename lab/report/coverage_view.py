"""The coverage of a run as readers see it: sentences, and the lines of each source with the tests that reach them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.coverage.model import Coverage, CoveredFile, percent_of
from lab.report.model import CoverageEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class LineView:
    """A line of a source.

    Attributes:
        number: From 1.
        text: The line.
        count: How often it ran; None if it has no code.
        tests: Number of the set of tests that reach it, from 1; 0 for none.
    """

    number: int
    text: str
    count: int | None = None
    tests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileView:
    """A source.

    Attributes:
        name: Of the file.
        drivers: That are built from it.
        covered: How many lines ran.
        lines: How many lines have code.
        rows: All lines.
    """

    name: str
    drivers: str
    covered: int
    lines: int
    rows: tuple[LineView, ...]

    @property
    def percent(self) -> float:
        """Lines that ran, of 100."""
        return percent_of(self.covered, self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageView:
    """All of it.

    Attributes:
        files: The sources.
        sets: Sets of tests, each with their node ids. Most lines are reached by few different sets.
        lost: Test → why its counts are not complete.
    """

    files: tuple[FileView, ...]
    sets: tuple[tuple[str, ...], ...]
    lost: Mapping[str, str]


def view_coverage(coverage: Coverage) -> CoverageView:
    """Make the view of a run's coverage."""
    sets: dict[tuple[int, ...], int] = {}
    files = tuple(_file(file, sets) for file in coverage.files)
    named = tuple(tuple(coverage.tests[number] for number in one) for one in sets)
    return CoverageView(files=files, sets=named, lost={one.nodeid: one.why for one in coverage.lost})


def coverage_lines(entry: CoverageEntry) -> list[str]:
    """What ran of the drivers, one sentence each; the first is about all of them."""
    measured = [one for one in entry.drivers if not one.not_measured]
    each = ", ".join(f"{one.name} {percent_of(one.covered, one.lines):g}%" for one in measured)
    of_each = f" ({each})" if len(measured) > 1 else ""
    lines = []
    if measured and entry.percent is not None:
        lines.append(f"{entry.percent:g}% of the lines ran, {entry.covered} of {entry.lines}{of_each}")
    lines += [f"{one.name} is not counted: {one.not_measured}" for one in entry.drivers if one.not_measured]
    if entry.incomplete:
        noun = "test" if entry.incomplete == 1 else "tests"
        lines.append(f"the counts of {entry.incomplete} {noun} are not complete: the guest ended before they were read")
    return [*lines, *entry.notes]


def _file(file: CoveredFile, sets: dict[tuple[int, ...], int]) -> FileView:
    lines = {line.line: line for line in file.lines}
    rows = []
    for number, text in enumerate(file.text, 1):
        line = lines.get(number)
        if line is None:
            rows.append(LineView(number=number, text=text))
            continue
        place = sets.setdefault(tuple(line.tests), len(sets) + 1) if line.tests else 0
        rows.append(LineView(number=number, text=text, count=line.count, tests=place))
    return FileView(
        name=file.file,
        drivers=", ".join(file.drivers),
        covered=file.covered,
        lines=len(file.lines),
        rows=tuple(rows),
    )


def missed(file: CoveredFile) -> Sequence[str]:
    """The lines that never ran, as ranges: ``12``, ``15-17``. Lines without code between them do not count."""
    ranges: list[tuple[int, int]] = []
    before = None
    for line in file.lines:
        if line.count:
            before = None
        elif before is None:
            ranges.append((line.line, line.line))
            before = line
        else:
            ranges[-1] = (ranges[-1][0], line.line)
    return [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
