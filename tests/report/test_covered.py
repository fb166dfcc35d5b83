"""The coverage of a run folder: from the workers' lines to the report's entry and the files beside it."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import pytest

from lab.coverage.model import read_coverage
from lab.coverage.recorded import TestCounters
from lab.errors import HostToolError
from lab.report import covered
from lab.report.covered import make_coverage
from lab.report.runfiles import RunMeta
from lab.report.worker_files import ResultWriter, read_workers
from lab.toolchain.package import DriverPackage, write_packages
from lab.toolchain.provenance import Provenance
from tests.coverage.counting import Counting, build
from tests.report.test_assemble import META


def _package(
    folder: Path, name: str, *, notes: Path | None = None, collects: bool = False, compiler: str = ""
) -> DriverPackage:
    return DriverPackage(
        name=name,
        service=name,
        image=folder / f"{name}.sys",
        sha256="a" * 64,
        arch="x64",
        load_order_group="",
        links=(),
        clients={},
        encoding="utf-8",
        notes=notes,
        collects=collects,
        provenance=Provenance(compiler=compiler),
    )


def _run(tmp_path: Path) -> tuple[Path, RunMeta, Counting]:
    """A run's folder with a measured driver, one that Clang compiles, and the collector."""
    project, out = tmp_path / "project", tmp_path / "out"
    project.mkdir()
    copies = out / "drivers"
    copies.mkdir(parents=True)
    counting = build(project)
    notes = copies / "sum.notes.zip"
    with zipfile.ZipFile(notes, "w") as packed:
        facts = dataclasses.asdict(counting.notes)
        meta = {key: facts[key] for key in ("driver", "gcov", "sources", "names")} | {"folder": str(project)}
        packed.writestr("notes.json", json.dumps(meta | {"texts": {str(counting.source): "sources/0"}}))
        packed.writestr("sources/0", counting.source.read_bytes())
        packed.writestr("0.gcno", counting.notes.files["0.gcno"])
    packages = (
        _package(copies, "sum", notes=notes, compiler="gcc 12"),
        _package(copies, "guard", compiler="Debian clang version 19"),
        _package(copies, "lab-coverage", collects=True),
    )
    write_packages(copies, packages)
    return out, META.model_copy(update={"project": str(project)}), counting


def test_the_workers_lines_become_the_entry_and_its_files(tmp_path: Path) -> None:
    out, about, counting = _run(tmp_path)
    with ResultWriter(out, "gw0") as one, ResultWriter(out, "gw1") as two:
        one.coverage(TestCounters.of("t.py::a", "sum", {"0.gcno": counting.run(2)}))
        two.coverage(TestCounters.of("t.py::b", "sum", {"0.gcno": counting.run(3)}))
        two.coverage(TestCounters(nodeid="t.py::c", lost="a driver crashed"))

    entry = make_coverage(out, about, read_workers(out).coverage, order=["t.py::a", "t.py::b", "t.py::c"], used={"sum"})

    assert entry is not None
    assert [(one.name, one.not_measured) for one in entry.drivers] == [
        ("guard", "Clang compiles it, and the counters are GCC's"),
        ("sum", ""),
    ]
    assert (entry.covered, entry.incomplete) == (entry.lines - 2, 1)
    coverage = read_coverage(out)
    assert coverage is not None
    counts = {line.line: line.count for line in coverage.files[0].lines}
    assert (counts[5], counts[7], counts[12]) == (0, 2, 2)
    assert (out / "coverage" / "index.html").is_file()
    assert 'filename="sum.c"' in (out / "coverage" / "cobertura.xml").read_text(encoding="utf-8")


def test_a_driver_that_no_test_used_does_not_count(tmp_path: Path) -> None:
    out, about, _ = _run(tmp_path)

    entry = make_coverage(out, about, [], order=[], used=[])

    assert entry is not None
    assert [(one.name, one.not_measured) for one in entry.drivers][1] == ("sum", "no test of this run used it")
    assert (entry.lines, entry.percent, entry.unused_lines) == (0, None, 8)


def test_a_run_without_counters_has_no_entry(tmp_path: Path) -> None:
    write_packages(tmp_path / "drivers", (_package(tmp_path, "sum", compiler="gcc 12"),))

    assert make_coverage(tmp_path, META, [], order=[], used=[]) is None


def test_notes_that_are_gone_are_a_sentence_in_the_report(tmp_path: Path) -> None:
    out, about, _ = _run(tmp_path)
    (out / "drivers" / "sum.notes.zip").unlink()

    entry = make_coverage(out, about, [], order=[], used=["sum"])

    assert entry is not None
    assert (entry.failed, entry.percent) == (True, None)
    assert "cannot be counted" in entry.notes[0]


def test_the_counts_are_right_also_when_gcovr_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, about, counting = _run(tmp_path)
    entries = [TestCounters.of("t.py::a", "sum", {"0.gcno": counting.run(5)})]

    def broken(*_args: object, **_options: object) -> None:
        raise HostToolError(["gcovr"], 1, message="gcovr: no module of this name")

    monkeypatch.setattr(covered, "write_exports", broken)
    entry = make_coverage(out, about, entries, order=["t.py::a"], used={"sum"})

    assert entry is not None
    assert (entry.lines, entry.covered, entry.percent, entry.failed) == (8, 6, 75.0, False)
    assert "no module of this name" in entry.notes[0]
    assert read_coverage(out) is not None
