"""The counters of a test: read at the end of its window, or a reason why they are missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from lab.coverage.gcda import Counters
from lab.coverage.recorded import TestCounters
from lab.coverage.records import LoadRecord, State
from lab.errors import CommandFailed, LabError, TransportError
from lab.lease.lease import Lease
from lab.lease.life import GuestLife
from lab.plugin import coverage
from lab.plugin.coverage import CoverageByTest
from lab.plugin.markers import Wishes
from lab.plugin.phases import Plan
from lab.plugin.testrun import TestRun
from lab.prints.record import FaultRecord, Record


def _counters(count: int) -> Counters:
    return Counters(1, 2, 3, {(4, 5, 6): (count,)} if count else {})


def _live(count: int, number: int = 1) -> LoadRecord:
    return LoadRecord("boiler", number, State.LIVE, {"0.gcno": _counters(count)})


@dataclass
class _Guest:
    alive: bool = True
    transport: object = None


@dataclass
class _Ledger:
    records: list[Record] = field(default_factory=list)

    def peek(self) -> list[Record]:
        return self.records


@dataclass
class _Lease:
    """As much of a lease as is looked at."""

    life: GuestLife
    guest: _Guest = field(default_factory=_Guest)
    ledger: _Ledger = field(default_factory=_Ledger)
    condemned: list[str] = field(default_factory=list)

    def condemn(self, reason: str) -> None:
        self.condemned.append(reason)


class _Reads:
    """Answers each read of a guest's counters."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: tuple[LoadRecord, ...] | LabError) -> None:
        self._answers = iter(answers)
        self.written: list[TestCounters] = []
        self.by_test = CoverageByTest("C:\\drvprobe.exe", self.written.append)
        monkeypatch.setattr(coverage, "take_counters", self._take)

    def _take(self, _transport: object, _probe: str, *, timeout: float) -> tuple[LoadRecord, ...]:
        assert timeout > 0
        answer = next(self._answers)
        if isinstance(answer, LabError):
            raise answer
        return answer

    def close(self, nodeid: str, lease: _Lease) -> None:
        run = TestRun(Plan(nodeid=nodeid, wishes=Wishes(), started=0.0))
        self.by_test.window_closes(run, cast(Lease, lease))


def _lease(name: str = "gw0-1") -> _Lease:
    return _Lease(GuestLife(guest_id=name, started=0.0))


def _counts(entry: TestCounters) -> list[int]:
    return [count for one in entry.counters.values() for counts in one.counts.values() for count in counts]


def test_each_test_gets_what_was_counted_in_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, lease = _Reads(monkeypatch, (_live(3),), (_live(5),), (_live(5),), (_live(2),)), _lease()
    for name in ("a", "b", "idle"):
        reads.close(name, lease)
    reads.close("c", _lease("gw0-2"))  # another fork of the template begins where the first one began

    assert [(entry.nodeid, entry.driver, _counts(entry)) for entry in reads.written] == [
        ("a", "boiler", [3]),
        ("b", "boiler", [2]),
        ("c", "boiler", [2]),
    ]


def test_a_crash_or_the_end_of_the_guest_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = _Reads(monkeypatch)
    crashed, ended = _lease(), _lease()
    fault = FaultRecord(sequence=1, host_time=0.0, guest_time=None, code=0xC0000005, parameters=(), text="err:seh")
    crashed.ledger.records.append(fault)
    ended.guest.alive = False
    reads.close("a", crashed)
    reads.close("b", ended)

    assert [(entry.nodeid, entry.lost.partition(":")[0]) for entry in reads.written] == [
        ("a", "a driver crashed"),
        ("b", "the guest ended"),
    ]


@pytest.mark.parametrize(
    "error", [CommandFailed("x", 2), TransportError("cut off"), LabError("a record of 9 bytes is cut off")]
)
def test_counters_that_cannot_be_read_are_missing_and_no_other_test_gets_them(
    monkeypatch: pytest.MonkeyPatch, error: LabError
) -> None:
    reads, lease = _Reads(monkeypatch, error), _lease()
    reads.close("a", lease)

    (entry,) = reads.written
    assert "did not deliver its counters" in entry.lost
    assert len(lease.condemned) == 1


def test_counters_that_the_guest_had_no_memory_for_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = _Reads(monkeypatch, (LoadRecord("boiler", 1, State.LOST),))
    reads.close("a", _lease())

    assert [entry.lost for entry in reads.written] == ["the guest had no memory for the last counters of boiler"]
