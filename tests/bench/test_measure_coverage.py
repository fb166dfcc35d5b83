"""The measure that compares runs with and without coverage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.bench.budgets import judge
from lab.bench.measures.coverage import CoverageMeasure
from lab.bench.measures.suites import SuitesRun
from lab.errors import LabError
from tests.bench.fakes import FakeContext


def counted_runs(monkeypatch: pytest.MonkeyPatch, *, with_coverage: str = "passed") -> list[str]:
    """Runs that take 60 s, and 66 s with coverage; returns their folders."""
    runs: list[str] = []

    def run_suites(
        _context: FakeContext, _suites: Sequence[str], *, workers: int | None, options: Sequence[str], folder: Path
    ) -> SuitesRun:
        assert workers is None
        counts = "--coverage" in options
        runs.append(folder.name)
        return SuitesRun(66.0 if counts else 60.0, 3, {"test_a.py::test_it": with_coverage if counts else "passed"})

    monkeypatch.setattr("lab.bench.measures.coverage.run_suites", run_suites)
    return runs


def test_both_ways_run_in_turn_and_the_ratio_is_judged(context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = counted_runs(monkeypatch)
    context.suites, context.count = ("suites/mine",), 2
    found = CoverageMeasure().run(context)
    assert runs == [
        *("without-first-run", "with-first-run", "without-turn-1", "with-turn-1", "with-turn-2", "without-turn-2"),
    ]
    assert [(one.key, one.reference, one.values) for one in found.series] == [
        ("coverage.without", "", (60.0, 60.0)),
        ("coverage.with", "coverage.without", (66.0, 66.0)),
    ]
    (judged,) = (one for one in judge({one.key: one for one in found.series}, {}) if one.budget.key == "coverage")
    assert judged.figure == pytest.approx(1.1)
    assert judged.met


def test_runs_with_other_verdicts_do_not_compare(context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    counted_runs(monkeypatch, with_coverage="product")
    context.suites = ("suites/mine",)
    with pytest.raises(LabError, match="test_it: passed, then product"):
        CoverageMeasure().run(context)
