"""What became of a test: each row of the table, and the exit code that it calls for."""

from __future__ import annotations

import pytest

from lab.compare.changes import change_of
from lab.compare.compare import compare
from lab.compare.model import CHANGES, MEANINGS, Comparison, Side
from lab.gate.verdict import Verdict
from lab.report.model import TestEntry
from tests.compare.recording import OTHER_DRIVER, attempt, entry, recorded


def side(verdict: Verdict, signature: str = "", *, failed: int | None = None, runs: int = 1) -> Side:
    red = int(verdict in ("crash", "product", "test")) if failed is None else failed
    return Side(verdict=verdict, signature=signature, failed=red, runs=0 if verdict in ("skipped", "infra") else runs)


PASSED, KNOWN, SKIPPED, INFRA = side("passed"), side("known"), side("skipped"), side("infra")
RED, OTHER, CRASH = side("product", "a"), side("product", "b"), side("crash", "c")


@pytest.mark.parametrize(
    ("base", "new", "change"),
    [
        (PASSED, PASSED, None),
        (SKIPPED, SKIPPED, None),
        (KNOWN, KNOWN, None),
        (SKIPPED, None, None),
        (INFRA, None, None),
        *((base, RED, "newly red") for base in (PASSED, KNOWN, SKIPPED, INFRA, None)),
        *((base, INFRA, "not judged") for base in (PASSED, KNOWN, SKIPPED, INFRA, RED, None)),
        (RED, RED, "still red"),
        (RED, OTHER, "red in another way"),
        (RED, CRASH, "red in another way"),
        (PASSED, KNOWN, "newly known"),
        (RED, KNOWN, "newly known"),
        (RED, PASSED, "fixed"),
        (KNOWN, PASSED, "fixed"),
        *((base, SKIPPED, "newly skipped") for base in (PASSED, RED, KNOWN)),
        *((base, None, "not run") for base in (PASSED, RED, KNOWN)),
        *((base, PASSED, "judged again") for base in (SKIPPED, INFRA)),
        *((None, new, "new test") for new in (PASSED, KNOWN, SKIPPED)),
        (PASSED, side("passed", failed=1, runs=5), "flaky"),
        (PASSED, side("product", "a", failed=1, runs=5), "flaky"),
        (side("passed", failed=1, runs=5), RED, "flaky"),
        (side("passed", failed=1, runs=5), PASSED, None),
        (None, side("product", failed=2, runs=3), "flaky"),
        (side("passed", runs=20), side("product", "a", failed=10, runs=20), "newly red"),
        (side("passed", failed=8, runs=20), side("product", "a", failed=10, runs=20), "flaky"),
    ],
)
def test_each_row_of_the_table(base: Side | None, new: Side | None, change: str | None) -> None:
    assert change_of(base, new) == change


def test_every_change_has_its_words() -> None:
    assert list(MEANINGS) == list(CHANGES)


def compared(base: list[TestEntry], new: list[TestEntry], *, strict: bool = False) -> Comparison:
    return compare(recorded(base), recorded(new, drivers=OTHER_DRIVER), strict=strict)


@pytest.mark.parametrize(
    ("base", "new", "code"),
    [
        ([entry("a")], [entry("a")], 0),
        ([entry("a")], [entry("a", "product")], 1),
        ([entry("a"), entry("b")], [entry("a", "product"), entry("b", "crash")], 3),
        ([entry("a")], [entry("a", "test")], 4),
        ([entry("a"), entry("b")], [entry("a", "product"), entry("b", "test")], 1),
        ([entry("a")], [entry("a", "infra")], 10),
        ([entry("a"), entry("b")], [entry("a", "infra")], 10),
        ([entry("a"), entry("b")], [entry("a")], 5),
        ([entry("a")], [entry("a", "skipped")], 5),
        ([entry("a", "product")], [entry("a", "product")], 0),
        ([entry("a", "product", signature="x")], [entry("a", "product", signature="y")], 1),
        ([entry("a", "product")], [entry("a")], 0),
        ([entry("a")], [entry("a"), entry("b", "product")], 1),
        ([entry("a")], [entry("a"), entry("b")], 0),
        ([], [], 0),
    ],
)
def test_what_is_worse_decides_the_exit_code(base: list[TestEntry], new: list[TestEntry], code: int) -> None:
    assert compared(base, new).exit_code == code


@pytest.mark.parametrize(("verdict", "code"), [("passed", 1), ("product", 1), ("crash", 3)])
def test_a_flaky_test_fails_a_strict_comparison_alone(verdict: Verdict, code: int) -> None:
    flaky = [entry("a", verdict, earlier=[attempt("product"), attempt("passed")])]
    assert compared([entry("a")], flaky).exit_code == 0
    assert compared([entry("a")], flaky, strict=True).exit_code == code


def test_the_labs_own_failures_make_no_test_flaky() -> None:
    result = compared([entry("a")], [entry("a", earlier=[attempt("infra")])])
    assert result.equal
    assert result.changes == []


def test_runs_that_are_red_in_the_same_way_are_equal_and_say_so() -> None:
    result = compared([entry("a", "product"), entry("b")], [entry("a", "product"), entry("b")])
    assert result.equal
    assert [change.change for change in result.changes] == ["still red"]
    assert result.unchanged == 1


def test_a_report_without_signatures_is_compared_by_its_reasons() -> None:
    old = entry("a", "product").model_copy(update={"reason": "read 17 of 20 came after 1.25 s"})
    now = entry("a", "product").model_copy(update={"reason": "read 3 of 20 came after 9.75 s"})
    other = entry("a", "product").model_copy(update={"reason": "no read came"})
    assert compared([old], [now]).changes[0].change == "still red"
    assert compared([old], [other]).changes[0].change == "red in another way"


def test_what_did_not_run_says_why() -> None:
    nodeid = entry("b").nodeid
    stopped = recorded([entry("a")], not_run=[nodeid], ended="stopping after 1 failures")
    [change] = compare(recorded([entry("a"), entry("b")]), stopped).changes
    assert change.why == "the run ended before it: stopping after 1 failures"
    [change] = compared([entry("a"), entry("b")], [entry("a")]).changes
    assert change.why == "deselected, renamed or removed"


def test_different_keys_are_said() -> None:
    result = compare(recorded([entry("a")]), recorded([entry("a")], accelerator="kvm"))
    assert result.key_differences == ["accelerator: tcg in BASE, kvm in NEW"]
    assert compared([entry("a")], [entry("a")]).key_differences == []
