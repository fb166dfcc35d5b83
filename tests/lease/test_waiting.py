"""A long wait is reported on the terminal, a short one is not."""

from __future__ import annotations

from collections.abc import Callable

from lab.lease.waiting import Patience


class _Timer:
    daemon = False

    def __init__(self, _seconds: float, ring: Callable[[], None], made: list[_Timer]) -> None:
        self.ring = ring
        self.cancelled = False
        made.append(self)

    def start(self) -> None:
        pass

    def cancel(self) -> None:
        self.cancelled = True


def test_a_long_wait_and_its_end_are_reported() -> None:
    said: list[str] = []
    timers: list[_Timer] = []
    clock = iter([10.0, 52.4])
    patience = Patience(said.append, timer=lambda s, ring: _Timer(s, ring, timers), clock=lambda: next(clock))
    with patience.waiting("a slot for its guest: other runs have all"):
        timers[0].ring()
        assert said == ["waiting for a slot for its guest: other runs have all"]
    assert said[1:] == ["continued after 42 s of waiting for a slot for its guest"]
    assert timers[0].cancelled
    assert timers[0].daemon


def test_a_short_wait_is_not_reported() -> None:
    said: list[str] = []
    timers: list[_Timer] = []
    with Patience(said.append, timer=lambda s, ring: _Timer(s, ring, timers)).waiting("its turn"):
        pass
    assert said == []
    assert timers[0].cancelled
