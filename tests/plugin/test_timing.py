"""``with timing("…")``: which failures it raises as failures about time, and what pytest shows of them."""

from __future__ import annotations

import pytest

from lab.errors import GuestHung, TimingFailed
from lab.gate.blame import judges_the_driver, place
from lab.prints.matching import PrintMismatch, PrintsLate
from lab.suite import timing


def late(gap: float) -> None:
    with timing("ticks are one second apart"):
        assert gap == pytest.approx(1.0, abs=0.4), "the third tick"


def test_an_assertion_keeps_its_text_and_its_place() -> None:
    with pytest.raises(TimingFailed) as caught:
        late(3.0889)
    said = str(caught.value)
    assert said.startswith("ticks are one second apart: the third tick\nassert 3.0889 == 1.0 ± 0.4")
    assert judges_the_driver(caught.value)
    assert place(caught.value) == f"test_timing.py:{late.__code__.co_firstlineno + 2}"
    assert caught.value.__cause__ is None


def test_an_assertion_that_holds_has_no_effect() -> None:
    late(1.0)


def test_pytest_fail_is_an_assertion_too() -> None:
    with pytest.raises(TimingFailed, match=r"^the tick comes: none came$"), timing("the tick comes"):
        pytest.fail("none came")
    with pytest.raises(TimingFailed, match=r"^at once: assertion failed$"), timing("at once"):
        raise AssertionError


@pytest.mark.parametrize(
    "error", [KeyError("x"), GuestHung("still runs"), PrintMismatch("another print"), PrintsLate("none"), TimingFailed("inner")]
)
def test_other_exceptions_are_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, timing("outer"):
        raise error
    assert caught.value is error


def test_pytest_shows_the_line_and_the_values(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
from lab.suite import timing

def test_late():
    gaps = [1.0, 3.0889]
    with timing("ticks are one second apart"):
        assert max(gaps) < 1.4
"""
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    result.stdout.fnmatch_lines(
        [
            ">           assert max(gaps) < 1.4",
            "E           lab.errors.TimingFailed: ticks are one second apart: assert 3.0889 < 1.4",
            "E            +  where 3.0889 = max([[]1.0, 3.0889[]])",
        ]
    )
    assert "__exit__" not in result.stdout.str()
