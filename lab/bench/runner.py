"""Runs measures one after the other; a failure of one is a row of the report, not the end of the bench."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from lab.bench.budgets import BUDGETS, Budget, Judgement, judge
from lab.bench.model import BudgetEntry, MeasureEntry, SeriesEntry, Status
from lab.bench.protocol import Context, Measure, NotHere
from lab.bench.samples import ENOUGH_FOR_P95, Samples, Series, speedup
from lab.errors import ConfigError, LabError
from lab.image.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one measure ended.

    Attributes:
        name: Of the measure.
        title: Of the measure.
        status: See :data:`lab.bench.model.Status`.
        reason: Why there are no samples.
        samples: What was found.
        duration_s: How long it took, in host seconds.
        trace: The traceback of an unexpected error.
    """

    name: str
    title: str
    status: Status
    reason: str = ""
    samples: Samples = field(default_factory=lambda: Samples(series=()))
    duration_s: float = 0.0
    trace: str = ""


def choose(measures: Sequence[Measure], only: Sequence[str]) -> tuple[Measure, ...]:
    """The measures that a user named, in the bench's order; all of them for no names.

    Args:
        measures: All.
        only: Names; one text may hold several, separated by commas.

    Raises:
        ConfigError: There is no measure of one of these names.
    """
    wanted = [name.strip() for text in only for name in text.split(",") if name.strip()]
    names = [measure.name for measure in measures]
    for name in wanted:
        if name not in names:
            raise ConfigError(f"there is no measure {name!r}", hint=f"one of {', '.join(names)}; `lab bench --list` says more")
    return tuple(measure for measure in measures if not wanted or measure.name in wanted)


def run_measures(
    measures: Sequence[Measure], context: Context, progress: Progress, *, clock: Callable[[], float]
) -> tuple[Outcome, ...]:
    """Run them in this order. An interrupt ends the measure that runs and leaves out the ones after it.

    Args:
        measures: What to run.
        context: What they may ask for.
        progress: Gets a line for each measure.
        clock: Monotonic seconds.
    """
    outcomes: list[Outcome] = []
    interrupted = False
    for measure in measures:
        if interrupted:
            outcomes.append(_empty(measure, "interrupted", "the bench was interrupted before"))
            continue
        progress.stage(f"{measure.name}: {measure.title}")
        begin = clock()
        try:
            samples = measure.run(context)
            outcome = Outcome(name=measure.name, title=measure.title, status="measured", samples=samples)
        except NotHere as error:
            outcome = _empty(measure, "not here", str(error))
        except LabError as error:
            outcome = _empty(measure, "failed", str(error))
        except KeyboardInterrupt:
            interrupted = True
            outcome = _empty(measure, "interrupted", "the bench was interrupted")
        except Exception as error:
            # A bug of a measure, or of a library that it measures: the other rows are still useful.
            outcome = _empty(measure, "failed", f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        outcomes.append(replace(outcome, duration_s=clock() - begin))
    return tuple(outcomes)


def judge_outcomes(outcomes: Sequence[Outcome], budgets: tuple[Budget, ...] = BUDGETS) -> tuple[Judgement, ...]:
    """Compare the samples with the budgets."""
    series = {one.key: one for outcome in outcomes for one in outcome.samples.series}
    missing = dict.fromkeys((budget.measure for budget in budgets), "not asked for")
    for outcome in outcomes:
        if outcome.status == "measured":
            missing[outcome.name] = " ".join(outcome.samples.notes)
        else:
            missing[outcome.name] = f"{outcome.status}: {outcome.reason}"
    return judge(series, missing, budgets)


def measure_entry(outcome: Outcome) -> MeasureEntry:
    """A measure as an entry of ``bench.json``."""
    by_key = {one.key: one for one in outcome.samples.series}
    return MeasureEntry(
        name=outcome.name,
        title=outcome.title,
        status=outcome.status,
        reason=outcome.reason,
        duration_s=round(outcome.duration_s, 3),
        notes=list(outcome.samples.notes),
        series=[_series_entry(one, by_key.get(one.reference)) for one in outcome.samples.series],
    )


def budget_entry(judgement: Judgement) -> BudgetEntry:
    """A budget as an entry of ``bench.json``."""
    budget = judgement.budget
    return BudgetEntry(
        key=budget.key,
        what=budget.what,
        goal=budget.goal,
        kind=budget.kind,
        figure=judgement.figure,
        met=judgement.met,
        decides=judgement.decides,
        reason=judgement.reason,
    )


def _series_entry(series: Series, reference: Series | None) -> SeriesEntry:
    return SeriesEntry(
        key=series.key,
        label=series.label,
        unit=series.unit,
        values=list(series.values),
        p50=series.p50,
        p95=series.p95 if len(series.values) >= ENOUGH_FOR_P95 else None,
        reference=series.reference if reference else "",
        times_better=speedup(reference, series) if reference else None,
        higher_is_better=series.higher_is_better,
        baseline=series.baseline,
        estimated=series.estimated,
        note=series.note,
    )


def _empty(measure: Measure, status: Status, reason: str, *, trace: str = "") -> Outcome:
    return Outcome(name=measure.name, title=measure.title, status=status, reason=reason, trace=trace)
