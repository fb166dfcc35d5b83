"""One waiting process for the next guest."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest

from lab.host.spare import Spare


@dataclass
class Process:
    number: int
    alive: bool = True

    def close(self) -> None:
        self.alive = False


class Starter:
    """Starts processes that are numbered from 1."""

    def __init__(self) -> None:
        self.started: list[Process] = []

    def __call__(self) -> Process:
        self.started.append(Process(len(self.started) + 1))
        return self.started[-1]


@pytest.fixture
def start() -> Starter:
    return Starter()


def test_one_process_is_ready_after_each_refill(start: Starter) -> None:
    spare = Spare(start, "process")
    assert spare.take() is None
    spare.refill()
    spare.refill()
    assert spare.take() == Process(1)
    assert spare.take() is None
    spare.refill()
    assert spare.take() == Process(2)


def test_a_process_that_has_ended_is_not_handed_out(start: Starter) -> None:
    spare = Spare(start, "process")
    spare.refill()
    start.started[0].alive = False
    assert spare.take() is None
    spare.refill()
    assert spare.take() == Process(2)


def test_closing_ends_the_ready_process_and_starts_no_other(start: Starter) -> None:
    spare = Spare(start, "process")
    spare.refill()
    spare.close()
    spare.close()
    assert not start.started[0].alive
    spare.refill()
    assert spare.take() is None
    assert len(start.started) == 1


def test_a_process_that_was_taken_is_left_to_its_taker(start: Starter) -> None:
    spare = Spare(start, "process")
    spare.refill()
    taken = spare.take()
    spare.close()
    assert taken is not None
    assert taken.alive


def test_where_there_is_nothing_to_start_none_is_ready() -> None:
    spare: Spare[Process] = Spare(lambda: None, "process")
    spare.refill()
    assert spare.take() is None
    spare.close()


def test_a_start_that_fails_is_logged_and_left_to_the_next_guest(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Process:
        raise FileNotFoundError(2, "No such file or directory", "/nowhere/python")

    caplog.set_level(logging.INFO)
    spare = Spare(fail, "collector")
    spare.refill()
    assert spare.take() is None
    assert "no collector is ready: FileNotFoundError" in caplog.text
