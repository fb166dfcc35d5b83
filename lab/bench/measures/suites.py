"""The suites' wall time: `lab run` with one, two and four workers, each guest booted cold, then forked."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.bench.protocol import Context, NotHere
from lab.bench.samples import Samples, Series
from lab.errors import HostToolError
from lab.host.assets import checkout
from lab.host.process import run
from lab.report.runfiles import read_run

#: All suites. The tests for two virtual CPUs are left out: they need the host without other guests.
EVERYTHING = ("suites",)
_SIDE_BY_SIDE = ("-m", "not lab_cpus")
#: For a quick bench, which only checks that everything runs.
_SMALL = ("suites/sync/test_counter.py", "suites/sync/test_slots.py")
_WORKERS = (1, 2, 4)
_DEADLINE_S = 1800.0
_OPTIONS: dict[str, tuple[str, ...]] = {"cold": ("--no-fork",), "forked": ()}
#: The host's seconds: how well workers share a host shows where guests wait. The measure `clock` compares the clocks.
_CLOCK = ("--clock", "real")


class SuitesMeasure:
    """Wall time of the whole command, as a user waits for it: boot, tests and report."""

    name = "suites"
    title = "`lab run` of the suites, from command to report"
    needs = "the whole host; a minute or two for each of six runs"

    def run(self, context: Context) -> Samples:
        """Run them all, every run once: the figures are long, and steadier than short ones."""
        suites, choice = choose_tests(context)
        context.end_guest()
        workers = _WORKERS[:2] if context.quick else _WORKERS
        notes = [f"tests: {' '.join((*suites, *choice))}"]
        ways = {"cold": "cold boots"}
        try:
            # Made before the clock starts: a template serves many runs.
            context.detail("template")
            context.forks().take_snapshot()
            ways["forked"] = "forks"
        except NotHere as error:
            notes.append(f"forks: {error.message}")
        series = []
        for way, label in ways.items():
            for number in workers:
                context.detail(f"{label}, {number} worker(s)")
                folder = context.out / self.name / f"{way}-{number}"
                done = run_suites(context, suites, workers=number, options=(*_OPTIONS[way], *_CLOCK, *choice), folder=folder)
                fewer = f"{done.workers} of them: no more guests of this kind fit here, or there is no more work"
                series.append(
                    Series(
                        key=f"suites.{way}.{number}",
                        label=f"{label}, {number} worker" + ("s" if number > 1 else ""),
                        unit="s",
                        values=(done.seconds,),
                        reference=f"suites.{way}.1",
                        baseline=way == "cold",
                        note=fewer if done.workers < number else "",
                    )
                )
        return Samples(series=tuple(series), notes=tuple(notes))


@dataclass(frozen=True, slots=True)
class SuitesRun:
    """One run.

    Attributes:
        seconds: Of the whole command.
        workers: How many there were: no more than guests that the host can run, or than there is work for.
        verdicts: Of its tests, by node id.
    """

    seconds: float
    workers: int
    verdicts: Mapping[str, str] = field(default_factory=dict)


def choose_tests(context: Context) -> tuple[Sequence[str], tuple[str, ...]]:
    """What a run of the suites runs: paths, and pytest's options that select from them."""
    suites = context.suites or (_SMALL if context.quick else EVERYTHING)
    return suites, _SIDE_BY_SIDE if suites == EVERYTHING else ()


def run_suites(
    context: Context, suites: Sequence[str], *, workers: int | None, options: Sequence[str], folder: Path
) -> SuitesRun:
    """Run suites by the real command.

    Args:
        context: Image and clock.
        suites: Paths and node ids.
        workers: Guests at the same time, at most; None: as many as the command chooses.
        options: Further ones.
        folder: Gets the run's report.

    Raises:
        HostToolError: A test or the command failed: the time would mean nothing.
    """
    argv = [sys.executable, "-m", "lab", "run", "--guest", str(context.image_dir)]
    argv += ["--workers", str(workers)] if workers else []
    argv += ["--accelerator", context.accelerator, "--out", str(folder), *options, *suites]
    begin = context.clock()
    run_logged(argv, folder.with_suffix(".log"), timeout=_DEADLINE_S)
    took = context.clock() - begin
    report = read_run(folder)
    if report is None:
        raise HostToolError(argv, 0, message=f"`lab run` wrote no report into {folder}")
    return SuitesRun(took, report.workers, {test.nodeid: test.verdict for test in report.tests})


def run_logged(argv: Sequence[str], log: Path, *, timeout: float) -> None:
    """Run a program in the checkout; its output goes to a file.

    Raises:
        HostToolError: It did not end with 0, or not in time.
    """
    done = run(argv, timeout, check=False, cwd=checkout("this measure"), env=plain_environment(), hint=f"read {log.parent}")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.exit_code:
        raise HostToolError(argv, done.exit_code, done.stdout + done.stderr, hint=f"read {log}")


def plain_environment() -> dict[str, str]:
    """The environment without pytest's and the lab's settings, so that the child runs as a user's command does."""
    ours = ("LAB_CACHE", "LAB_DATA", "LAB_STATE")
    return {k: v for k, v in os.environ.items() if k in ours or not k.startswith(("PYTEST_", "LAB_"))}
