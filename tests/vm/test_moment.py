"""How far a test has come in the time of its guest."""

from __future__ import annotations

import pytest

from lab.vm.moment import Moment


def test_it_is_unknown_until_an_event_has_a_time_and_never_goes_back() -> None:
    moment = Moment()
    assert moment.at is None
    moment.reached(None)
    assert moment.at is None
    moment.reached(5.0)
    moment.reached(4.0)
    moment.reached(None)
    moment.not_after(9.0)
    assert moment.at == 5.0
    moment.reached(6.0)
    assert moment.at == 6.0


def test_an_event_of_unknown_time_was_before_the_present() -> None:
    moment = Moment()
    moment.reached(5.0)
    with moment.passing():
        assert moment.at is None, "the guest's time passes"
    assert moment.at is None
    moment.not_after(None)
    assert moment.at is None
    moment.not_after(8.0)
    assert moment.at == 8.0
    moment.reached(6.0)
    assert moment.at == 8.0


def test_after_an_exception_it_is_unknown() -> None:
    moment = Moment()
    moment.reached(5.0)
    with pytest.raises(OSError, match="no answer"), moment.passing():
        raise OSError("no answer")
    assert moment.at is None


def test_time_passes_until_the_last_call_has_ended() -> None:
    moment = Moment()
    with moment.passing():
        with moment.passing():
            pass
        moment.reached(5.0)
        assert moment.at is None
    assert moment.at is None
