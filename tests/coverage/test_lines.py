"""Counters become lines, by gcov, and the coverage of a run."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from lab.coverage.assemble import assemble_coverage, measured
from lab.coverage.exports import COBERTURA, LCOV, PAGE, write_exports
from lab.coverage.gcda import Counters
from lab.coverage.gcov import lines_of
from lab.coverage.recorded import TestCounters
from lab.errors import HostToolError
from lab.toolchain.build import build_components
from lab.toolchain.instrument import read_notes
from lab.toolchain.manifest import load_component
from tests.coverage.counting import SOURCE, Counting, build
from tests.toolchain.conftest import TINY_DRIVER


def _entries(counting: Counting) -> list[TestCounters]:
    return [
        TestCounters.of("test_x.py::test_five", "sum", {"0.gcno": counting.run(5)}),
        TestCounters.of("test_x.py::test_none", "sum", {"0.gcno": counting.run(0)}),
        TestCounters(nodeid="test_x.py::test_crash", lost="a driver crashed"),
    ]


def test_lines_have_the_counts_of_hand(counting: Counting) -> None:
    none, both = lines_of(counting.notes, [{}, {"0.gcno": counting.run(5, 0)}])

    # 2 calls; 5 passes of the loop, 2 of them for odd numbers.
    assert both == {counting.source: {3: 0, 5: 0, 7: 2, 9: 2, 10: 7, 11: 5, 12: 2, 13: 2}}
    assert none == {counting.source: dict.fromkeys(both[counting.source], 0)}


def test_counters_of_another_build_are_refused(counting: Counting) -> None:
    counters = counting.run(5)
    (function,) = counters.counts
    ident, lines, graph = function
    other = Counters(counters.version, counters.stamp, counters.checksum, {(ident, lines, graph ^ 1): (1, 2, 3)})

    with pytest.raises(HostToolError, match="refused counters"):
        lines_of(counting.notes, [{"0.gcno": other}])


def test_each_line_has_its_tests(counting: Counting) -> None:
    entries = _entries(counting)
    driver = measured(counting.notes, entries)
    order = ["test_x.py::test_none", "test_x.py::test_five"]

    coverage = assemble_coverage([driver], entries, order=order, project=counting.source.parent, unmeasured={"odd": "Clang"})

    assert coverage.tests == order
    (file,) = coverage.files
    assert file.file == "sum.c"
    assert file.text == counting.source.read_text(encoding="ascii").splitlines()
    tests = {line.line: line.tests for line in file.lines}
    assert tests[5] == []
    assert tests[10] == [0, 1]
    assert tests[12] == [1]
    assert [(lost.nodeid, lost.why) for lost in coverage.lost] == [("test_x.py::test_crash", "a driver crashed")]
    assert [(one.name, one.not_measured) for one in coverage.drivers] == [("odd", "Clang"), ("sum", "")]
    assert coverage.covered == coverage.lines - 2
    assert 0 < (coverage.percent or 0) < 100


@pytest.mark.parametrize("now", ["int new_lines_above;\n" * 5 + SOURCE, None])
def test_a_source_that_is_saved_or_removed_during_the_run_is_shown_as_it_was_built(tmp_path: Path, now: str | None) -> None:
    project, out = tmp_path / "project", tmp_path / "out"
    for folder in (project, out):
        folder.mkdir()
    counting = build(project)
    driver = measured(counting.notes, _entries(counting))
    if now is None:
        counting.source.unlink()
    else:
        counting.source.write_text(now, encoding="ascii")

    (file,) = assemble_coverage([driver], [], order=[], project=project).files
    write_exports(out, [driver], project=project)

    assert (file.file, file.text) == ("sum.c", SOURCE.splitlines())
    assert _cobertura(out, "sum.c") == {line.line: line.count for line in file.lines}
    pages = "".join(page.read_text(encoding="utf-8") for page in out.glob("*.html"))
    assert "never" in pages
    assert "new_lines_above" not in pages


def _driver_outside_of_its_folder(project: Path, sources: str) -> Path:
    """The folder of a manifest that names a source as it is written here; the source is ``real/ring.c``."""
    (project / "real").mkdir(parents=True)
    (project / "real" / "ring.c").write_text(TINY_DRIVER, encoding="utf-8")
    (project / "src").symlink_to("real")
    folder = project / "drivers" / "ring"
    folder.mkdir(parents=True)
    (folder / "near").symlink_to("../../real")
    (folder / "driver.yaml").write_text(f"name: ring\nimage: ring.sys\nsources: [{sources}]\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("sources", ["../../real/ring.c", "../../src/ring.c", "near/ring.c"])
def test_sources_may_lie_anywhere_also_in_symbolic_links(tmp_path: Path, sources: str) -> None:
    project, out = tmp_path / "project", tmp_path / "out"
    out.mkdir()
    folder = _driver_outside_of_its_folder(project, sources)
    (built,) = build_components([load_component(folder / "driver.yaml")], "x64", tmp_path / "build", None, measured=True)
    assert built.notes is not None
    driver = measured(read_notes(built.notes), [])
    for link in (project / "src", folder / "near"):
        link.unlink()

    coverage = assemble_coverage([driver], [], order=[], project=project)
    write_exports(out, [driver], project=project)

    (file,) = coverage.files
    assert file.file == "real/ring.c"
    assert file.text == TINY_DRIVER.splitlines()
    assert _cobertura(out, "real/ring.c") == {line.line: 0 for line in file.lines}
    assert "DriverEntry" in "".join(page.read_text(encoding="utf-8") for page in out.glob("*.html"))


def _cobertura(out: Path, name: str) -> dict[int, int]:
    (of_file,) = ElementTree.parse(out / COBERTURA).getroot().iter("class")
    assert of_file.attrib["filename"] == name
    return {int(line.attrib["number"]): int(line.attrib["hits"]) for line in of_file.findall("lines/line")}


def test_gcovrs_reports_have_the_same_lines(counting: Counting, tmp_path: Path) -> None:
    entries = _entries(counting)
    driver = measured(counting.notes, entries)
    project = counting.source.parent

    write_exports(tmp_path, [driver], project=project)

    coverage = assemble_coverage([driver], entries, order=[], project=project)
    assert _cobertura(tmp_path, "sum.c") == {line.line: line.count for line in coverage.files[0].lines}
    assert {line[3:] for line in (tmp_path / LCOV).read_text().splitlines() if line.startswith("SF:")} == {str(counting.source)}
    assert "sum.c" in (tmp_path / PAGE).read_text(encoding="utf-8")
    assert json.loads((tmp_path / "gcovr.json").read_text(encoding="utf-8"))["files"]
