"""Waiting until a guest is quiet, on a clock that only sleeping moves."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable

import pytest

from lab.pool.settle import processor_time, settle


class Guest:
    """Takes processor time as its ``load`` says for each moment."""

    def __init__(self, load: Callable[[float], float]) -> None:
        self.now = 0.0
        self.taken = 7.0
        self._load = load

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.taken += self._load(self.now) * seconds
        self.now += seconds

    def settle(self) -> bool:
        return settle(lambda: self.taken, quiet_s=0.5, share=0.2, patience_s=5.0, clock=self.clock, sleep=self.sleep)


def test_an_idle_guest_is_quiet_after_the_time_that_it_must_be_quiet_for() -> None:
    guest = Guest(lambda _now: 0.05)
    assert guest.settle()
    assert guest.now == pytest.approx(0.5, abs=0.06)


def test_a_guest_that_is_busy_at_first_must_be_quiet_for_all_of_the_time_afterwards() -> None:
    guest = Guest(lambda now: 1.0 if now < 1.25 else 0.0)
    assert guest.settle()
    assert 1.25 + 0.4 <= guest.now <= 1.25 + 0.65


def test_a_burst_within_the_quiet_time_begins_it_anew() -> None:
    guest = Guest(lambda now: 1.0 if 0.3 <= now < 0.5 else 0.0)
    assert guest.settle()
    assert guest.now >= 0.5 + 0.4


def test_work_that_is_spread_out_is_no_quiet() -> None:
    guest = Guest(lambda _now: 0.5)
    assert not guest.settle()


def test_a_guest_that_never_rests_is_taken_as_it_is_when_patience_ends() -> None:
    guest = Guest(lambda _now: 1.0)
    assert not guest.settle()
    assert guest.now == pytest.approx(5.0, abs=0.06)


def test_the_time_of_a_process_is_what_it_took_and_nothing_once_it_has_ended() -> None:
    here = processor_time(os.getpid())
    before, begin = here(), time.process_time()
    while time.process_time() - begin < 0.1:
        pass
    assert here() - before >= 0.05
    child = subprocess.Popen(["sleep", "100"])
    there = processor_time(child.pid)
    child.kill()
    child.wait()
    assert there() == 0.0
    assert processor_time(child.pid)() == 0.0
