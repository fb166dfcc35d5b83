"""The coverage of a run: made from the workers' counters, and written beside the report."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from lab.coverage.assemble import Measured, assemble_coverage, measured
from lab.coverage.exports import write_exports
from lab.coverage.gcov import lines_of
from lab.coverage.model import COVERAGE_DIR, COVERAGE_FILE, Coverage
from lab.coverage.recorded import TestCounters
from lab.errors import LabError
from lab.host.passed import said
from lab.report.model import CoverageEntry, DriverCoverage
from lab.report.outdir import COPIES
from lab.report.runfiles import RunMeta
from lab.toolchain.instrument import read_notes
from lab.toolchain.package import MARKED, DriverPackage, read_packages

_LOG = logging.getLogger(__name__)
#: Of the compiler's programs, of files, and of notes that are damaged or of another version of the lab.
_FAILURES = (LabError, OSError, ValueError, KeyError, zipfile.BadZipFile)


def make_coverage(
    out: Path, meta: RunMeta, entries: Sequence[TestCounters], *, order: Sequence[str], used: Collection[str]
) -> CoverageEntry | None:
    """Make the coverage of a run, and write its files; None if its drivers do not count their lines.

    Args:
        out: Folder of the run.
        meta: What was known before the first test.
        entries: What the workers have recorded.
        order: The tests of the run, in their order.
        used: Names of the drivers that tests used. The others do not count: these tests say nothing about them.
    """
    packages = _packages(out / COPIES)
    if not any(package.collects or package.notes for package in packages):
        return None
    project = Path(meta.project or meta.root or ".")
    counts = {package.name for package in packages if package.notes is not None and package.name in used}
    others = {package.name: _why(package) for package in packages if package.name not in counts and not package.collects}
    try:
        known = [measured(read_notes(package.notes), entries) for package in packages if package.notes is not None]
        drivers = [driver for driver in known if driver.notes.driver in counts]
        coverage = assemble_coverage(drivers, entries, order=order, project=project, guest=meta.guest, unmeasured=others)
        unused = _unused_lines(known, drivers)
    except _FAILURES as error:
        _LOG.warning("the coverage of the run cannot be made: %s", said(error), exc_info=True)
        return CoverageEntry(
            lines=0, covered=0, percent=None, drivers=[], failed=True, notes=[f"the lines cannot be counted: {said(error)}"]
        )
    return _entry(coverage, unused, _write(out / COVERAGE_DIR, coverage, drivers, project))


def _unused_lines(known: Sequence[Measured], used: Sequence[Measured]) -> int:
    """The number of lines with code that only drivers have which no test used."""
    if len(known) == len(used):
        return 0
    of_used = {line for driver in used for line in _lines(driver)}
    return len({line for driver in known if driver not in used for line in _lines(driver)} - of_used)


def _lines(driver: Measured) -> Iterator[tuple[Path, int]]:
    (lines,) = lines_of(driver.notes, [{}])
    return ((file, line) for file, of_file in lines.items() for line in of_file)


def _write(folder: Path, coverage: Coverage, drivers: Sequence[Measured], project: Path) -> list[str]:
    """Write the files; what cannot be written is a sentence, and the counts are right all the same."""
    try:
        folder.mkdir(exist_ok=True)
        (folder / COVERAGE_FILE).write_text(coverage.model_dump_json(indent=1) + "\n", encoding="utf-8")
        if drivers:
            write_exports(folder, drivers, project=project)
    except _FAILURES as error:
        _LOG.warning("the files of the coverage cannot be written: %s", said(error), exc_info=True)
        return [f"not all files of `{COVERAGE_DIR}/` could be written: {said(error)}"]
    return []


def _packages(copies: Path) -> list[DriverPackage]:
    return [package for folder in (copies, copies / MARKED) for package in read_packages(folder) or ()]


def _why(package: DriverPackage) -> str:
    """Why the lines of a driver are not counted."""
    if package.notes is not None:
        return "no test of this run used it"
    compiler = package.provenance.compiler
    if not compiler:
        return "it is a finished image"
    return "Clang compiles it, and the counters are GCC's" if "clang" in compiler.lower() else "it is not under test"


def _entry(coverage: Coverage, unused: int, notes: Sequence[str]) -> CoverageEntry:
    return CoverageEntry(
        lines=coverage.lines,
        covered=coverage.covered,
        percent=coverage.percent,
        drivers=[
            DriverCoverage(name=one.name, lines=one.lines, covered=one.covered, not_measured=one.not_measured)
            for one in coverage.drivers
        ],
        unused_lines=unused,
        incomplete=len(coverage.lost),
        notes=[*coverage.notes, *notes],
    )
