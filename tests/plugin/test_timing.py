"""``with timing("…")``: which failures it raises as failures about time, and what pytest shows of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from time import perf_counter as counter
from typing import Any

import pytest

from lab.errors import GuestHung, TimingFailed
from lab.gate.blame import judges_the_driver, place
from lab.guest.probe import Operation
from lab.guest.protocol import CommandResult
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


def with_monotonic() -> None:
    begin = time.monotonic()
    with timing("at once"):
        assert time.monotonic() < begin


def with_a_name() -> None:
    begin = counter()
    with timing("at once"):
        assert not begin


def helper(seconds: float) -> None:
    with timing("at once"):
        assert seconds < 0


def by_a_helper() -> None:
    helper(time.time())


def of_a_command() -> None:
    done = CommandResult(command="x", exit_code=0, stdout=b"", stderr=b"", duration_s=9.0)
    with timing("at once"):
        assert done.duration_s < 5


def of_the_guest() -> None:
    words: dict[str, Any] = {"op": "tick", "thread": "main", "handle": None, "tag": None}
    record = Operation(seq=1, asked=0, returned=0, error=0, start_us=0, end_us=9_000_000, **words)
    with timing("at once"):
        assert record.duration_s < 5, "time.time() is only in this text"


@pytest.mark.parametrize(
    ("test", "clock"),
    [
        (with_monotonic, "time.monotonic() in test_timing.py"),
        (with_a_name, "time.perf_counter() in test_timing.py"),
        (by_a_helper, "time.time() in test_timing.py"),
        (of_a_command, "CommandResult.duration_s"),
        (of_the_guest, ""),
        (lambda: late(3.0), ""),
    ],
)
def test_a_clock_of_the_host_beside_the_assertion_is_known(test: Callable[[], None], clock: str) -> None:
    with pytest.raises(TimingFailed) as caught:
        test()
    assert caught.value.host_clock == clock
