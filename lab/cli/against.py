"""`lab run --baseline NAME`: what the run changed, and whether it is the driver: tests run again on both drivers."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from lab.cli.baseline import baselines_of
from lab.cli.child import run_child
from lab.cli.pytest_args import child_environment, pytest_arguments
from lab.cli.rundone import RunDone
from lab.compare.baselines import Baseline, Baselines
from lab.compare.compare import compare, with_changes
from lab.compare.confirm import candidates, confirm
from lab.compare.kept_drivers import with_clients_of
from lab.compare.key import RunKey, key_of
from lab.compare.model import Comparison
from lab.compare.recorded import read_recorded
from lab.compare.show import markdown, print_comparison
from lab.config import Settings
from lab.config.words import Words
from lab.errors import ConfigError
from lab.gate.exitcode import gated_code, meaning
from lab.host.capacity import measure
from lab.host.console import open_console
from lab.report.elsewhere import write_text
from lab.report.model import RunReport, as_json
from lab.report.outdir import COPIES
from lab.report.places import address_of, from_folder
from lab.report.runfiles import read_run
from lab.report.summary import STEP_SUMMARY_BYTES

COMPARISON_FILE = "comparison.json"
#: The same for a comment of a pull request.
COMMENT_FILE = "comparison.md"
#: Below the run's folder: what was run again.
AGAIN = "again"
#: A signal ended the run: 128 and its number.
_SIGNALLED = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """The baseline that a run is compared with.

    Attributes:
        settings: Of the run.
        baselines: All of them.
        name: Its name.
        strict: A flaky test counts as red.
    """

    settings: Settings
    baselines: Baselines
    name: str
    strict: bool

    @classmethod
    def of(cls, settings: Settings, name: str | None, *, strict: bool, alone: bool) -> Against:
        """The baseline of a command line.

        Args:
            settings: Of the run.
            name: Its name; None if none was given.
            strict: A flaky test counts as red.
            alone: No option was given that changes how tests are run.

        Raises:
            ConfigError: There is none of this name, or the options contradict each other.
        """
        if name is None:
            raise ConfigError("--strict needs --baseline NAME", hint="without a baseline, every red test fails the run")
        if not alone:
            raise ConfigError(
                "--baseline cannot be combined with --watch, --on or --repeat",
                hint="`lab compare --baseline` compares such runs",
            )
        baselines = baselines_of(settings)
        baselines.named(name)  # before minutes of tests
        return cls(settings=settings, baselines=baselines, name=name, strict=strict)

    def conclude(self, done: RunDone) -> int:
        """Compare a run, run again what is newly red, say what came of it; return the exit code."""
        report = read_run(done.folder)
        if report is None or done.code > _SIGNALLED:
            return done.code
        key = key_of(report)
        baseline = self.baselines.nearest(self.name, key)
        new = read_recorded(done.folder, label=from_folder(done.folder, Path.cwd()))
        result = compare(baseline.read(), new, strict=self.strict)
        if wanted := candidates(result.changes):
            reason = _why_not_again(baseline, key)
            if reason:
                typer.echo(f"lab: {len(wanted)} tests are not run again on the base driver: {reason}", err=True)
            else:
                again = _Again(self, done, report, baseline)
                changes = confirm(result.changes, again.run, lambda line: typer.echo(f"lab: {line}"))
                result = with_changes(result, changes, strict=self.strict)
        self._tell(done, result)
        code = gated_code(done.code, {str(verdict): count for verdict, count in report.totals.items()}, result.exit_code)
        typer.echo(f"exit code {code}: {meaning(code) if code else 'nothing is worse than in the baseline'}")
        return code

    def _tell(self, done: RunDone, result: Comparison) -> None:
        console = open_console()
        console.print()
        print_comparison(result, console)
        written = write_text(done.folder, COMPARISON_FILE, as_json(result, indent=2) + "\n")
        write_text(done.folder, COMMENT_FILE, markdown(result))
        console.print(f"{'compared':<8} {from_folder(written, Path.cwd())}", soft_wrap=True, markup=False, highlight=False)
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            _add_to_summary(Path(summary), "\n" + markdown(result))


def _add_to_summary(file: Path, text: str) -> None:
    """Add to GitHub's summary of a step, if there is room: GitHub drops one that is too long as a whole."""
    there = file.stat().st_size if file.exists() else 0
    if there + len(text.encode("utf-8", "backslashreplace")) <= STEP_SUMMARY_BYTES:
        with file.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)


