"""A failure about time on a starved guest accuses no driver; every other failure does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import CommandFailed, GuestCrashed, GuestHung, ServiceError, TimingFailed, TransportError
from lab.gate.facts import Facts, PhaseFact
from lab.gate.starvation import MISSED_SHARE, STARVED_SHARE
from lab.gate.verdict import Verdict, decide
from lab.prints.matching import PrintMismatch, PrintsLate, PrintsMissing
from lab.vm.processor_time import ProcessorTime

STARVED = ProcessorTime(wall_s=5.0, waited_s=3.0)
SERVED = ProcessorTime(wall_s=5.0, waited_s=0.4)
LATE = TimingFailed("ticks are one second apart: assert 3.0 == 1.0")


def call(error: BaseException) -> list[PhaseFact]:
    return [PhaseFact(when="call", outcome="failed", error=error)]


def facts(error: BaseException, **more: Any) -> Facts:
    values: dict[str, Any] = {"processor": STARVED, "can_repeat": True, "guest_answers": True}
    return Facts(phases=call(error), **(values | more))


INTERVALS = [LATE, PrintsLate("1.5 guest seconds between prints 1 and 2")]
DEADLINES: list[Exception] = [PrintsMissing("0 of 1 came"), GuestHung("still runs"), ServiceError("sc start x", 1053)]


@pytest.mark.parametrize("error", [*INTERVALS, *DEADLINES])
def test_failures_about_time(error: BaseException) -> None:
    decision = decide(facts(error))
    assert (decision.verdict, decision.again) == ("infra", True)
    assert "waited 3.0 of 5.0 s (60%) for a processor; it is run again in a fresh guest: " in decision.reason
    assert (decide(facts(error, processor=SERVED)).verdict, decide(facts(error, processor=None)).verdict) == ("product",) * 2


@pytest.mark.parametrize("error", DEADLINES)
def test_a_missed_deadline_accuses_unless_the_host_took_most_of_it(error: Exception) -> None:
    """With six workers on two cores nearly each guest waits for a tenth of its time: a read that never ends was `infra`."""
    decision = decide(facts(error, processor=ProcessorTime(wall_s=60.0, waited_s=20.0)))
    assert (decision.verdict, decision.again) == ("product", False)
    both = ExceptionGroup("both", [error, LATE])
    assert decide(facts(both, processor=ProcessorTime(wall_s=60.0, waited_s=20.0))).verdict == "product"
    assert decide(facts(both)).again


@pytest.mark.parametrize("error", [*INTERVALS, ServiceError("sc start x", 1053)])
def test_no_host_makes_a_virtual_clock_late(error: BaseException) -> None:
    """The guest's own seconds are wrong there for no other reason than the driver."""
    assert decide(facts(error, clock="virtual")).verdict == "product"


@pytest.mark.parametrize("error", [PrintsMissing("0 of 1 came"), GuestHung("still runs")])
def test_deadlines_of_the_host_are_missed_with_a_virtual_clock_too(error: BaseException) -> None:
    assert decide(facts(error, clock="virtual")).again
    assert decide(facts(error, clock="virtual", processor=SERVED)).verdict == "product"


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (AssertionError("a != b"), "product"),
        (PrintMismatch("kernel print 1 is 'x'"), "product"),
        (ServiceError("sc start x", 577), "product"),
        (CommandFailed("client", 3), "product"),
        (pytest.fail.Exception("no"), "product"),
        (GuestCrashed(0xD1), "crash"),
        (TransportError("reset"), "infra"),
        (KeyError("x"), "test"),
        (ExceptionGroup("both", [LATE, AssertionError("a != b")]), "product"),
    ],
)
def test_failures_not_about_time(error: BaseException, verdict: Verdict) -> None:
    decision = decide(facts(error))
    assert (decision.verdict, decision.again) == (verdict, False)


def test_an_assertion_raised_from_a_failure_about_time_is_judged_as_that() -> None:
    error = RuntimeError("the helper's own")
    error.__cause__ = LATE
    assert decide(facts(error)).again


@pytest.mark.parametrize(
    ("more", "verdict", "again", "words"),
    [
        ({"repeated": True}, "infra", False, "for a processor, in its second run too: ticks"),
        ({"repeated": True, "processor": SERVED}, "product", False, "ticks are one second apart"),
        ({"can_repeat": False}, "infra", False, "for a processor: ticks"),
        ({"uses_lab": False}, "test", False, "ticks"),
        ({"crash_sign": "the guest reset itself"}, "crash", False, "the guest reset itself"),
        ({"guest_alive": False}, "infra", False, "the virtual machine ended"),
    ],
)
def test_when_a_test_is_run_again(more: dict[str, Any], verdict: Verdict, again: bool, words: str) -> None:
    decision = decide(facts(LATE, **more))
    assert (decision.verdict, decision.again) == (verdict, again)
    assert words in decision.reason


def test_a_wrong_text_in_a_later_phase_decides() -> None:
    late = PhaseFact(when="teardown", outcome="failed", error=AssertionError("a handle is open"))
    decision = decide(Facts(phases=[*call(LATE), late], processor=STARVED, can_repeat=True))
    assert (decision.verdict, decision.reason) == ("product", "in teardown: a handle is open")
    gone = PhaseFact(when="teardown", outcome="failed", error=TransportError("gone"))
    assert decide(Facts(phases=[*call(LATE), gone], processor=STARVED, can_repeat=True)).again


def test_a_hang_of_the_whole_guest_stays_infra() -> None:
    decision = decide(facts(GuestHung("no answer"), guest_answers=False))
    assert (decision.verdict, decision.again) == ("infra", False)


@given(st.floats(0.1, 1e4), st.floats(0, 1.0))
def test_the_share_of_waiting_decides(wall: float, share: float) -> None:
    processor = ProcessorTime(wall_s=wall, waited_s=wall * share)
    for error, least in ((LATE, STARVED_SHARE), (DEADLINES[0], MISSED_SHARE)):
        assert decide(facts(error, processor=processor)).again is (processor.share >= least)
