"""Coverage of a small driver on the free guest: counted by hand, whatever the number of workers, with and without forks."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from lab.coverage.model import Coverage, percent_of, read_coverage
from tests.ci.unreached import unreached_lines
from tests.e2e.running import ROOT, FinishedRun

pytestmark = pytest.mark.e2e

LADLE = ROOT / "tests" / "e2e" / "ladle"
_SUITE = "tests/e2e/ladle/suite_ladle.py"
_FRESH, _KEPT = f"{_SUITE}::TestFresh", f"{_SUITE}::TestKept"

# Three loads: two of TestFresh, one of TestKept.
_LOADS = 3
# Requests: each opens the device once, and closes it; test_another_code does so three times.
_OPENED = 2 * (1 + 1 + 1 + 3)
#: Line of ladle.c → how often it runs.
_LADLE = {
    **dict.fromkeys((13, 15, 16), _OPENED),
    **dict.fromkeys((19, 21, 22, 23, 25, 26), 6),
    27: 0,  # crashes
    28: 6,
    29: 3,  # another code
    30: 3 + (3 + 2 + 0),  # the end of the loop, and its passes
    31: 3 + 2 + 0,
    32: 3,
    **dict.fromkeys((33, 34), 1),
    **dict.fromkeys((36, 37), 2),
    **dict.fromkeys((40, 44, 45, 46, 47), _LOADS),
    **dict.fromkeys((49, 55, 56, 57, 58, 60, 61, 62, 63, 64, 65), _LOADS),
    59: 0,  # the device can always be made
}
#: Each open, close and request is finished once.
_SPOON = dict.fromkeys((6, 8, 9, 10, 11), _OPENED + 6)


def _counts(coverage: Coverage) -> dict[str, dict[int, int]]:
    return {file.file: {line.line: line.count for line in file.lines} for file in coverage.files}


def _tests(coverage: Coverage, line: int) -> set[str]:
    (file,) = (file for file in coverage.files if file.file.endswith("ladle.c"))
    (found,) = (one for one in file.lines if one.line == line)
    return {coverage.tests[number] for number in found.tests}


def _covered(run: FinishedRun) -> Coverage:
    assert run.exit_code == 0, run.output
    coverage = read_coverage(run.out)
    assert coverage is not None, run.output
    assert coverage.lost == []
    return coverage


def test_counts_are_those_of_hand_with_and_without_workers_and_forks(finish_run: Callable[..., FinishedRun]) -> None:
    common = ("--coverage", "--driver", str(LADLE), str(LADLE / "suite_ladle.py"))
    alone = finish_run("--workers", "1", *common)
    coverage = _covered(alone)

    assert _counts(coverage) == {"tests/e2e/ladle/ladle.c": _LADLE, "tests/e2e/ladle/spoon.c": _SPOON}
    assert _tests(coverage, 33) == {f"{_FRESH}::test_too_much"}
    assert _tests(coverage, 29) == {f"{_KEPT}::test_another_code"}
    # The load and the unload of the kept driver are those of the first and the last test that use it.
    assert _tests(coverage, 49) == {f"{_FRESH}::test_a_little", f"{_FRESH}::test_too_much", f"{_KEPT}::test_nothing"}
    assert _tests(coverage, 40) == {f"{_FRESH}::test_a_little", f"{_FRESH}::test_too_much", f"{_KEPT}::test_another_code"}

    entry = alone.report.coverage
    assert entry is not None
    # Those of the lab file, which these tests do not use.
    assert [one.name for one in entry.drivers if one.not_measured] == ["async", "sync"]
    assert (entry.lines, entry.covered) == (len(_LADLE) + len(_SPOON), len(_LADLE) + len(_SPOON) - 2)
    assert f"{entry.percent:g}% of the lines ran" in alone.output
    prints = {test.nodeid: [one.text for one in test.prints] for test in alone.report.tests}
    assert prints[f"{_FRESH}::test_a_little"] == ["ladle: 6"]
    hits = ElementTree.parse(alone.out / "coverage" / "cobertura.xml").getroot()
    (of_file,) = (one for one in hits.iter("class") if one.attrib["filename"] == "tests/e2e/ladle/ladle.c")
    assert {int(line.attrib["number"]): int(line.attrib["hits"]) for line in of_file.findall("lines/line")} == _LADLE

    # Without forks, and with a limit that it does not reach.
    booted = finish_run("--no-fork", "--workers", "1", "--coverage-fail-under", "99", *common)
    assert booted.exit_code == 5, booted.output
    assert "is below the limit of 99%" in booted.output
    assert _counts(read_coverage(booted.out) or Coverage(drivers=[], files=[], tests=[])) == _counts(coverage)

    # With the default number of workers, and a test that crashes: its counts go with the driver, and the report says so.
    several = finish_run(*common, str(LADLE / "suite_spill.py"))
    assert several.exit_code == 0, several.output
    crashed = read_coverage(several.out)
    assert crashed is not None
    assert _counts(crashed) == _counts(coverage)
    assert [lost.nodeid for lost in crashed.lost] == ["tests/e2e/ladle/suite_spill.py::test_a_spill"]
    assert "the counts of 1 test are not complete" in several.output


def test_the_suites_reach_the_lines_of_the_example_drivers(finish_run: Callable[..., FinishedRun]) -> None:
    # Tests of two processors need templates of their own, and reach no other line.
    run = finish_run("--coverage", "suites", "-m", "not lab_cpus")
    coverage = read_coverage(run.out)
    assert run.exit_code == 0, run.output
    assert coverage is not None

    percents = {driver.name: percent_of(driver.covered, driver.lines) for driver in coverage.drivers}
    assert percents.keys() == {"sync", "async"}
    assert min(percents.values()) >= 95, percents
    missed = {
        (file.file.removeprefix("driver/"), file.text[line.line - 1].strip())
        for file in coverage.files
        for line in file.lines
        if not line.count
    }
    assert missed <= unreached_lines().keys(), "docs/suites.md lists each line that no test reaches, with the reason"
