"""What became of a defect, from the records of its runs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from lab.defects.model import Outcome
from lab.defects.outcome import Trial, first_tests, unseen
from lab.gate.verdict import Verdict
from lab.report.model import RunReport
from tests.defects.trials import BEGAN, planted, run_of

A, B = "suites/test_ring.py::test_a", "suites/test_ring.py::test_b"
GREEN: dict[str, Verdict] = {A: "passed", B: "passed"}


def tried(*reports: RunReport | None, **changed: Any) -> Trial:
    trial = Trial(planted(**changed))
    for report in reports:
        trial.add(report, began=BEGAN, seconds=4.0, log="out/x/1.log")
    return trial


@pytest.mark.parametrize(
    ("reports", "outcome", "reason"),
    [
        ([run_of(a="product")], "caught", ""),
        ([run_of(a="product", b="product")], "caught", ""),
        ([run_of(a="passed"), run_of(b="product")], "another test", f"{B} is product: it is product; not red: {A}"),
        ([run_of(ended="stopped after 1 failures", a="passed", b="product")], "another test", ""),
        ([run_of(b="product")], "another test", ""),
        ([run_of(a="skipped", b="crash")], "another test", ""),
        ([run_of(a="crash", b="product")], "another verdict", f"{A} is crash"),
        ([run_of(a="passed"), run_of(b="passed")], "survived", ""),
        ([run_of(a="crash")], "another verdict", "it is crash"),
        ([run_of(a="infra")], "not judged", "it is infra"),
        ([run_of(a="passed", b="test")], "not judged", "it is test"),
        ([run_of(a="skipped")], "not judged", "none of the tests that must notice it ran"),
        ([None], "not judged", "out/x/1.log"),
        ([run_of(ended="pytest was ended by SIGKILL", a="passed")], "not judged", "SIGKILL"),
    ],
)
def test_outcomes(reports: list[RunReport | None], outcome: Outcome, reason: str) -> None:
    entry = tried(*reports).entry(GREEN, folder="ring-off")
    assert entry.outcome == outcome
    assert reason in entry.reason


def test_a_test_that_is_red_without_the_defect_catches_nothing() -> None:
    trial = tried(run_of(a="product"))
    entry = trial.entry({A: "product"}, folder="")
    assert (entry.outcome, entry.caught_by) == ("not judged", [])
    assert entry.reason == f"without the defect, {A} is product"
    assert trial.entry({}, folder="").outcome == "caught", "a test of which nothing is known counts as green"


def test_every_expected_verdict_catches_it() -> None:
    trial = tried(run_of(a="crash", b="product"), verdict=("crash", "product"))
    assert trial.entry(GREEN, folder="").caught_by == [A, B]


def test_the_tests_that_are_not_named_are_listed_with_the_one_that_is() -> None:
    trial = tried(run_of(a="product", b="product"))
    assert trial.entry(GREEN, folder="").caught_by == [A, B]
    assert trial.caught(GREEN)
    assert not tried(run_of(b="product")).caught(GREEN)


def test_no_failure_of_the_lab_catches_anything() -> None:
    with pytest.raises(ValidationError, match="verdict"):
        planted(verdict=("infra",))


def test_times_count_from_the_start_of_the_first_run() -> None:
    entry = tried(run_of(a="passed"), run_of(b="product"), tests=(A, B)).entry(GREEN, folder="")
    assert [(test.nodeid, test.after_s) for test in entry.tests] == [(A, 1.5), (B, 5.5)]
    assert entry.seconds == 8.0


def test_a_lost_run_is_forgotten_before_another_one() -> None:
    trial = tried(None)
    assert trial.lost
    trial.restart()
    assert not trial.lost
    trial.add(run_of(a="product"), began=BEGAN, seconds=1.0, log="")
    assert trial.entry(GREEN, folder="").outcome == "caught"
    assert trial.seconds == 5.0


def test_a_defect_that_the_guest_cannot_show() -> None:
    entry = unseen(planted(needs=("direct_io",)), "needs direct_io")
    assert (entry.outcome, entry.reason, entry.tests) == ("not on this guest", "needs direct_io", [])


def test_first_tests_are_named_once() -> None:
    assert first_tests([planted(), planted("ring-on"), planted("ring-in", tests=(B, A))]) == [A, B]
