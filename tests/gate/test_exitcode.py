"""Exit codes: each verdict alone, every mixture, and what pytest reports beside them."""

from __future__ import annotations

import itertools

import pytest

from lab.gate.exitcode import RunEnd, exit_code, meaning, run_code, unused_counts

VERDICTS = ("passed", "product", "crash", "test", "infra", "known", "skipped")


@pytest.mark.parametrize("present", [c for n in range(8) for c in itertools.combinations(VERDICTS, n)], ids="+".join)
def test_the_gravest_verdict_wins(present: tuple[str, ...]) -> None:
    if "crash" in present:
        expected = 3
    elif "product" in present:
        expected = 1
    elif "test" in present:
        expected = 4
    elif "infra" in present:
        expected = 10
    elif "passed" in present or "known" in present:
        expected = 0
    else:
        expected = 5
    assert exit_code(dict.fromkeys(present, 2)) == expected


def test_zeros_count_as_absent() -> None:
    assert exit_code({"passed": 3, "crash": 0, "product": 0, "infra": 0}) == 0
    assert exit_code({"passed": 0}) == 5
    assert exit_code({"passed": 0, "skipped": 3}) == 5


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (RunEnd(totals={"passed": 2}), 0),
        (RunEnd(totals={"passed": 2, "crash": 1}, pytest_code=1, failed=1), 3),
        (RunEnd(totals={"passed": 2, "product": 1}, pytest_code=2, failed=1, stopped_by="stop"), 1),
        (RunEnd(totals={"infra": 1}, pytest_code=-9), 10),
        (RunEnd(totals={}, pytest_code=1, failed=2, no_guest_by="infra"), 10),
        (RunEnd(totals={}, pytest_code=4, no_guest_by="infra"), 10),
        (RunEnd(totals={}, pytest_code=4, no_guest_by="usage"), 2),
        (RunEnd(totals={"product": 1}, pytest_code=1, failed=1, no_guest_by="infra"), 1),
        (RunEnd(totals={"test": 1, "infra": 1}, pytest_code=1, failed=2), 4),
        (RunEnd(totals={"skipped": 2}), 5),
        (RunEnd(totals={}, pytest_code=5), 5),
        (RunEnd(totals={}, pytest_code=0), 5),
        (RunEnd(totals={"test": 1}, pytest_code=2, stopped_by="stop"), 4),  # a suite that cannot be imported
        (RunEnd(totals={"test": 1}, pytest_code=4), 4),  # a conftest.py that cannot be imported
        (RunEnd(totals={}, pytest_code=4), 2),
        (RunEnd(totals={}, pytest_code=3), 10),
        (RunEnd(totals={}, pytest_code=-9), 10),
        (RunEnd(totals={"passed": 2}, pytest_code=1, failed=1, unexplained=1), 10),  # a failure without a verdict
        (RunEnd(totals={"passed": 2}, pytest_code=1), 4),  # a plugin's limit: no test has failed
        (RunEnd(totals={"passed": 2}, pytest_code=3), 10),
        (RunEnd(totals={"passed": 2}, pytest_code=3, stopped_by="internal error", suites_fault=True), 4),
        (RunEnd(totals={"passed": 2}, pytest_code=77), 4),  # chosen by a hook of the suites
        (RunEnd(totals={"passed": 2}, pytest_code=2, stopped_by="exit"), 4),  # pytest.exit() in a suite
        (RunEnd(totals={"passed": 2, "product": 1}, pytest_code=2, failed=1, stopped_by="exit"), 1),
        (RunEnd(totals={"passed": 2, "known": 1}, pytest_code=1, failed=1), 0),
        (
            RunEnd(totals={"known": 1}, pytest_code=2, failed=1, stopped_by="stop"),
            0,
        ),  # -x stopped at a known failure: the last
        (RunEnd(totals={"known": 1}, pytest_code=2, failed=1, stopped_by="stop", not_run=2), 5),  # and two were left
        (RunEnd(totals={"passed": 1}, pytest_code=2, stopped_by="stop", not_run=2), 5),  # a hook of the suite stopped it
        (RunEnd(totals={"passed": 1}, pytest_code=2, stopped_by="exit", not_run=2), 4),
        (RunEnd(totals={"product": 1}, pytest_code=2, failed=1, stopped_by="stop", not_run=2), 1),
        (RunEnd(totals={"known": 1}, pytest_code=3), 10),
        (RunEnd(totals={"passed": 2, "product": 1}, pytest_code=2, failed=1, signal=2, stopped_by="interrupt"), 130),
        (RunEnd(totals={}, pytest_code=-9, signal=15), 143),
        (RunEnd(totals={"passed": 1}, pytest_code=2, stopped_by="interrupt"), 130),  # the signal was sent to pytest alone
    ],
)
def test_the_result_of_pytest_counts_if_the_verdicts_are_green(end: RunEnd, expected: int) -> None:
    assert run_code(end) == expected


def test_one_driver_of_a_lab_file_is_enough_and_each_named_one_must_be_used() -> None:
    assert unused_counts(["b"], ["a", "b"], in_lab_file=False)
    assert not unused_counts(["b"], ["a", "b"], in_lab_file=True)
    assert unused_counts(["a", "b"], ["a", "b"], in_lab_file=True)
    assert not unused_counts([], ["a"], in_lab_file=False)


def test_each_code_has_words() -> None:
    assert len({meaning(code) for code in (0, 1, 2, 3, 4, 5, 10, 130)}) == 8
    assert "77" in meaning(77)
