"""Verdicts outside of a test's own window."""

from __future__ import annotations

import errno

import pytest

from lab.gate.outside import (
    collection_verdict,
    ended_on_purpose,
    fault_after_test,
    fault_before_tests,
    internal_error_of,
    never_ended,
    never_started,
    not_collected,
)
from lab.gate.verdict import Decision
from lab.report.model import Fault

ACCESS = Fault(code="0xC0000005", parameters=["0x1234"], text="Unhandled exception")
BUGCHECK = Fault(code="0x000000D1", parameters=["0x1", "0x2", "0x3", "0x4"], text="DRIVER_IRQL_NOT_LESS_OR_EQUAL")
RESET = Fault(code="0x00000000", text="the guest reset itself")


def test_a_fault_before_any_test_is_a_crash_of_the_guest() -> None:
    found = fault_before_tests("gw0-1", [ACCESS, RESET])
    assert found is not None
    assert found.decision == Decision(
        verdict="crash", reason="before any test, on guest gw0-1: driver fault 0xC0000005: Unhandled exception"
    )
    assert found.fault is ACCESS
    assert fault_before_tests("gw0-1", []) is None


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (ACCESS, "driver fault 0xC0000005: Unhandled exception"),
        (BUGCHECK, "bugcheck 0x000000D1: DRIVER_IRQL_NOT_LESS_OR_EQUAL"),
        (RESET, "the guest reset itself"),
    ],
)
def test_a_fault_after_a_test_makes_it_a_crash_and_its_reason_stays(fault: Fault, said: str) -> None:
    passed = fault_after_test([fault], verdict="passed", reason="", known_code=None)
    assert passed is not None
    assert passed.decision == Decision(verdict="crash", reason=f"after the test, on its guest: {said} (it was passed)")
    red = fault_after_test([fault], verdict="product", reason="no print", known_code=None)
    assert red is not None
    assert red.decision.reason.endswith("(it was product: no print)")


def test_one_fault_does_not_count_twice_for_a_test() -> None:
    assert fault_after_test([ACCESS], verdict="crash", reason="x", known_code="0xC0000005") is None
    assert fault_after_test([ACCESS], verdict="known", reason="x", known_code="0xC0000005") is None
    assert fault_after_test([], verdict="passed", reason="", known_code=None) is None
    other = fault_after_test([ACCESS, BUGCHECK], verdict="known", reason="x", known_code="0xC0000005")
    assert other is not None
    assert other.fault is BUGCHECK


def test_tests_that_never_ran_or_never_ended_are_infra() -> None:
    assert never_started("").reason == "never started: pytest ended before this test"
    assert never_started("killed by signal 9") == Decision(verdict="infra", reason="never started: killed by signal 9")
    assert never_ended("gw1") == Decision(verdict="infra", reason="worker gw1 ended in the middle of this test")


def test_a_collection_is_the_suites_mistake_unless_the_host_has_no_room() -> None:
    assert collection_verdict(ImportError("no module")) == "test"
    assert collection_verdict(None) == "test"
    full = ImportError("no module")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert collection_verdict(full) == "infra"
    assert not_collected("infra", "full") == Decision(verdict="infra", reason="cannot be collected: full")


def test_an_internal_error_is_the_suites_only_where_its_code_raised_it() -> None:
    def of_a_suite() -> None:
        raise KeyError("a hook of a suite")

    with pytest.raises(KeyError) as caught:
        of_a_suite()
    assert internal_error_of(caught.value) == "test"
    assert internal_error_of(AssertionError("pytest's own")) == "lab"


@pytest.mark.parametrize(
    ("stopped_by", "suites_fault", "interrupted", "on_purpose"),
    [
        ("", False, False, False),
        ("", True, False, False),
        ("", False, True, True),
        ("interrupt", False, False, True),
        ("exit", False, False, True),
        ("stop", False, False, True),
        ("internal error", False, False, False),
        ("internal error", True, False, True),
    ],
)
def test_tests_that_were_left_out_on_purpose_are_no_failure(
    stopped_by: str, suites_fault: bool, interrupted: bool, on_purpose: bool
) -> None:
    assert ended_on_purpose(stopped_by, suites_fault=suites_fault, interrupted=interrupted) == on_purpose
