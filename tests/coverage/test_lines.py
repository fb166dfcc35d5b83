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
from tests.coverage.counting import Counting


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
    assert 0 < coverage.percent < 100


def test_a_source_that_has_changed_is_not_shown(counting: Counting, tmp_path: Path) -> None:
    (source,) = counting.notes.sources
    notes = type(counting.notes)(
        driver="sum", gcov="gcov", folder=counting.notes.folder, files=counting.notes.files, sources={source: "0" * 64}
    )

    coverage = assemble_coverage([measured(notes, _entries(counting))], [], order=[], project=tmp_path)

    (file,) = coverage.files
    assert (file.file, file.text) == (source, [])
    assert "has changed" in coverage.notes[0]


def test_gcovrs_reports_have_the_same_lines(counting: Counting, tmp_path: Path) -> None:
    entries = _entries(counting)
    driver = measured(counting.notes, entries)
    project = counting.source.parent

    write_exports(tmp_path, [driver], project=project)

    coverage = assemble_coverage([driver], entries, order=[], project=project)
    ours = {str(line.line): str(line.count) for line in coverage.files[0].lines}
    (of_file,) = ElementTree.parse(tmp_path / COBERTURA).getroot().iter("class")
    lines = of_file.findall("lines/line")
    assert of_file.attrib["filename"] == "sum.c"
    assert {line.attrib["number"]: line.attrib["hits"] for line in lines} == ours
    assert {line[3:] for line in (tmp_path / LCOV).read_text().splitlines() if line.startswith("SF:")} == {str(counting.source)}
    assert "sum.c" in (tmp_path / PAGE).read_text(encoding="utf-8")
    assert json.loads((tmp_path / "gcovr.json").read_text(encoding="utf-8"))["files"]