def _why_not_again(baseline: Baseline, key: RunKey) -> str:
    """Why the drivers of a baseline cannot be run on the guests of a run; empty if they can."""
    if not baseline.record.files:
        return f"the baseline {baseline.record.name} has no drivers"
    if baseline.record.key.arch != key.arch:
        return f"it is for {baseline.record.key.arch}, the guest for {key.arch}"
    if baseline.record.key.counts_lines != key.counts_lines:
        here, there = ("with", "without") if key.counts_lines else ("without", "with")
        return (
            f"its drivers were built {there} coverage, and those of this run {here}, so they differ in more than the change;"
            f" compare with a baseline of a run {here} --coverage"
        )
    return ""


class _Again:
    """Runs tests on the new and on the base drivers at the same time, in a folder for each round.

    Args:
        against: The baseline.
        done: The run.
        report: Its report.
        baseline: The run that it is compared with.
    """

    def __init__(self, against: Against, done: RunDone, report: RunReport, baseline: Baseline) -> None:
        self._settings = against.settings
        self._done = done
        self._report = report
        self._folder = done.folder / AGAIN
        self._round = 0
        self._drivers = {"new": done.folder / COPIES, "base": self._folder / "base-drivers"}
        against.baselines.restore(baseline, self._drivers["base"])
        with_clients_of(self._drivers["base"], self._drivers["new"])

    def run(self, nodeids: Sequence[str], count: int) -> tuple[RunReport | None, RunReport | None]:
        """See :class:`lab.compare.confirm.Rerun`."""
        self._round += 1
        folders = {side: self._folder / f"{self._round}-{side}" for side in self._drivers}
        jobs = []
        for side, folder in folders.items():
            folder.mkdir(parents=True)
            # The list of packages has absolute paths: the drivers themselves need not be there.
            for listed in self._drivers[side].rglob("packages.json"):
                target = folder / COPIES / listed.relative_to(self._drivers[side])
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(listed, target)
            jobs.append({"argv": self._command(folder, nodeids, count), "log": str(folder.with_suffix(".log"))})
        order = self._folder / f"{self._round}.json"
        order.write_text(json.dumps(jobs), encoding="utf-8")
        end = run_child([sys.executable, "-m", "lab.cli.both", str(order)], cwd=Path.cwd(), env=child_environment(os.environ))
        if end.interrupted:
            raise KeyboardInterrupt
        return read_run(folders["new"]), read_run(folders["base"])

    def _workers(self) -> int:
        """How many workers each of the two drivers has: half of what the host can run."""
        wanted, machine = self._settings.values.workers, self._report.machine
        if wanted == "auto":
            virtual = self._report.clock == "virtual"
            wanted = measure().forks(machine.memory_mb, smp=machine.cpus, virtual_clock=virtual) if machine is not None else 2
        return max(1, wanted // 2)

    def _command(self, folder: Path, nodeids: Sequence[str], count: int) -> list[str]:
        done, workers = self._done, min(self._workers(), count * len(nodeids))
        # The user's options, such as those of a suite's conftest.py, without the paths: other tests are run.
        rest = [word for word in done.arguments if word not in done.words.suites]
        arguments = pytest_arguments(
            self._settings,
            image=str(done.image),
            accelerator=done.accelerator,
            out=folder,
            suites=[address_of(nodeid, self._report.root, Path.cwd()) for nodeid in nodeids],
            workers=str(workers if workers > 1 else 0),
            words=Words(),
            rest=[*rest, "--maxfail=0"],
        )
        more = ["--dist=loadscope", f"--lab-repeat={count}", "--lab-keep=never", f"--rootdir={self._report.root}"]
        return [sys.executable, "-m", "pytest", *arguments, *more]
