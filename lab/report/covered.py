"""The coverage of a run: made from the workers' counters, and written beside the report."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from lab.coverage.assemble import assemble_coverage, measured
from lab.coverage.exports import write_exports
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
    counting = [package for package in packages if package.notes is not None and package.name in used]
    if not any(package.collects or package.notes for package in packages):
        return None
    project = Path(meta.project or meta.root or ".")
    others = {package.name: _why(package) for package in packages if package not in counting and not package.collects}
    notes: list[str] = []
    folder = out / COVERAGE_DIR
    try:
        drivers = [measured(read_notes(package.notes), entries) for package in counting if package.notes is not None]
        coverage = assemble_coverage(drivers, entries, order=order, project=project, guest=meta.guest, unmeasured=others)
        folder.mkdir(exist_ok=True)
        (folder / COVERAGE_FILE).write_text(coverage.model_dump_json(indent=1) + "\n", encoding="utf-8")
        if drivers:
            write_exports(folder, drivers, project=project)
    except (LabError, OSError) as error:
        _LOG.warning("the coverage of the run cannot be written: %s", said(error), exc_info=True)
        return CoverageEntry(lines=0, covered=0, percent=0.0, drivers=[], notes=[f"it cannot be written: {said(error)}"])
    return _entry(coverage, notes)


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


def _entry(coverage: Coverage, notes: Sequence[str]) -> CoverageEntry:
    return CoverageEntry(
        lines=coverage.lines,
        covered=coverage.covered,
        percent=coverage.percent,
        drivers=[
            DriverCoverage(name=one.name, lines=one.lines, covered=one.covered, not_measured=one.not_measured)
            for one in coverage.drivers
        ],
        incomplete=len(coverage.lost),
        notes=[*coverage.notes, *notes],
    )
