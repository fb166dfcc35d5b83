"""One reason that is raised for many tests: each has a short traceback of its own."""

from __future__ import annotations

import traceback

import pytest

from lab.errors import ConfigError, GuestCrashed, HostToolError, ImageError, LabError
from lab.plugin.run_guests import NoSource

_ERRORS = [
    ImageError("there is no image", hint="build one"),
    ConfigError("is wrong", file="lab.yaml", key="guest", line=3, hint="look"),
    HostToolError(["qemu", "-x"], 7, "last words", hint="install it"),
    GuestCrashed(0xD1, (1, 2, 3, 4)),
]


def told(source: NoSource) -> LabError:
    with pytest.raises(LabError) as caught:
        source.boot("g")
    return caught.value


@pytest.mark.parametrize("reason", _ERRORS, ids=lambda error: type(error).__name__)
def test_a_reason_that_is_raised_often_keeps_its_traceback_short(reason: LabError) -> None:
    source = NoSource(reason)
    depths, notes = set(), set()
    for _ in range(20):
        error = told(source)
        depths.add(len(traceback.extract_tb(error.__traceback__)))
        error.add_note("of one test alone")
        notes.add(len(error.__notes__))
        assert (type(error), str(error)) == (type(reason), str(reason))
        assert set(vars(error)) - {"__notes__"} == set(vars(reason))
    assert len(depths) == 1
    assert notes == {1}


def test_an_error_that_is_raised_anew_keeps_cause_and_notes() -> None:
    reason = ImageError("no image")
    reason.__cause__ = OSError("disk")
    reason.add_note("before that, something else")
    error = told(NoSource(reason))
    assert error.__cause__ is reason.__cause__
    assert error.__notes__ == ["before that, something else"]
    assert error is not reason
