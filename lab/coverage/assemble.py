"""Makes the coverage of a run: the counters of all tests added up, and the tests of each line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.coverage.gcda import Counters, total
from lab.coverage.gcov import CounterSet, Lines, lines_of
from lab.coverage.model import Coverage, CoveredDriver, CoveredFile, CoveredLine, LostCounters
from lab.coverage.recorded import TestCounters
from lab.toolchain.instrument import LONGEST_NAME, Notes


@dataclass(frozen=True, slots=True)
class Measured:
    """A driver and all that was counted in it.

    Attributes:
        notes: Of its build.
        tests: Test → name of a note file → counters.
    """

    notes: Notes
    tests: Mapping[str, CounterSet]

    @property
    def all(self) -> dict[str, Counters]:
        """The counters of all tests together."""
        sums = {name: total(one[name] for one in self.tests.values() if name in one) for name in self.notes.files}
        return {name: counters for name, counters in sums.items() if counters is not None}


def measured(notes: Notes, entries: Iterable[TestCounters]) -> Measured:
    """Add up the executions of each test."""
    tests: dict[str, dict[str, Counters]] = {}
    for entry in entries:
        if entry.driver != notes.driver[:LONGEST_NAME]:
            continue
        of_test = tests.setdefault(entry.nodeid, {})
        for name, counters in entry.counters.items():
            of_test[name] = of_test[name].plus(counters) if name in of_test else counters
    return Measured(notes, tests)


def assemble_coverage(
    drivers: Sequence[Measured],
    entries: Iterable[TestCounters],
    *,
    order: Sequence[str],
    project: Path,
    guest: str = "",
    unmeasured: Mapping[str, str] | None = None,
) -> Coverage:
    """Make the coverage.

    Args:
        drivers: Those that counted their lines.
        entries: Of all tests; those without counters say why.
        order: The tests of the run, in their order.
        project: Names of files are relative to it.
        guest: The guest in one line.
        unmeasured: Other drivers → why their lines were not counted.
    """
    ran = {nodeid for driver in drivers for nodeid, counters in driver.tests.items() if counters}
    tests = [nodeid for nodeid in dict.fromkeys((*order, *sorted(ran))) if nodeid in ran]
    places = {nodeid: place for place, nodeid in enumerate(tests)}
    counts: dict[Path, dict[int, int]] = {}
    of_tests: dict[Path, dict[int, set[int]]] = {}
    built: dict[Path, list[str]] = {}
    summed: list[CoveredDriver] = []
    for driver in drivers:
        whole, by_test = _lines(driver)
        summed.append(_driver(driver.notes.driver, whole))
        for file, lines in whole.items():
            built.setdefault(file, []).append(driver.notes.driver)
            for line, count in lines.items():
                counts.setdefault(file, {})[line] = counts.get(file, {}).get(line, 0) + count
        for nodeid, found in by_test.items():
            for file, lines in found.items():
                for line in (line for line, count in lines.items() if count):
                    of_tests.setdefault(file, {}).setdefault(line, set()).add(places[nodeid])
    texts = {Path(file): text for driver in drivers for file, text in driver.notes.texts.items()}
    files = [
        CoveredFile(
            file=_named(file, project),
            drivers=built[file],
            lines=[
                CoveredLine(line=line, count=count, tests=sorted(of_tests.get(file, {}).get(line, ())))
                for line, count in sorted(counts[file].items())
            ],
            text=texts[file].decode("utf-8", "replace").splitlines(),
        )
        for file in sorted(counts)
    ]
    summed += [CoveredDriver(name=name, not_measured=why) for name, why in (unmeasured or {}).items()]
    lost = {entry.nodeid: entry.lost for entry in entries if entry.lost}
    return Coverage(
        guest=guest,
        drivers=sorted(summed, key=lambda one: one.name),
        files=files,
        tests=tests,
        lost=[LostCounters(nodeid=nodeid, why=why) for nodeid, why in lost.items()],
    )


def _lines(driver: Measured) -> tuple[Lines, dict[str, Lines]]:
    """The lines of all tests together, and of each. Most tests of a suite do the same: equal counters are read once."""
    unique: dict[str, CounterSet] = {}
    keys: dict[str, str] = {}
    for nodeid, counters in driver.tests.items():
        if counters:
            key = repr(sorted((name, sorted(one.counts.items())) for name, one in counters.items()))
            unique.setdefault(key, counters)
            keys[nodeid] = key
    whole, *rest = lines_of(driver.notes, [driver.all, *unique.values()])
    by_key = dict(zip(unique, rest, strict=True))
    return whole, {nodeid: by_key[key] for nodeid, key in keys.items()}


def _driver(name: str, lines: Lines) -> CoveredDriver:
    each = [count for of_file in lines.values() for count in of_file.values()]
    return CoveredDriver(name=name, lines=len(each), covered=sum(1 for count in each if count))


def _named(file: Path, project: Path) -> str:
    root = project.resolve()
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
