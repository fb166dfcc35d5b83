"""The coverage of a run for readers: the lines with their tests in the page, and the sentences of the summary."""

from __future__ import annotations

from pathlib import Path

from lab.coverage.model import COVERAGE_DIR, COVERAGE_FILE, Coverage, CoveredDriver, CoveredFile, CoveredLine, LostCounters
from lab.report.coverage_view import coverage_lines, missed, view_coverage
from lab.report.html import render_html, write_html
from lab.report.model import CoverageEntry, DriverCoverage, RunReport

FILE = CoveredFile(
    file="boiler/boiler.c",
    drivers=["boiler"],
    lines=[
        CoveredLine(line=2, count=3, tests=[0, 1]),
        CoveredLine(line=4, count=0),
        CoveredLine(line=5, count=0),
        CoveredLine(line=7, count=3, tests=[0, 1]),
        CoveredLine(line=8, count=1, tests=[1]),
        CoveredLine(line=9, count=0),
    ],
    text=[
        "int heat(int);",
        "int heat(int by)",
        "{",
        "    if (by < 0)",
        '        warn("<cold>");',
        "",
        "    t += by;",
        "}",
        "x",
    ],
)
COVERAGE = Coverage(
    drivers=[CoveredDriver(name="boiler", lines=6, covered=3), CoveredDriver(name="odd", not_measured="no sources")],
    files=[FILE],
    tests=["test_b.py::test_one", "test_b.py::test_two"],
    lost=[LostCounters(nodeid="test_b.py::test_boom", why="a driver crashed")],
)
ENTRY = CoverageEntry(
    lines=6,
    covered=3,
    percent=50.0,
    drivers=[
        DriverCoverage(name="boiler", lines=6, covered=3),
        DriverCoverage(name="odd", lines=0, covered=0, not_measured="no sources"),
    ],
    incomplete=1,
)


def test_lines_with_the_same_tests_share_one_set() -> None:
    view = view_coverage(COVERAGE)

    (file,) = view.files
    assert [(row.number, row.count, row.tests) for row in file.rows if row.count is not None] == [
        *((2, 3, 1), (4, 0, 0), (5, 0, 0)),
        *((7, 3, 1), (8, 1, 2), (9, 0, 0)),
    ]
    assert view.sets == (("test_b.py::test_one", "test_b.py::test_two"), ("test_b.py::test_two",))
    assert (file.percent, view.lost) == (50.0, {"test_b.py::test_boom": "a driver crashed"})


def test_missed_lines_are_ranges_across_lines_without_code() -> None:
    assert missed(FILE) == ["4-5", "9"]


def test_the_summary_names_drivers_that_are_not_counted_and_tests_that_lack_counts() -> None:
    assert coverage_lines(ENTRY) == [
        "50% of the lines ran, 3 of 6",
        "odd is not counted: no sources",
        "the counts of 1 test are not complete: the guest ended before they were read",
    ]


def test_the_page_has_each_line_with_its_tests(run: RunReport, tmp_path: Path) -> None:
    measured = run.model_copy(update={"coverage": ENTRY})
    folder = tmp_path / COVERAGE_DIR
    folder.mkdir()
    (folder / COVERAGE_FILE).write_text(COVERAGE.model_dump_json(), encoding="utf-8")

    page = write_html(tmp_path, measured).read_text(encoding="utf-8")

    assert 'href="coverage/index.html"' in page
    assert 'class="missed"' in page
    assert '<a href="#reach-2" title="test_b.py::test_two">1</a>' in page
    assert 'id="reach-2"' in page
    assert "warn(&#34;&lt;cold&gt;&#34;)" in page
    assert "coverage" not in render_html(run).lower().replace("coverage/index.html", "").split("<body>")[1].split("<script>")[0]


def test_a_page_without_the_file_has_the_figures(run: RunReport, tmp_path: Path) -> None:
    page = write_html(tmp_path, run.model_copy(update={"coverage": ENTRY})).read_text(encoding="utf-8")

    assert "50% of the lines ran, 3 of 6" in page
    assert 'class="missed"' not in page
