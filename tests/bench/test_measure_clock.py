"""The measure that compares the clocks: whole suites with a real and a virtual one, in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lab.bench.measures.clock import ClockMeasure, same_verdicts
from lab.bench.measures.suites import SuitesRun
from lab.bench.protocol import NotHere
from lab.errors import LabError
from tests.bench.fakes import FakeContext


def clocked_runs(monkeypatch: pytest.MonkeyPatch, *, verdict: Callable[[str], str] = lambda _: "passed") -> list[str]:
    """Runs whose real clock takes 60 s for one worker, and whose virtual one takes a quarter of that; returns their folders."""
    runs: list[str] = []

    def run_suites(
        _context: FakeContext, suites: Sequence[str], *, workers: int | None, options: Sequence[str], folder: Path
    ) -> SuitesRun:
        assert (tuple(suites), options[0]) == (("suites/mine",), "--clock")
        assert folder.name.startswith(options[1])
        runs.append(folder.name)
        seconds = 60.0 / (workers or 3) / (4 if options[1] == "virtual" else 1)
        return SuitesRun(seconds, workers or 3, {"suites/mine/test_a.py::test_it": verdict(options[1])})

    monkeypatch.setattr("lab.bench.measures.clock.run_suites", run_suites)
    return runs


def test_both_clocks_run_the_suites_in_turn(context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = clocked_runs(monkeypatch)
    context.suites, context.count = ("suites/mine",), 2
    shared = context.guest()
    found = ClockMeasure().run(context)
    assert not shared.alive, "it would run beside what is measured"
    assert runs[:2] == ["real-default-first-run", "virtual-default-first-run"]
    first, second = runs[2:8], runs[8:]
    assert first == [f"{clock}-{n}-turn-1" for n in ("default", 1, 2) for clock in ("real", "virtual")]
    assert second == [name.replace("turn-1", "turn-2") for name in first[::-1]]
    assert [(one.key, one.reference, one.values) for one in found.series[:2]] == [
        ("clock.real.1", "", (60.0, 60.0)),
        ("clock.virtual.1", "clock.real.1", (15.0, 15.0)),
    ]
    assert [one.key for one in found.series[4:]] == ["clock.real.default", "clock.virtual.default"]
    assert [one.note for one in found.series] == ["", "", "", "", "3 workers", "3 workers"]
    assert found.notes[-1] == "1 tests, with the same verdict in each of 14 runs"


def test_clocks_with_other_verdicts_do_not_compare(context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    clocked_runs(monkeypatch, verdict=lambda clock: "passed" if clock == "real" else "skipped")
    context.suites = ("suites/mine",)
    with pytest.raises(LabError, match="test_it: passed, then skipped"):
        ClockMeasure().run(context)
    with pytest.raises(LabError, match="test_it: passed, then not run"):
        same_verdicts({"real-1": {"test_it": "passed"}, "virtual-1": {}})


def test_a_guest_that_is_not_emulated_has_no_virtual_clock(context: FakeContext) -> None:
    context.accelerator = "kvm"
    with pytest.raises(NotHere, match="only an emulated guest"):
        ClockMeasure().run(context)
