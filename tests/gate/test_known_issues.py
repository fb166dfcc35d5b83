"""Known issues: which test they name, until when, and which entries are outdated."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from lab.config import KnownIssue
from lab.gate.known_issues import GREEN_RUNS, RunResults, audit_known, match_known, matches_signature

TODAY = datetime.date(2026, 6, 15)


def issue(test: str, **values: Any) -> KnownIssue:
    return KnownIssue.model_validate({"test": test, "reason": "being fixed", "until": TODAY} | values)


@pytest.mark.parametrize(
    ("pattern", "nodeid", "named"),
    [
        ("suites/a.py::test_x", "suites/a.py::test_x", True),
        ("suites/a.py::test_x", "suites/a.py::test_x[2-1]", True),
        ("suites/a.py::test_x[2-1]", "suites/a.py::test_x[2-1]", True),
        ("suites/a.py::test_x[2-1]", "suites/a.py::test_x[2-2]", False),
        ("suites/a.py::test_x", "suites/a.py::test_xy", False),
        ("suites/*::test_*", "suites/sync/a.py::test_x", True),
        ("test_x", "suites/a.py::test_x", False),
        ("SUITES/a.py::test_x", "suites/a.py::test_x", False),
    ],
)
def test_patterns_match_test_ids(pattern: str, nodeid: str, named: bool) -> None:
    assert bool(match_known([issue(pattern)], nodeid, ["sync"], today=TODAY)) is named


def test_the_last_day_still_counts() -> None:
    entry = issue("*")
    assert match_known([entry], "a", [], today=TODAY) == [entry]
    assert match_known([entry], "a", [], today=TODAY + datetime.timedelta(days=1)) == []


def test_a_driver_limits_an_entry() -> None:
    entry = issue("*", driver="async")
    assert match_known([entry], "a", ["sync"], today=TODAY) == []
    assert match_known([entry], "a", ["sync", "async"], today=TODAY) == [entry]


def test_outdated_entries_are_reported() -> None:
    issues = [
        issue("a"),
        issue("never"),
        issue("green"),
        issue("a", until=TODAY - datetime.timedelta(days=1), reason="old story"),
    ]
    results = RunResults(tests=[("a", "known", ["sync"]), ("green", "passed", ["sync"])])
    lines = audit_known(issues, results, today=TODAY)
    assert len(lines) == 3
    assert lines[0].startswith("known.1 (never) matches no test")
    assert lines[1] == "known.2 (green) was not needed: 1 test(s) that it matches passed (1 of 5 runs in a row)"
    assert lines[2].startswith("known.3 (a) expired on 2026-06-14")
    assert "old story" in lines[2]


def test_an_entry_with_one_red_test_of_several_is_needed() -> None:
    results = RunResults(tests=[("t[1]", "passed", ["sync"]), ("t[2]", "known", ["sync"])])
    assert audit_known([issue("t")], results, today=TODAY) == []


def run(*verdicts: str, repeat: int = 1) -> RunResults:
    """A run of the tests t[0], t[1], …."""
    return RunResults(tests=[(f"t[{number}]", verdict, ["sync"]) for number, verdict in enumerate(verdicts)], repeat=repeat)


@pytest.mark.parametrize(
    ("earlier", "runs"),
    [
        ([], 1),
        ([run("passed")] * 3, 4),
        ([run("passed")] * 4, 5),
        ([run("passed")] * 9, 5),
        ([run("passed"), run("known"), run("passed")], 2),
        ([run("passed"), run(), run("passed")], 3),
        ([run("passed"), run("skipped")], 2),
        ([run("passed", "infra")], 1),
        ([run("passed", repeat=20)], 21),
    ],
)
def test_an_entry_asks_to_be_removed_after_enough_green_runs_in_a_row(earlier: list[RunResults], runs: int) -> None:
    [line] = audit_known([issue("t")], run("passed"), today=TODAY, earlier=lambda: earlier)
    if runs >= GREEN_RUNS:
        assert line.endswith(f"is no longer needed: 1 test(s) that it matches passed in {runs} runs in a row; please remove it")
    else:
        assert line.endswith(f"({runs} of {GREEN_RUNS} runs in a row)")


def test_earlier_runs_are_only_read_if_this_one_is_green() -> None:
    def never() -> list[RunResults]:
        raise AssertionError

    assert audit_known([issue("t")], run("known"), today=TODAY, earlier=never) == []


SIGNATURE = "product AssertionError: assert reads[0].text == ['a'] * 5 [error 5]"


@pytest.mark.parametrize(
    ("named", "same"),
    [
        (None, True),
        (SIGNATURE, True),
        ("product AssertionError: *[error 5]", True),
        ("product AssertionError: *[error 6]", False),
        ("product ServiceError: *", False),
    ],
)
def test_an_entry_may_name_a_signature(named: str | None, same: bool) -> None:
    assert matches_signature(issue("t", signature=named), SIGNATURE) is same
