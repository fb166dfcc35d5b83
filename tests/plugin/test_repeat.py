"""Repeated tests in whole inner runs: each in a fresh guest, one entry in the report, its rate."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.plugin.repeat import number_of, origin
from lab.report.model import RunReport

UNSTEADY = """
import itertools, pathlib

RUNS = pathlib.Path(__file__).with_name("runs")

pytestmark = pytest.mark.lab_driver("sync")

def begin():
    with RUNS.open("a") as file:
        file.write("x")
    return RUNS.stat().st_size

class TestReads:
    def test_steady(self, reader):
        assert not hasattr(self, "before")
        self.before = True
        assert reader.read(length=20)[0].text == "slot A"

@pytest.mark.parametrize("what", ["a@2", "b"])
def test_unsteady(reader, what):
    assert what == "b" or begin() != 2
"""


@pytest.fixture
def forked(inner: Any) -> Any:
    inner.prepare(forks="SimulatedForks()")
    return inner


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadscope")], ids=["alone", "workers"])
def test_each_test_is_run_so_often_in_fresh_guests_and_has_one_entry(forked: Any, workers: tuple[str, ...]) -> None:
    forked.run(UNSTEADY, "--lab-repeat=4", *workers)
    assert forked.verdicts == {"test_steady": "passed", "test_unsteady[a@2]": "product", "test_unsteady[b]": "passed"}
    steady = forked.test("test_steady")
    assert (steady.attempts, steady.rate.runs, steady.rate.failed, steady.rate.wanted) == (4, 4, 0, 4)
    assert len({attempt.guest_id for attempt in steady.history}) == 4
    unsteady = forked.test("test_unsteady[a@2]")
    assert (unsteady.rate.runs, unsteady.rate.failed) == (4, 1)
    assert (unsteady.rate.low, unsteady.rate.high) == (0.1941, 0.9937)
    assert [attempt.verdict for attempt in unsteady.history] == ["passed", "passed", "passed", "product"]
    assert unsteady.signature.startswith("product AssertionError: assert what == 'b' or begin() != 2")
    assert forked.report.repeat == 4
    assert forked.report.totals == {"passed": 2, "product": 1}
    assert forked.report.exit_code == 1


def test_a_test_that_was_red_is_not_repeated_any_more(forked: Any) -> None:
    result = forked.run(UNSTEADY, "--lab-repeat=4", "--lab-until-red")
    unsteady = forked.test("test_unsteady[a@2]")
    assert [attempt.verdict for attempt in unsteady.history] == ["passed", "product"]
    assert (unsteady.rate.runs, unsteady.rate.wanted, unsteady.repetition) == (2, 4, 2)
    assert forked.test("test_steady").rate.runs == 4
    result.assert_outcomes(passed=9, failed=1)
    result.stdout.fnmatch_lines(["repeated: *::test_unsteady[[]a@2]: passed 1 of 2 runs, 50% (95% interval: 1% to 99%)"])
    result.stdout.fnmatch_lines(["repeated: 2 tests passed all 4 runs: a pass rate of at least 40% (95%)"])


def test_a_selection_by_id_names_all_runs_of_a_test(forked: Any) -> None:
    forked.run(UNSTEADY, "--lab-repeat=3", "test_inner.py::test_unsteady[b]")
    assert [test.nodeid.rpartition("::")[2] for test in forked.report.tests] == ["test_unsteady[b]"]
    assert forked.test("test_unsteady[b]").rate.runs == 3


def test_a_selection_by_keyword_names_all_runs_of_a_test(forked: Any) -> None:
    forked.run(UNSTEADY, "--lab-repeat=2", "-k", "TestReads")
    assert [test.nodeid.rpartition("::")[2] for test in forked.report.tests] == ["test_steady"]
    assert forked.test("test_steady").rate.runs == 2


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadscope")], ids=["alone", "workers"])
def test_what_pytest_remembers_names_tests_and_chooses_all_their_runs(forked: Any, workers: tuple[str, ...]) -> None:
    """The cache had ids of repetitions, so `--lf` chose nothing the next time, or one run of a test instead of all."""
    forked.pytester.makepyfile(test_inner="import pytest\n" + UNSTEADY)
    cache = forked.pytester.path / ".pytest_cache" / "v" / "cache"

    def run(folder: str, *arguments: str) -> tuple[list[str], dict[str, int]]:
        out = forked.pytester.path / folder
        forked.pytester.runpytest_subprocess("-p", "no:hypothesispytest", f"--lab-out={out}", *workers, *arguments, timeout=300)
        report = RunReport.model_validate_json((out / "run.json").read_text(encoding="utf-8"))
        failed = json.loads((cache / "lastfailed").read_text(encoding="utf-8"))
        return list(failed), {test.nodeid: test.rate.runs if test.rate else 1 for test in report.tests}

    red, steady = "test_inner.py::test_unsteady[a@2]", "test_inner.py::TestReads::test_steady"
    assert run("first", "--lab-repeat=3") == ([red], {steady: 3, red: 3, "test_inner.py::test_unsteady[b]": 3})
    assert "@2" not in (cache / "nodeids").read_text(encoding="utf-8").replace("[a@2]", "")
    # The runs file counts on, so that the test passes from here.
    assert run("second", "--lab-repeat=2", "--lf") == ([], {red: 2})


def test_stepwise_remembers_the_test(forked: Any) -> None:
    forked.pytester.makepyfile(test_inner="import pytest\n" + UNSTEADY)
    arguments = ("-p", "no:hypothesispytest", f"--lab-out={forked.out}", "--lab-repeat=3", "--stepwise")
    forked.pytester.runpytest_inprocess(*arguments)
    remembered = (forked.pytester.path / ".pytest_cache" / "v" / "cache" / "stepwise").read_text(encoding="utf-8")
    assert json.loads(remembered)["last_failed"] == "test_inner.py::test_unsteady[a@2]"


def test_a_known_issue_names_a_repeated_test_too(forked: Any) -> None:
    forked.pytester.path.joinpath("lab.yaml").write_text(
        "known: [{test: '*::test_unsteady', reason: it is unsteady, until: 2999-01-01}]\n", encoding="utf-8"
    )
    forked.run(UNSTEADY, "--lab-repeat=3")
    assert forked.test("test_unsteady[a@2]").verdict == "known"


def test_fixtures_of_a_module_end_although_repetitions_are_left_out(forked: Any) -> None:
    forked.run(
        """
pytestmark = pytest.mark.lab_driver("sync")

@pytest.fixture(scope="module", autouse=True)
def whole():
    yield

def test_red(reader):
    assert False

class TestOther:
    def test_green(self, reader):
        pass
""",
        "--lab-repeat=2",
        "--lab-until-red",
    )
    assert forked.verdicts == {"test_red": "product", "test_green": "passed"}
    assert forked.test("test_red").rate.runs == 1


@pytest.mark.parametrize("count", ["0", "-1", "many", "٣"])
def test_a_count_is_a_number_of_at_least_one(inner: Any, count: str) -> None:
    result = inner.run("def test_one(guest): pass", f"--lab-repeat={count}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "must be a number, at least 1" in result.stderr.str()


@given(st.text(alphabet="ab@2[]:."))
def test_an_id_without_a_number_is_its_own_origin(parameters: str) -> None:
    nodeid = f"suites/test_a@2.py::TestOne::test_x[{parameters}]"
    assert origin(nodeid) == nodeid
    assert number_of(nodeid) == 1
    assert origin(nodeid.replace("test_x", "test_x@12")) == nodeid
    assert number_of(nodeid.replace("test_x", "test_x@12")) == 12
