"""Budgets: the judgement, and which of them make a check fail."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lab.bench.budgets import BUDGETS, Budget, Judgement, judge, measure_of, short
from lab.bench.measures import all_measures
from lab.bench.samples import Series
from tests.bench.fakes import series

GOOD = {
    "boot.cold": series("boot.cold", 13.0, 14.0, 15.0),
    "boot.fork": series("boot.fork", *[0.25] * 20),
    "kdfork.none": series("kdfork.none", 0.1),
    "kdfork.waiting": series("kdfork.waiting", 0.125),
    "memory.more": series("memory.more", 60.0, unit="MiB"),
    "loop.before.changed": series("loop.before.changed", 30.0),
    "loop.before.again": series("loop.before.again", 7.0),
    "loop.now.changed": series("loop.now.changed", 4.0),
    "loop.now.again": series("loop.now.again", 3.0),
    "suites.forked.1": series("suites.forked.1", 100.0),
    "suites.forked.2": series("suites.forked.2", 52.0),
    "clock.real.1": series("clock.real.1", 150.0),
    "clock.virtual.1": series("clock.virtual.1", 48.0),
    "clock.real.default": series("clock.real.default", 50.0),
    "clock.virtual.default": series("clock.virtual.default", 26.0),
    "coverage.without": series("coverage.without", 50.0),
    "coverage.with": series("coverage.with", 56.0),
    "overhead.test": series("overhead.test", 0.01),
    "winrm.program.session": series("winrm.program.session", 3.0),
    "winrm.program.lab": series("winrm.program.lab", 1.0),
    "files.chunks.10": series("files.chunks.10", 20.0),
    "files.media.10": series("files.media.10", 0.3),
    "prints.wine.lost": series("prints.wine.lost", 0.0, 0.0, unit="prints"),
    "kd.live.lost": series("kd.live.lost", 0.0, unit="prints"),
    "kd.mixed": series("kd.mixed", 22.0, unit="MB/s"),
}
ALL = frozenset(budget.measure for budget in BUDGETS)


def by_key(found: Mapping[str, Series]) -> dict[str, Judgement]:
    return {one.budget.key: one for one in judge(found, {})}


def failing(found: Mapping[str, Series], *, absolute: bool = False) -> set[str]:
    return {one.budget.key for one in short(judge(found, {}), asked=ALL, absolute=absolute)}


def test_a_bench_that_meets_every_budget_passes() -> None:
    assert failing(GOOD, absolute=True) == set()
    judged = by_key(GOOD)
    assert judged["fork.ratio"].figure == pytest.approx(56)
    assert judged["media.ratio"].figure == pytest.approx(66.7, abs=0.1)
    assert judged["defects"].met is None


@pytest.mark.parametrize(
    ("key", "worse", "budget"),
    [
        ("boot.fork", series("boot.fork", 0.30), "fork.ratio"),
        ("coverage.with", series("coverage.with", 58.0), "coverage"),
        ("memory.more", series("memory.more", 101.0, unit="MiB"), "fork.memory"),
        ("suites.forked.2", series("suites.forked.2", 56.0), "suites.workers"),
        ("clock.virtual.1", series("clock.virtual.1", 51.0), "clock.one"),
        ("clock.virtual.default", series("clock.virtual.default", 28.0), "clock.default"),
        ("loop.before.changed", series("loop.before.changed", 13.0), "loop.changed"),
        ("loop.now.changed", series("loop.now.changed", 4.6), "loop.changed.again"),
        ("loop.before.again", series("loop.before.again", 5.9), "loop.again"),
        ("winrm.program.lab", series("winrm.program.lab", 1.01), "winrm.ratio"),
        ("files.media.10", series("files.media.10", 0.41), "media.ratio"),
        ("kd.live.lost", series("kd.live.lost", 1.0, unit="prints"), "prints.loss.kd"),
        ("prints.wine.lost", series("prints.wine.lost", 0.0, 1.0, unit="prints"), "prints.loss"),
    ],
)
def test_each_budget_that_is_not_met_is_named(key: str, worse: Series, budget: str) -> None:
    assert failing(GOOD | {key: worse}) == {budget}


@pytest.mark.parametrize(
    ("key", "worse", "budget"),
    [
        ("overhead.test", series("overhead.test", 0.051), "overhead.test"),
        ("kd.mixed", series("kd.mixed", 19.0, unit="MB/s"), "prints.decoder"),
    ],
)
def test_times_of_this_host_decide_only_on_request(key: str, worse: Series, budget: str) -> None:
    found = GOOD | {key: worse}
    assert failing(found) == set()
    assert by_key(found)[budget].met is False
    assert failing(found, absolute=True) == {budget}


def test_a_missing_figure_that_was_asked_for_fails_the_check() -> None:
    without = {key: value for key, value in GOOD.items() if key != "files.media.10"}
    assert failing(without) == {"media.ratio"}
    (missed,) = short(judge(without, {"files": "the guest has no drive"}), asked=ALL)
    assert missed.reason == "the guest has no drive"


def test_a_measure_that_was_not_asked_for_fails_nothing() -> None:
    only_winrm = {key: value for key, value in GOOD.items() if key.startswith("winrm.")}
    assert short(judge(only_winrm, {}), asked=frozenset({"winrm"})) == ()


def test_every_budget_belongs_to_a_measure_and_states_its_limit() -> None:
    names = {measure.name for measure in all_measures()}
    for budget in BUDGETS:
        if budget.kind == "elsewhere":
            continue
        assert budget.measure in names, budget.key
        assert len(budget.series) == (2 if budget.kind == "ratio" else 1), budget.key
        assert budget.kind == "loss" or f"{budget.limit:g}" in budget.goal or f"{budget.limit * 1000:g}" in budget.goal


def test_keys_are_unique_and_lead_to_their_measure() -> None:
    assert len({budget.key for budget in BUDGETS}) == len(BUDGETS)
    assert measure_of("winrm.ratio") == "winrm"
    assert measure_of("nonsense") == ""


def test_a_ratio_over_nothing_is_infinite() -> None:
    budget = Budget(key="x", what="", goal="", kind="ratio", measure="m", series=("a", "b"), limit=3, at_least=True)
    (judged,) = judge({"a": series("a", 1.0), "b": series("b", 0.0)}, {}, (budget,))
    assert judged.met is True
