"""One candidate: build it, run the test until the answer is clear, and say why if it cannot be."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lab.bisect.model import BisectLog, Build, Candidate, Role, SkipKind, Step, Tally, Target
from lab.bisect.observe import observe
from lab.bisect.workbench import Builder, NotBuilt, Runner
from lab.report.model import RunReport

#: Rounds without a single red or green run before a candidate is given up.
_BARREN_ROUNDS = 2


class Trials:
    """Tests candidates, and writes down every round.

    Args:
        log: The record of the search; steps are added to it.
        builder: Builds.
        runner: Runs tests.
        folder: Of the search; runs and drivers lie below it.
        save: Writes the record.
        doing: Shows what is going on.
        seconds: A clock.
    """

    def __init__(
        self,
        log: BisectLog,
        builder: Builder,
        runner: Runner,
        folder: Path,
        save: Callable[[], None],
        *,
        doing: Callable[[str], None] = lambda _text: None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._builder = builder
        self._runner = runner
        self._folder = folder
        self._save = save
        self._doing = doing
        self._seconds = seconds

    def begin(self, role: Role, candidate: Candidate, name: str = "") -> Trial:
        """Build a candidate. Its step has the answer `skip` if that fails.

        Args:
            role: Why.
            candidate: The commit or build.
            name: What the step is, for readers; empty: its role.

        Raises:
            LabError: The host failed.
        """
        number = len(self._log.steps) + 1
        step = Step(number=number, role=role, candidate=candidate)
        trial = Trial(step, self, self._seconds())
        self._log.steps.append(step)
        self._save()
        self._doing(f"{name or role}: {candidate.label}")
        build = self._known(candidate)
        if build is None:
            into = self._folder / f"{number:02}-{candidate.slug}-drivers"
            needed = self._log.target.drivers if self._log.target else []
            try:
                built = self._builder.build(candidate, into, needed)
            except NotBuilt as error:
                trial.skip("not built", error.message)
                return trial
            build = self._log.build_of(built.digest)
            if build is None:
                folder = built.folder.relative_to(self._folder).as_posix()
                build = Build(digest=built.digest, candidate=candidate.id, folder=folder)
                self._log.drivers.append(build)
            elif build.candidate != candidate.id:
                step.same_as = self._label(build.candidate)
            step.reason = built.note
        step.digest = build.digest
        self._save()
        return trial

    def run(self, trial: Trial, count: int, *, until_red: bool, target: Target) -> tuple[int, SkipKind | None, str]:
        """Run the test; returns how many runs were red or green, and why others were not."""
        step, build = trial.step, trial.build
        into = self._folder / f"{step.number:02}-{step.candidate.slug}-run{len(step.runs) + 1}"
        report = self._runner.run(
            self._folder / build.folder, target.nodeid, count, into, until_red=until_red, root=target.root
        )
        seen = observe(report, target, count)
        step.runs.append(into.relative_to(self._folder).as_posix())
        trial.add(seen.tally)
        self.note_time(trial)
        return seen.tally.red + seen.tally.green, seen.kind, seen.reason

    def look(self, trial: Trial, count: int) -> RunReport | None:
        """Run all tests that the user selected; returns the report."""
        step = trial.step
        into = self._folder / f"{step.number:02}-{step.candidate.slug}-run{len(step.runs) + 1}"
        report = self._runner.run(self._folder / trial.build.folder, "", count, into, until_red=False)
        step.runs.append(into.relative_to(self._folder).as_posix())
        self.note_time(trial)
        return report

    def note_time(self, trial: Trial) -> None:
        """Write down how long a step has taken so far."""
        trial.step.seconds = round(self._seconds() - trial.started, 1)
        self._save()

    def build_of(self, digest: str) -> Build:
        """The entry of a driver that was built."""
        build = self._log.build_of(digest)
        assert build is not None
        return build

    def other_failure(self, digest: str) -> str:
        """Another failure that an earlier step with this driver showed, in words; empty if there is no such step."""
        steps = (step for step in self._log.steps if step.digest == digest and step.kind == "another failure")
        return next((step.reason for step in steps), "")

    def _known(self, candidate: Candidate) -> Build | None:
        """The driver of a candidate that was built in an earlier step, if its files are still there."""
        for step in self._log.steps:
            build = self._log.build_of(step.digest) if step.candidate.id == candidate.id and step.digest else None
            if build is not None and (self._folder / build.folder).is_dir():
                return build
        return None

    def _label(self, candidate: str) -> str:
        return next((step.candidate.label for step in self._log.steps if step.candidate.id == candidate), candidate)


class Trial:
    """A step that is going on.

    Args:
        step: Its record.
        trials: All of them.
        started: When it began, by the clock of ``trials``.
    """

    def __init__(self, step: Step, trials: Trials, started: float) -> None:
        self.step = step
        self.started = started
        self._trials = trials

    @property
    def build(self) -> Build:
        """The driver that is tested."""
        return self._trials.build_of(self.step.digest)

    def add(self, tally: Tally) -> None:
        """Count runs, for the step and for its driver."""
        self.step.tally = self.step.tally.plus(tally)
        self.build.tally = self.build.tally.plus(tally)

    def runs(self, count: int, target: Target) -> None:
        """Run the test so often, whatever it shows."""
        self._trials.run(self, count, until_red=False, target=target)

    def decide(self, needed: int, target: Target) -> None:
        """Run the test until it was red, or green so often as is needed; the runs of earlier steps with this driver count.

        A driver that fails in another way as well, be it seldom, is not good: the other failure may hide the one that is looked
        for.

        Args:
            needed: Green runs that mean *good*.
            target: The failure.
        """
        barren, kind, reason, other = 0, None, "", ""
        while not self.build.tally.red and self.build.tally.green < needed:
            judged, kind, reason = self._trials.run(self, needed - self.build.tally.green, until_red=True, target=target)
            other = reason if kind == "another failure" else other
            barren = 0 if judged else barren + 1
            if barren == _BARREN_ROUNDS:
                self.skip(kind or "lab failed", reason)
                return
        seen = self.build.tally
        if seen.other and not seen.red:
            said = f"{other}, in {seen.other} of {seen.other + seen.green} runs"
            self.skip("another failure", said if other else self._trials.other_failure(self.step.digest))
            return
        self.answer("bad" if seen.red else "good")

    def answer(self, answer: str) -> None:
        """The answer is clear."""
        self.step.answer = "bad" if answer == "bad" else "good"
        self._trials.note_time(self)

    def skip(self, kind: SkipKind, reason: str) -> None:
        """There is no answer."""
        self.step.answer, self.step.kind, self.step.reason = "skip", kind, reason
        self._trials.note_time(self)
