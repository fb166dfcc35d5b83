"""Ignored errors are logged, with their causes."""

from __future__ import annotations

import logging

import pytest

from lab.errors import TransportError
from lab.host.passed import passed_over, said

_LOG = logging.getLogger("lab.tests")


def test_the_error_and_its_cause_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), passed_over(_LOG, "gw0-2: no fork is ready", Exception):
        try:
            raise ConnectionResetError("reset by peer")
        except OSError as error:
            raise TransportError("the guest does not answer", hint="wait") from error
    [record] = caplog.records
    assert record.message == (
        "gw0-2: no fork is ready: TransportError: the guest does not answer, because of ConnectionResetError: reset by peer"
    )


def test_other_errors_are_raised() -> None:
    with pytest.raises(ValueError, match="mine"), passed_over(_LOG, "x", OSError):
        raise ValueError("mine")


def test_a_cause_that_was_hidden_on_purpose_stays_hidden() -> None:
    error = ValueError("outer\nmore")
    error.__context__ = KeyError("inner")
    error.__suppress_context__ = True
    assert said(error) == "ValueError: outer"
