"""Waiting until a guest is quiet, on a clock that only sleeping moves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from lab.snapshot.idle import processor_time, wait_until_idle


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

    def wait_until_idle(self) -> bool:
        return wait_until_idle(lambda: self.taken, quiet_s=0.5, share=0.25, patience_s=5.0, clock=self.clock, sleep=self.sleep)


def test_an_idle_guest_is_quiet_after_the_time_that_it_must_be_quiet_for() -> None:
    guest = Guest(lambda _now: 0.05)
    assert guest.wait_until_idle()
    assert guest.now == pytest.approx(0.5, abs=0.11)


def test_a_guest_that_is_busy_at_first_must_be_quiet_for_all_of_the_time_afterwards() -> None:
    guest = Guest(lambda now: 1.0 if now < 1.25 else 0.0)
    assert guest.wait_until_idle()
    assert 1.25 + 0.5 <= guest.now <= 1.25 + 0.75


def test_a_burst_within_the_quiet_time_begins_it_anew() -> None:
    # 50 ms of work, once, on top of what an idle guest takes.
    guest = Guest(lambda now: 0.5 if 0.35 <= now < 0.45 else 0.05)
    assert guest.wait_until_idle()
    assert guest.now >= 0.45 + 0.5


def test_work_that_is_spread_out_is_no_quiet() -> None:
    guest = Guest(lambda _now: 0.5)
    assert not guest.wait_until_idle()


def test_a_guest_that_never_rests_is_taken_as_it_is_when_patience_ends() -> None:
    guest = Guest(lambda _now: 1.0)
    assert not guest.wait_until_idle()
    assert guest.now == pytest.approx(5.0, abs=0.11)


def test_the_time_of_a_process_is_what_it_took() -> None:
    here = processor_time(os.getpid())
    before, begin = here(), time.process_time()
    while time.process_time() - begin < 0.1:
        pass
    assert here() - before >= 0.05


def test_a_process_that_ends_meanwhile_is_quiet() -> None:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    guest = Guest(lambda _now: 0.0)

    def end_after_a_while(seconds: float) -> None:
        guest.sleep(seconds)
        if guest.now > 0.25:
            child.kill()
            child.wait()

    taken = processor_time(child.pid)
    try:
        assert wait_until_idle(taken, quiet_s=0.5, share=0.25, patience_s=5.0, clock=guest.clock, sleep=end_after_a_while)
    finally:
        child.kill()
        child.wait()
    assert taken() == 0.0
