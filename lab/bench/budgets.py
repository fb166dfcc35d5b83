"""The budgets of the design as data, and the judgement of a bench's series by them.

Ratios are measured side by side in one run, so they hold on any host; so do sizes and losses. A goal in seconds or in MB/s
depends on the host: it is reported, and decides nothing unless that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lab.bench.samples import Series

Kind = Literal["ratio", "size", "loss", "absolute", "elsewhere"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One goal.

    Attributes:
        key: Names it.
        what: The row of the design's table.
        goal: What that row asks for.
        kind: ``ratio``: of two series' medians; ``size``, ``loss``: of one series, the same on every host; ``absolute``: a time
            or a rate of this host; ``elsewhere``: no bench can show it.
        measure: The measure that shows it; for ``elsewhere``, where it is shown.
        series: Keys: of a ratio the slow one and the fast one, else the one that is judged.
        limit: The goal's number.
        at_least: The figure must reach the limit; otherwise it must not exceed it.
    """

    key: str
    what: str
    goal: str
    kind: Kind
    measure: str
    series: tuple[str, ...] = ()
    limit: float = 0.0
    at_least: bool = False


_FORK = "fork to first guest command answered"
_PRINTS = "prints"
_LOOP = "one test after a really changed driver, save to verdict"
_CLOCK = "suites with a virtual clock, against a real one"
_NO_LOSS = "none lost at the highest rate the source can produce"

