"""The suites with a real clock beside the same suites with a virtual one: one worker, two, and as many as `lab run` chooses.

Both clocks take turns. The figures compare only if all runs did the same, so every test must have the same verdict in each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.bench.measures.suites import choose_tests, run_suites
from lab.bench.protocol import Context, NotHere
from lab.bench.samples import Samples, Series
from lab.errors import LabError

_CLOCKS = ("real", "virtual")
#: None: the number that the command chooses. It comes first, so that the run that makes templates is a short one.
_WORKERS: tuple[int | None, ...] = (None, 1, 2)
#: Most tests that a message about different verdicts names.
_NAMED = 3


@dataclass(slots=True, kw_only=True)
class _Runs:
    """The runs with one clock and one number of workers."""

    clock: str
    workers: int | None
    seconds: list[float] = field(default_factory=list)
    seen: int = 0


class ClockMeasure:
    """Wall time of the whole command `lab run`, from its start to its report."""

    name = "clock"
    title = "`lab run` of the suites, real and virtual clock"
    needs = "the whole host, an emulated guest; some six minutes for each of three turns"

    def run(self, context: Context) -> Samples:
        """Run both in turn; the first run with each clock, which makes templates, does not count."""
        if context.accelerator != "tcg":
            raise NotHere(f"only an emulated guest can have a virtual clock, and these run with {context.accelerator}")
        suites, choice = choose_tests(context)
        context.end_guest()
        verdicts: dict[str, Mapping[str, str]] = {}

        def once(clock: str, workers: int | None, what: str) -> tuple[float, int]:
            context.detail(f"{clock} clock, {_label(workers)}: {what}")
            folder = context.out / self.name / f"{clock}-{workers or 'default'}-{what.replace(' ', '-')}"
            options = ("--clock", clock, *choice)
            done = run_suites(context, suites, workers=workers, options=options, folder=folder)
            verdicts[folder.name] = done.verdicts
            same_verdicts(verdicts)
            return done.seconds, done.workers

        for clock in _CLOCKS:
            once(clock, None, "first run")
        series = [_Runs(clock=clock, workers=number) for number in _WORKERS for clock in _CLOCKS]
        for turn in range(1, context.repeat(3, 1, most=5) + 1):
            for runs in series if turn % 2 else series[::-1]:
                took, runs.seen = once(runs.clock, runs.workers, f"turn {turn}")
                runs.seconds.append(took)
        tests = len(next(iter(verdicts.values())))
        notes = (
            f"tests: {' '.join((*suites, *choice))}",
            f"{tests} tests, with the same verdict in each of {len(verdicts)} runs",
        )
        # One worker first: as people count.
        ordered = sorted(series, key=lambda runs: runs.workers or 1000)
        return Samples(series=tuple(_series(runs) for runs in ordered), notes=notes)


def same_verdicts(runs: Mapping[str, Mapping[str, str]]) -> None:
    """Check that each run has the same tests with the same verdicts as the first one.

    Args:
        runs: Verdicts by node id, by the name of the run.

    Raises:
        LabError: They differ, so the times do not compare.
    """
    first, expected = next(iter(runs.items()))
    for name, found in runs.items():
        other = sorted(test for test in expected.keys() | found.keys() if expected.get(test) != found.get(test))
        if other:
            shown = [f"{test}: {expected.get(test, 'not run')}, then {found.get(test, 'not run')}" for test in other[:_NAMED]]
            more = f", and {len(other) - _NAMED} more" if len(other) > _NAMED else ""
            raise LabError(
                f"the runs {first} and {name} have different verdicts, so their times do not compare: {'; '.join(shown)}{more}",
                hint="read the reports of both runs",
            )


def _label(workers: int | None) -> str:
    return "default number of workers" if workers is None else f"{workers} worker{'s' if workers > 1 else ''}"


def _series(runs: _Runs) -> Series:
    number = runs.workers or "default"
    note = f"{runs.seen} workers" if runs.workers is None else ""
    if runs.workers and runs.seen < runs.workers:
        note = f"{runs.seen} of them: no more guests of this kind fit here, or there is no more work"
    return Series(
        key=f"clock.{runs.clock}.{number}",
        label=f"{runs.clock} clock, {_label(runs.workers)}",
        unit="s",
        values=tuple(runs.seconds),
        reference="" if runs.clock == "real" else f"clock.real.{number}",
        baseline=runs.clock == "real",
        note=note,
    )
