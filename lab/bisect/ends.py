"""Both ends of a search: the bad one shows the failure, and how often; the good one does not have it."""

from __future__ import annotations

from collections.abc import Callable

from lab.bisect.model import BisectLog, Step, Tally, Target
from lab.bisect.numbers import MOST_AT_END, runs_left
from lab.bisect.observe import Failure, failures, observe
from lab.bisect.trial import Trial, Trials
from lab.errors import ConfigError, LabError
from lab.report.model import RunReport

#: Rounds without a run that could be judged.
_BARREN_ROUNDS = 2
#: Most runs of all selected tests together in one round, to find one that fails.
_MOST_TO_LOOK = 200


class EndsWrong(ConfigError):
    """The ends are not what the user said, so there is nothing to find between them."""


class Ends:
    """Checks both ends.

    Args:
        log: The record of the search; gets its target.
        trials: Build and run.
        show: Shows a step that is over, with its name.
    """

    def __init__(self, log: BisectLog, trials: Trials, show: Callable[[Step, str], None]) -> None:
        self._log = log
        self._trials = trials
        self._show = show

    @property
    def target(self) -> Target:
        """The failure; known when the bad end was checked."""
        assert self._log.target is not None
        return self._log.target

    def bad(self) -> None:
        """Find the failure at the bad end, and how often it shows.

        Raises:
            EndsWrong: It cannot be built, or nothing fails.
            LabError: The lab failed.
        """
        end = self._log.bad
        if self._log.answers().get(end.id) == "bad":
            return
        trial = self._trials.begin("bad end", end)
        if trial.step.answer == "skip":
            raise EndsWrong(f"the bad end {end.label} cannot be tested: {trial.step.reason}", hint="choose another one")
        if self._log.target is None:
            self._find(trial)
        barren = 0
        while count := runs_left(trial.build.tally):
            before = trial.build.tally.rate.runs
            trial.runs(count, self.target)
            barren = barren + 1 if trial.build.tally.rate.runs == before else 0
            if barren == _BARREN_ROUNDS:
                raise LabError(
                    f"the bad end {end.label} shows the failure, but could not be run often enough to say how often",
                    hint=f"read {trial.step.runs[-1]}, then use --continue",
                )
        if not trial.build.tally.red:
            raise EndsWrong(
                f"{self.target.nodeid} failed beside the other tests on the bad end {end.label}, and passed alone in all of"
                f" {trial.build.tally.green} runs: {self.target.reason}",
                hint="it depends on the tests before it; search with a test that fails alone",
            )
        trial.answer("bad")
        self._show(trial.step, "bad end")

    def good(self, needed: int) -> None:
        """Check that the good end does not have the failure.

        Args:
            needed: Green runs that mean *good*.

        Raises:
            EndsWrong: It has, or cannot be tested.
        """
        end = self._log.good
        if self._log.answers().get(end.id) == "good":
            return
        trial = self._trials.begin("good end", end)
        if trial.step.answer is None and trial.step.digest == self._digest(self._log.bad.id):
            raise EndsWrong(
                f"both ends give the same driver ({end.label} and {self._log.bad.label}), so no change of it is the cause",
                hint="the tests are those of your checkout at every step; choose ends with different drivers",
            )
        if trial.step.answer is None:
            trial.decide(needed, self.target)
        self._show(trial.step, "good end")
        if trial.step.answer == "bad":
            seen = trial.build.tally.rate
            raise EndsWrong(
                f"the good end {end.label} has the failure, too: red in {seen.failed} of {seen.runs} runs",
                hint="choose an older one",
            )
        if trial.step.answer == "skip":
            raise EndsWrong(
                f"the good end {end.label} cannot be tested: {trial.step.reason}",
                hint="choose another one; --any-failure if every failure of the test counts",
            )

    def _find(self, trial: Trial) -> None:
        """Run what the user selected until something fails, and choose what to look for."""
        total, tests, barren = 0, 1, 0
        reports: list[tuple[RunReport, int]] = []
        while total < MOST_AT_END:
            count = 1 if not total else max(1, min(runs_left(Tally(green=total)), _MOST_TO_LOOK // tests))
            report = self._trials.look(trial, count)
            if report is None or not report.tests:
                raise EndsWrong(
                    f"no test ran on the bad end {self._log.bad.label}", hint=f"read {trial.step.runs[-1]}/pytest.log"
                )
            reports.append((report, count))
            total, tests = total + count, len(report.tests)
            if found := failures(report):
                self._choose(trial, found, reports)
                return
            verdicts = {test.verdict for test in report.tests}
            barren += verdicts <= {"infra", "skipped"}
            if verdicts == {"skipped"} or barren == _BARREN_ROUNDS:
                break
        raise self._nothing(reports[-1][0], total)

    def _choose(self, trial: Trial, found: list[Failure], reports: list[tuple[RunReport, int]]) -> None:
        first = found[0]
        self._log.target = Target(
            nodeid=first.nodeid,
            root=reports[-1][0].root,
            signature="" if self._log.plan.any_failure else first.signature,
            reason=first.reason,
            drivers=list(first.drivers),
        )
        self._log.also_red = [f"{one.nodeid}: {one.signature or one.reason}" for one in found[1:]]
        # Beside other tests, which may share its guest, a test may fail for another reason than alone.
        alone = [(report, count) for report, count in reports if len(report.tests) == 1]
        for report, count in alone:
            trial.add(observe(report, self.target, count).tally)
        self._trials.note_time(trial)

    def _nothing(self, report: RunReport, total: int) -> LabError:
        end, [first, *_] = self._log.bad, report.tests
        if any(test.verdict == "infra" for test in report.tests) and not any(test.verdict == "passed" for test in report.tests):
            reason = next(test.reason for test in report.tests if test.verdict == "infra")
            return LabError(f"the lab failed on the bad end {end.label}: {reason}", hint="`lab doctor`, then --continue")
        if all(test.verdict == "skipped" for test in report.tests):
            return EndsWrong(f"all tests were skipped on the bad end {end.label}: {first.reason}", hint="select others")
        what = f"the {len(report.tests)} tests pass" if len(report.tests) > 1 else f"{first.nodeid} passes"
        return EndsWrong(
            f"{what} on the bad end {end.label}, in all of {total} runs, so there is no failure to look for",
            hint="choose another bad end, or name the test that fails",
        )

    def _digest(self, candidate: str) -> str:
        return next((step.digest for step in self._log.steps if step.candidate.id == candidate and step.digest), "")
