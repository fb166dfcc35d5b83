"""Known issues: which test they name, until when, and which entries are outdated."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from lab.config import KnownIssue
from lab.gate.known_issues import audit_known, match_known

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
    results = [("a", "known", ["sync"]), ("green", "passed", ["sync"])]
    lines = audit_known(issues, results, today=TODAY)
    assert len(lines) == 3
    assert lines[0].startswith("known.1 (never) matches no test")
    assert lines[1].startswith("known.2 (green) is no longer needed")
    assert lines[2].startswith("known.3 (a) expired on 2026-06-14")
    assert "old story" in lines[2]


def test_an_entry_with_one_red_test_of_several_is_needed() -> None:
    results = [("t[1]", "passed", ["sync"]), ("t[2]", "known", ["sync"])]
    assert audit_known([issue("t")], results, today=TODAY) == []
