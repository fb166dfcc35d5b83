"""A test that slept on the host, while its guest stood still, accuses no driver of what it did not see."""

from __future__ import annotations

from typing import Any

import pytest

from lab.errors import CommandFailed, GuestCrashed, GuestHung, ServiceError, TimingFailed
from lab.gate.facts import Facts, PhaseFact
from lab.gate.verdict import Verdict, decide
from lab.prints.matching import PrintsMissing

SLEPT = "time.sleep(2) in test_timer.py:12"


def facts(*errors: BaseException, **more: Any) -> Facts:
    failed = [PhaseFact(when="call", outcome="failed", error=error) for error in errors]
    values: dict[str, Any] = {"clock": "virtual", "host_sleep": SLEPT, "guest_answers": True}
    return Facts(phases=failed, **(values | more))


@pytest.mark.parametrize("error", [AssertionError("0 == 2"), PrintsMissing("0 of 1 came"), pytest.fail.Exception("no tick")])
def test_an_assertion_after_a_sleep_on_the_host_says_nothing_about_the_driver(error: BaseException) -> None:
    decision = decide(facts(error))
    assert decision.verdict == "test"
    assert decision.reason == (
        f"{SLEPT} let no time pass in the guest, whose clock is virtual (use guest.sleep); the test then failed: {error}"
    )
    assert decide(facts(error, host_sleep="")).verdict == "product"


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ServiceError("sc start x", 577), "product"),
        (CommandFailed("client", 3), "product"),
        (GuestHung("still runs"), "product"),
        (GuestCrashed(0xD1), "crash"),
        (KeyError("x"), "test"),
    ],
)
def test_what_no_sleep_explains_stays_what_it_is(error: BaseException, verdict: Verdict) -> None:
    assert decide(facts(error)) == decide(facts(error, host_sleep=""))
    assert decide(facts(error)).verdict == verdict


def test_one_failure_that_no_sleep_explains_is_enough() -> None:
    assert decide(facts(AssertionError("0 == 2"), ServiceError("sc stop x", 1053))).verdict == "product"


def test_a_known_issue_is_none_of_a_sleep() -> None:
    assert decide(facts(AssertionError("0 == 2"), xfail_reason="issue 7")).verdict == "test"


BY_THE_HOST = TimingFailed("at once: assert 3.1 < 3", host_clock="time.monotonic() in test_timer.py")


def test_times_of_the_host_say_nothing_about_a_driver_whose_guest_has_a_virtual_clock() -> None:
    decision = decide(facts(BY_THE_HOST, host_sleep=""))
    assert decision.verdict == "test"
    assert decision.reason == (
        "time.monotonic() in test_timer.py tells the host's time, not that of a guest with a virtual clock (or use "
        "lab_clock('real')); the test then failed: at once: assert 3.1 < 3"
    )
    assert decide(facts(BY_THE_HOST, host_sleep="", clock="real")).verdict == "product"


@pytest.mark.parametrize("other", [TimingFailed("ticks: 1.03"), AssertionError("0 == 2"), ServiceError("sc stop x", 1053)])
def test_one_failure_that_is_not_about_the_hosts_time_is_enough(other: BaseException) -> None:
    assert decide(facts(other, host_sleep="")).verdict == "product"
    assert decide(facts(BY_THE_HOST, other, host_sleep="")).verdict == "product"