BUDGETS: tuple[Budget, ...] = (
    Budget(
        key="fork.ratio",
        what=_FORK,
        goal="at least 50 times faster than its own cold boot",
        kind="ratio",
        measure="boot",
        series=("boot.cold", "boot.fork"),
        limit=50,
        at_least=True,
    ),
    Budget(
        key="fork.time",
        what=_FORK,
        goal="≤ 0.5 s with the free guest under TCG",
        kind="absolute",
        measure="boot",
        series=("boot.fork",),
        limit=0.5,
    ),
    Budget(
        key="fork.kd",
        what=f"{_FORK}, with a kernel debugger, against the same without",
        goal="≤ 1.3 times the time (a bare-metal target)",
        kind="ratio",
        measure="kdfork",
        series=("kdfork.waiting", "kdfork.none"),
        limit=1.3,
    ),
    Budget(
        key="fork.memory",
        what="memory of one more fork of a 768 MB guest",
        goal="≤ 100 MB",
        kind="size",
        measure="memory",
        series=("memory.more",),
        limit=100,
    ),
    Budget(
        key="suites.workers",
        what="suites with two workers on two cores, against one worker",
        goal="at least 1.8 times faster",
        kind="ratio",
        measure="suites",
        series=("suites.forked.1", "suites.forked.2"),
        limit=1.8,
        at_least=True,
    ),
    Budget(
        key="overhead.test",
        what="overhead of the lab per test, guest time excluded",
        goal="≤ 50 ms",
        kind="absolute",
        measure="overhead",
        series=("overhead.test",),
        limit=0.05,
    ),
    Budget(
        key="winrm.ratio",
        what="a program over WinRM, shell kept open, against `winrm.Session.run_cmd` on the same guest",
        goal="at least 3 times faster",
        kind="ratio",
        measure="winrm",
        series=("winrm.program.session", "winrm.program.lab"),
        limit=3,
        at_least=True,
    ),
    Budget(
        key="media.ratio",
        what="10 MB into the guest by media, against WinRM base64 chunks",
        goal="at least 50 times faster",
        kind="ratio",
        measure="files",
        series=("files.chunks.10", "files.media.10"),
        limit=50,
        at_least=True,
    ),
    Budget(
        key="prints.loss",
        what=_PRINTS,
        goal=f"{_NO_LOSS} (wine)",
        kind="loss",
        measure="prints",
        series=("prints.wine.lost",),
    ),
    Budget(
        key="prints.loss.kd",
        what=_PRINTS,
        goal=f"{_NO_LOSS} (kd, a made-up target)",
        kind="loss",
        measure="kd",
        series=("kd.live.lost",),
    ),
    Budget(
        key="prints.decoder",
        what=_PRINTS,
        goal="KD decoder ≥ 20 MB/s",
        kind="absolute",
        measure="kd",
        series=("kd.mixed",),
        limit=20,
        at_least=True,
    ),
    Budget(
        key="loop.changed",
        what=_LOOP,
        goal="≤ 0.3 of commit f207318: at least 3.34 times faster",
        kind="ratio",
        measure="loop",
        series=("loop.before.changed", "loop.now.changed"),
        limit=3.34,
        at_least=True,
    ),
    Budget(
        key="loop.changed.again",
        what=_LOOP,
        goal="≤ 1.5 × a rerun with nothing changed",
        kind="ratio",
        measure="loop",
        series=("loop.now.changed", "loop.now.again"),
        limit=1.5,
    ),
    Budget(
        key="loop.again",
        what="one test after nothing changed",
        goal="≤ 0.5 of commit f207318: at least 2 times faster",
        kind="ratio",
        measure="loop",
        series=("loop.before.again", "loop.now.again"),
        limit=2,
        at_least=True,
    ),
    Budget(
        key="clock.one",
        what=_CLOCK,
        goal="at least 3.0 times faster with one worker",
        kind="ratio",
        measure="clock",
        series=("clock.real.1", "clock.virtual.1"),
        limit=3.0,
        at_least=True,
    ),
    Budget(
        key="clock.default",
        what=_CLOCK,
        goal="at least 1.8 times faster with the default number of workers",
        kind="ratio",
        measure="clock",
        series=("clock.real.default", "clock.virtual.default"),
        limit=1.8,
        at_least=True,
    ),
    Budget(
        key="coverage",
        what="suites with coverage of the drivers, against the same without",
        goal="≤ 1.15 times the time",
        kind="ratio",
        measure="coverage",
        series=("coverage.with", "coverage.without"),
        limit=1.15,
    ),
    Budget(
        key="defects",
        what="defects caught by the suites",
        goal="all, on every run; no false red in 100 clean runs",
        kind="elsewhere",
        measure="the defects' own tests",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A budget and its result.

    Attributes:
        budget: The budget.
        figure: The ratio, or the series' figure; None where nothing was measured.
        met: None where nothing was measured, or the bench cannot show it.
        reason: Why there is no figure.
    """

    budget: Budget
    figure: float | None = None
    met: bool | None = None
    reason: str = ""

    @property
    def decides(self) -> bool:
        """Whether the figure is the same on every host, so that a check may fail by it."""
        return self.budget.kind in ("ratio", "size", "loss")


def measure_of(key: str) -> str:
    """The measure that shows a budget; empty for an unknown key."""
    return next((budget.measure for budget in BUDGETS if budget.key == key), "")


def judge(
    series: Mapping[str, Series], missing: Mapping[str, str], budgets: tuple[Budget, ...] = BUDGETS
) -> tuple[Judgement, ...]:
    """Compare a bench with the budgets.

    Args:
        series: What was measured, by key.
        missing: Measure -> why it has no figures, or not all: not asked for, failed, not here.
        budgets: The budgets.
    """
    return tuple(_judge(budget, series, missing) for budget in budgets)


def short(judgements: tuple[Judgement, ...], *, asked: frozenset[str], absolute: bool = False) -> tuple[Judgement, ...]:
    """Budgets that make a check fail: not met, or without a figure although their measure was asked for.

    Args:
        judgements: All.
        asked: Names of the measures that were asked for.
        absolute: Count times and rates of this host, too.
    """
    return tuple(
        one
        for one in judgements
        if (one.decides or (absolute and one.budget.kind == "absolute")) and one.budget.measure in asked and not one.met
    )


def _judge(budget: Budget, series: Mapping[str, Series], missing: Mapping[str, str]) -> Judgement:
    if budget.kind == "elsewhere":
        return Judgement(budget=budget, reason=f"shown by {budget.measure}, not by a bench")
    found = [series[key] for key in budget.series if key in series]
    if len(found) < len(budget.series):
        wanted = ", ".join(key for key in budget.series if key not in series)
        return Judgement(budget=budget, reason=missing.get(budget.measure) or f"not measured: {wanted}")
    if budget.kind == "ratio":
        # By the median of each: one slow reading on a busy host does not matter.
        slow, fast = found
        figure = slow.p50 / fast.p50 if fast.p50 else float("inf")
    elif budget.kind == "loss":
        figure = sum(found[0].values)
    else:
        figure = found[0].p50
    return Judgement(budget=budget, figure=figure, met=figure >= budget.limit if budget.at_least else figure <= budget.limit)
