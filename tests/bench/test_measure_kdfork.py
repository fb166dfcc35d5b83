"""The measure of forks with a kernel debugger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from lab.bench.budgets import judge
from lab.bench.measures.kdfork import KdForkMeasure, Side
from lab.bench.protocol import Context
from lab.bench.targetforks import Debugger
from lab.errors import EvidenceLost
from lab.live.guest import LiveGuest
from lab.prints.record import GapRecord
from tests.bench.fakes import FakeContext, FakeForks
from tests.simulated_guest import SimulatedPrints

SECONDS: Mapping[Debugger, float] = {"none": 0.1, "waiting": 0.12, "started": 0.4}


@dataclass
class FakeSide(FakeForks):
    """Forks that take as long as the test says, and print one line each."""

    debugger: Debugger = "none"
    seconds: float = 0.0
    log: list[str] = field(default_factory=list)

    def get_ready(self) -> None:
        self.log.append(f"{self.debugger} ready")

    def fork(self, guest_id: str) -> LiveGuest:
        self.log.append(self.debugger)
        guest = super().fork(guest_id)
        guest.boot_s = self.seconds
        return guest


@dataclass
class Sides:
    """The three kinds, open inside of the ``with``."""

    seconds: Mapping[Debugger, float] = field(default_factory=lambda: SECONDS)
    log: list[str] = field(default_factory=list)
    made: dict[Debugger, FakeSide] = field(default_factory=dict)

    @contextmanager
    def __call__(self, context: Context) -> Iterator[Mapping[Debugger, Side]]:
        assert isinstance(context, FakeContext)
        self.made = {
            debugger: FakeSide(context.source, debugger=debugger, seconds=seconds, log=self.log)
            for debugger, seconds in self.seconds.items()
        }
        yield self.made
        for side in self.made.values():
            side.close()

    def rest(self) -> None:
        self.log.append("rest")


def test_all_kinds_are_forked_in_turn_with_the_next_one_ready(context: FakeContext) -> None:
    context.count = 2
    sides = Sides()
    found = KdForkMeasure(sides, sides.rest).run(context)
    assert [(one.key, one.values) for one in found.series] == [
        (f"kdfork.{debugger}", (seconds,) * 2) for debugger, seconds in SECONDS.items()
    ]
    order = ["none", "waiting", "started", "started", "waiting", "none"]
    assert sides.log == [step for debugger in order for step in (f"{debugger} ready", "rest", debugger)]
    for side in sides.made.values():
        assert (side.snapshots, side.closed) == (1, True)
        assert not any(guest.alive for guest in side.forked)


@pytest.mark.parametrize(("seconds", "met"), [(0.129, True), (0.131, False)])
def test_the_budget_is_a_ratio_of_the_same_run(seconds: float, met: bool, context: FakeContext) -> None:
    sides = Sides({**SECONDS, "waiting": seconds})
    found = KdForkMeasure(sides, sides.rest).run(context)
    [judged] = [one for one in judge({one.key: one for one in found.series}, {}) if one.budget.key == "fork.kd"]
    assert judged.figure == pytest.approx(seconds / 0.1)
    assert (judged.met, judged.decides) == (met, True)


@pytest.mark.parametrize("lost", ["a gap", "two prints"])
def test_a_fork_that_lost_or_doubled_its_print_is_no_reading(
    lost: str, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = FakeSide.fork

    def forked(side: FakeSide, guest_id: str) -> LiveGuest:
        guest = fork(side, guest_id)
        assert isinstance(guest.prints, SimulatedPrints)
        if lost == "a gap":
            guest.prints.log.extend([GapRecord(sequence=1, host_time=0.0, missing=0, reason="a packet is missing")])
        else:
            guest.prints.say("again")
        return guest

    monkeypatch.setattr(FakeSide, "fork", forked)
    sides = Sides()
    with pytest.raises(EvidenceLost, match="bench-waiting-1: its first command prints one line"):
        KdForkMeasure(sides, sides.rest).run(context)
    assert not any(guest.alive for side in sides.made.values() for guest in side.forked)
