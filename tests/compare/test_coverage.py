"""Lines that lost their tests: found again by their text, whatever came or went above them."""

from __future__ import annotations

from pathlib import Path

from lab.compare.baselines import Baselines
from lab.compare.compare import compare
from lab.compare.coverage import compare_coverage
from lab.compare.recorded import Recorded, read_recorded
from lab.compare.show import coverage_lines
from lab.coverage.model import COVERAGE_DIR, COVERAGE_FILE, Coverage, CoveredFile, CoveredLine
from lab.report.runfiles import write_run
from tests.compare.recording import entry, recorded

_TEXT = ["int f(int n)", "{", "    if (n)", "        a();", "    b();", "}"]


def _coverage(text: list[str], reached: dict[int, list[int]], code: tuple[int, ...]) -> Coverage:
    lines = [CoveredLine(line=line, count=len(reached.get(line, ())), tests=reached.get(line, [])) for line in code]
    return Coverage(
        drivers=[], files=[CoveredFile(file="f.c", drivers=["f"], lines=lines, text=text)], tests=["t.py::one", "t.py::two"]
    )


BASE = _coverage(_TEXT, {1: [0, 1], 3: [0, 1], 4: [1], 5: [0, 1]}, (1, 3, 4, 5))


def test_a_line_that_no_test_reaches_any_more_is_named_with_its_tests() -> None:
    new = _coverage(["/* new */", *_TEXT], {2: [0], 4: [0], 6: [0]}, (2, 4, 5, 6))

    change = compare_coverage(BASE, new)

    assert change is not None
    assert [(line.file, line.line, line.text, line.tests) for line in change.lost] == [("f.c", 5, "a();", ["t.py::two"])]
    assert (change.base, change.new) == (100.0, 75.0)


def test_a_line_that_has_another_test_or_other_text_has_lost_nothing() -> None:
    changed = [*_TEXT[:3], "        c();", *_TEXT[4:]]

    for text, reached in ((_TEXT, {1: [0], 3: [0], 4: [0], 5: [0]}), (changed, {1: [0], 3: [0], 5: [0]})):
        change = compare_coverage(BASE, _coverage(text, reached, (1, 3, 4, 5)))
        assert change is not None
        assert change.lost == []


def test_runs_that_did_not_count_lines_are_not_compared() -> None:
    assert compare_coverage(BASE, None) is None
    assert compare_coverage(None, BASE) is None


def test_lines_are_read_beside_the_run_and_shown(tmp_path: Path) -> None:
    runs: list[Recorded] = []
    for name, coverage in (("base", BASE), ("new", _coverage(_TEXT, {1: [0], 3: [0], 5: [0]}, (1, 3, 4, 5)))):
        folder = tmp_path / name
        (folder / COVERAGE_DIR).mkdir(parents=True)
        (folder / COVERAGE_DIR / COVERAGE_FILE).write_text(coverage.model_dump_json(), encoding="utf-8")
        write_run(folder, recorded([entry("a")]).report)
        runs.append(read_recorded(folder))

    result = compare(*runs)

    assert coverage_lines(result) == [
        "75% of the drivers' lines ran, and 100% in BASE",
        "f.c:4 is reached by no test any more; in BASE by t.py::two: a();",
    ]


def test_a_baseline_keeps_the_lines_of_its_run_and_no_older_ones(tmp_path: Path) -> None:
    baselines = Baselines(tmp_path / "base")
    run = tmp_path / "run"
    (run / COVERAGE_DIR).mkdir(parents=True)
    write_run(run, recorded([entry("a")]).report)
    (run / COVERAGE_DIR / COVERAGE_FILE).write_text(BASE.model_dump_json(), encoding="utf-8")

    assert baselines.save("main", run, now="2026-09-21T14:13:20+00:00").read().coverage == BASE

    (run / COVERAGE_DIR / COVERAGE_FILE).unlink()
    assert baselines.save("main", run, now="2026-09-22T14:13:20+00:00", replace=True).read().coverage is None
