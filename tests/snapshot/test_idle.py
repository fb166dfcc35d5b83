"""Waiting until a guest is idle, on a clock that only sleeping advances."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from lab.snapshot.idle import processor_time, wait_until_idle


class Guest:
    """Uses processor time as its ``load`` says for each moment."""

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


def test_an_idle_guest_is_accepted_after_the_required_time() -> None:
    guest = Guest(lambda _now: 0.05)
    assert guest.wait_until_idle()
    assert guest.now == pytest.approx(0.5, abs=0.11)


def test_a_guest_that_is_busy_at_first_must_then_be_idle_for_the_whole_time() -> None:
    guest = Guest(lambda now: 1.0 if now < 1.25 else 0.0)
    assert guest.wait_until_idle()
    assert 1.25 + 0.5 <= guest.now <= 1.25 + 0.75


def test_a_burst_restarts_the_required_idle_time() -> None:
    # 50 ms of work, once, on top of that of an idle guest.
    guest = Guest(lambda now: 0.5 if 0.35 <= now < 0.45 else 0.05)
    assert guest.wait_until_idle()
    assert guest.now >= 0.45 + 0.5


def test_work_that_is_spread_out_is_not_idle() -> None:
    guest = Guest(lambda _now: 0.5)
    assert not guest.wait_until_idle()


def test_a_guest_that_never_gets_idle_is_used_after_the_deadline() -> None:
    guest = Guest(lambda _now: 1.0)
    assert not guest.wait_until_idle()
    assert guest.now == pytest.approx(5.0, abs=0.11)


def test_the_time_of_a_process_is_its_processor_time() -> None:
    here = processor_time(os.getpid())
    before, begin = here(), time.process_time()
    while time.process_time() - begin < 0.1:
        pass
    assert here() - before >= 0.05


def test_a_process_that_ends_meanwhile_counts_as_idle() -> None:
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
