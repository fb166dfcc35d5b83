"""Where allocations fail on purpose, a driver that refuses what it has no memory for is not accused."""

from __future__ import annotations

import pytest

from lab.errors import CommandFailed, GuestCrashed, GuestHung, ServiceError, TimingFailed
from lab.gate.facts import Facts, PhaseFact
from lab.gate.verdict import Verdict, decide
from lab.prints.matching import PrintsMissing


def facts(*errors: BaseException, fails: bool = True, when: str = "call") -> Facts:
    failed = [PhaseFact(when=when, outcome="failed", error=error) for error in errors]  # type: ignore[arg-type]
    return Facts(phases=failed, fails_allocations=fails, guest_answers=True)


@pytest.mark.parametrize(
    "error",
    [
        *(ServiceError("sc start sync", code) for code in (8, 1450, 1455, 0xC000009A, -0x3FFFFF66)),
        AssertionError("0 == 20"),
        pytest.fail.Exception("no data"),
        PrintsMissing("0 of 1 came"),
        TimingFailed("ticks: 3.1"),
        CommandFailed("drvprobe read", 1, "error 1450"),
    ],
)
def test_a_refusal_is_no_finding_about_the_driver(error: BaseException) -> None:
    decision = decide(facts(error))
    assert decision.verdict == "skipped"
    assert decision.reason.startswith("allocations were failed on purpose; the test then failed: ")
    assert decision.signature == ""
    assert decide(facts(error, fails=False)).verdict == "product"


def test_a_driver_that_does_not_start_for_want_of_memory_is_not_accused_in_a_fixture() -> None:
    decision = decide(facts(ServiceError("sc start sync", 1450), when="setup"))
    assert decision.verdict == "skipped"
    assert "in setup: in the guest, `sc start sync` ended with 1450" in decision.reason


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [
        ([GuestCrashed(0xC4, (0x62, 0, 0, 3))], "crash"),
        ([GuestHung("the read does not end")], "product"),
        ([ServiceError("sc stop sync", 1053)], "product"),
        ([ServiceError("sc start sync", 577)], "product"),
        ([AssertionError("0 == 20"), GuestHung("the read does not end")], "product"),
        ([AssertionError("0 == 20"), ServiceError("sc stop sync", 1053)], "product"),
        ([ExceptionGroup("both", [AssertionError("0 == 20"), GuestHung("the read does not end")])], "product"),
        ([KeyError("x")], "test"),
    ],
)
def test_crashes_hangs_and_other_errors_count_as_ever(errors: list[Exception], verdict: Verdict) -> None:
    assert decide(facts(*errors)).verdict == verdict


def test_an_expected_fault_that_needed_memory_may_be_missing() -> None:
    passed = [PhaseFact(when="call", outcome="passed")]
    decision = decide(Facts(phases=passed, expected_fault=0xD1, fails_allocations=True))
    assert (decision.verdict, decision.reason) == (
        "skipped",
        "allocations were failed on purpose: the expected fault 0x000000D1 did not happen",
    )
    assert decide(Facts(phases=passed, expected_fault=0xD1)).verdict == "product"
