"""Waiting until a guest is quiet, on a clock that only sleeping moves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.snapshot import maker
from lab.snapshot.idle import processor_time, wait_until_idle
from lab.vm.machine import VirtualMachine
from lab.vm.spec import VmSpec


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


class Stopped(Exception):
    """The guest is about to be stopped."""


@pytest.mark.parametrize("quiet", [True, False])
def test_a_guest_is_stopped_when_it_is_parked_and_quiet_and_one_that_never_is_is_told_of(
    quiet: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    def settled(_processor_s: Callable[[], float]) -> bool:
        happened.append("settled")
        return quiet

    def park(*_: object) -> tuple[None, dict[str, str]]:
        happened.append("parked")
        return None, {}

    def stop(*_: object) -> None:
        raise Stopped

    monkeypatch.setattr(maker, "wait_until_idle", settled)
    monkeypatch.setattr(maker, "_stop_between_prints", stop)
    monkeypatch.setattr(maker.TemplateMaker, "_park", park)
    monkeypatch.setattr(VirtualMachine, "pid", os.getpid())
    prints = SimpleNamespace(resumable=SimpleNamespace())
    guest: Any = SimpleNamespace(machine=VirtualMachine(VmSpec(), tmp_path), prints=prints)
    features: Any = None
    wish: Any = None
    said: list[str] = []
    made_by = maker.TemplateMaker(features, progress=said.append)
    with pytest.raises(Stopped):
        made_by._snapshot(guest, tmp_path, wish, "key", ram=None, boot_s=1.0, begin=0.0, files={})
    assert happened == ["parked", "settled"]
    assert [line.partition(",")[0] for line in said] == ([] if quiet else ["the guest does not get quiet"])
