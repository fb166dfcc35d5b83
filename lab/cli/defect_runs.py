"""The runs of `lab selftest defects`: pytest with the unchanged drivers, and with each defect, several at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.cli.pytest_args import child_environment, pytest_arguments
from lab.cli.side_runs import SideEnd, SideRun, run_beside
from lab.config import Settings
from lab.config.words import Words
from lab.defects.outcome import Trial
from lab.errors import LabError
from lab.gate.verdict import Verdict
from lab.live.resolve import ResolvedGuest
from lab.report.outdir import COPIES
from lab.report.runfiles import read_run
from lab.toolchain.package import DriverPackage, write_packages

#: Below the report's folder: the runs with the unchanged drivers.
UNCHANGED = "unchanged"
_SUITES = "suites"
#: Seconds of a run with a few tests, and with all of them, until it is ended by force; a busy host needs a third.
_SOME_S = 1800.0
_ALL_S = 7200.0

Packages = Sequence[DriverPackage]


@dataclass(slots=True, kw_only=True)
class DefectRuns:
    """Runs tests with the unchanged drivers, and with those of the defects.

    Attributes:
        root: The lab's checkout; tests are named from there.
        settings: What is in force.
        guest: The guests.
        folder: The report's.
        at_once: How many runs at the same time.
        everything: All tests are run with each defect, also with one that is caught.
        reference: Test → its verdict with the unchanged drivers, as far as it was run.
        reference_s: Host seconds of these runs.
        interrupted: The signal that ended the runs early; empty for none.
    """

    root: Path
    settings: Settings
    guest: ResolvedGuest
    folder: Path
    at_once: int
    everything: bool
    reference: dict[str, Verdict] = field(default_factory=dict)
    reference_s: float = 0.0
    interrupted: str = ""

    def refer(self, packages: Packages, tests: Sequence[str]) -> None:
        """Run tests with the unchanged drivers.

        Args:
            packages: The drivers.
            tests: Files and test ids.

        Raises:
            LabError: The run left no report.
        """
        out = self._new_folder(UNCHANGED, packages)
        ends: list[SideEnd] = []
        # A worker that gets no test starts for nothing; one test needs no worker.
        workers = min(self.at_once, len(tests)) if _are_few(tests) else self.at_once
        job = self._job(UNCHANGED, out, tests, workers=workers if workers > 1 else 0, more=())
        self._beside([job], ends.append)
        report = read_run(out)
        self.reference_s += sum(end.seconds for end in ends)
        if report is not None:
            self.reference |= {test.nodeid: test.verdict for test in report.tests}
        elif not self.interrupted:
            raise LabError(f"the run with the unchanged drivers left no report; see {job.log}", hint="`lab run` may show more")

    def try_all(self, trials: Sequence[Trial], packages: Mapping[str, Packages], over: Callable[[Trial], None]) -> None:
        """Run the tests that matter with each defect, and then the others with each that is not caught.

        Args:
            trials: The defects; they get the results.
            packages: Name of the defect → the drivers of its runs.
            over: Called with each defect whose runs are over.
        """
        known = {trial.planted.name: trial for trial in trials}
        stages: dict[str, list[str]] = {name: [] for name in known}

        def begin(name: str, stage: str) -> SideRun:
            stages[name].append(stage)
            trial, out = known[name], self._new_folder(name, packages[name])
            if stage != "rest":
                trial.restart()
                return self._job(name, out, trial.planted.defect.tests, workers=0, more=())
            more = [f"--deselect={test.nodeid}" for test in trial.tests]
            more += [] if self.everything else ["--maxfail=1"]
            return self._job(name, out, [_SUITES], workers=0, more=more)

        def ended(end: SideEnd) -> SideRun | None:
            trial = known[end.run.name]
            trial.add(read_run(_run_of(end.run.log)), began=end.began, seconds=end.seconds, log=str(end.run.log))
            caught = trial.caught(self.reference)
            stage = next_stage(stages[end.run.name], caught=caught, lost=trial.lost, everything=self.everything)
            if stage:
                return begin(end.run.name, stage)
            over(trial)
            return None

        self._beside([begin(name, "first") for name in known], ended)

    def _beside(self, jobs: Sequence[SideRun], ended: Callable[[SideEnd], SideRun | None]) -> None:
        env = child_environment(os.environ)
        self.interrupted = run_beside(jobs, at_once=self.at_once, cwd=self.root, env=env, ended=ended)

    def _new_folder(self, name: str, packages: Packages) -> Path:
        """A folder for one run, with the list of its drivers: the list has absolute paths, the drivers lie elsewhere."""
        number = 1
        while (self.folder / name / str(number)).exists():
            number += 1
        out = self.folder / name / str(number)
        write_packages(out / COPIES, tuple(packages))
        return out

    def _job(self, name: str, out: Path, tests: Sequence[str], *, workers: int, more: Sequence[str]) -> SideRun:
        arguments = pytest_arguments(
            self.settings,
            image=str(self.guest.image_dir),
            accelerator=self.guest.accelerator,
            out=out,
            suites=tests,
            workers=str(workers),
            words=Words(),
            rest=more,
        )
        options = ["--lab-keep=never", f"--rootdir={self.root}", "-p", "no:cacheprovider"]
        argv = [sys.executable, "-m", "pytest", *arguments, *options]
        return SideRun(name=name, argv=argv, log=_log_of(out), deadline_s=_SOME_S if _are_few(tests) else _ALL_S)


def _are_few(tests: Sequence[str]) -> bool:
    """Whether they are test ids, not whole files or folders."""
    return all("::" in test for test in tests)


def _log_of(out: Path) -> Path:
    """What the run with this folder writes on its standard output: beside the folder, because a run wants an empty one."""
    return out.with_suffix(".log")


def _run_of(log: Path) -> Path:
    return log.with_suffix("")


def next_stage(done: Sequence[str], *, caught: bool, lost: bool, everything: bool) -> str:
    """What is run next with a defect.

    Args:
        done: What was run: ``first``, the tests that matter; ``again``, the same; ``rest``, all others.
        caught: A test that the catalogue names has noticed it.
        lost: The lab could not judge a test.
        everything: All tests are run, whatever they say.

    Returns:
        One of these; empty for nothing.
    """
    if "rest" in done or (caught and not everything):
        return ""
    if lost and not caught and "again" not in done:
        return "again"
    return "rest"
