"""Exit codes: each verdict alone, every mixture, and pytest knowing better."""

from __future__ import annotations

import itertools

import pytest

from lab.gate.exitcode import combined_code, exit_code, meaning

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
    ("totals", "pytest_code", "expected"),
    [
        ({"passed": 2}, 0, 0),
        ({"passed": 2, "crash": 1}, 1, 3),
        ({"passed": 2, "product": 1}, 2, 1),  # -x stops the run
        ({"infra": 1}, -9, 10),
        ({}, 5, 5),  # nothing collected
        ({}, 2, 4),  # a suite that cannot be imported
        ({}, 4, 2),
        ({"skipped": 2}, 0, 5),
        ({"test": 1, "infra": 1}, 1, 4),
        ({}, 3, 10),
        ({}, -9, 10),
        ({"passed": 2}, 1, 10),  # a failure that no test accounts for
        ({"passed": 2}, 2, 10),
        ({"passed": 2}, 3, 10),
        ({"passed": 2}, 10, 10),
        ({"passed": 2, "known": 1}, 1, 0),
        ({"known": 1}, 2, 0),  # -x stopped at a known failure
        ({"known": 1}, 3, 10),
    ],
)
def test_pytests_own_exit_code_counts_when_the_verdicts_are_green(
    totals: dict[str, int], pytest_code: int, expected: int
) -> None:
    assert combined_code(totals, pytest_code) == expected


def test_a_repeated_test_explains_a_failure_of_pytest() -> None:
    assert combined_code({"passed": 2}, 1, repeated=1) == 0
    assert combined_code({"passed": 2, "product": 1}, 1, repeated=1) == 1
    assert combined_code({"passed": 2}, 3, repeated=1) == 10


def test_each_code_has_words() -> None:
    assert len({meaning(code) for code in (0, 1, 2, 3, 4, 5, 10, 130)}) == 8
    assert "77" in meaning(77)
