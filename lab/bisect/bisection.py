"""The whole search: both ends, the steps between them, and a closer look at what was found.

Everything that it knows is in its record. So it goes on after an interruption by the same functions: what the record has is not
asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lab.bisect.ends import Ends
from lab.bisect.model import BisectLog, Candidate, Result, Step
from lab.bisect.numbers import STEP_ERROR, least_rate, missed, runs_for, runs_left
from lab.bisect.screen import Screen
from lab.bisect.search import Search
from lab.bisect.show import needs_line, step_line
from lab.bisect.trial import Trials
from lab.bisect.workbench import Builder, Runner
from lab.errors import ConfigError
from lab.gate.exitcode import INFRA, NOTHING, OK

#: Rounds in which the lab failed, in the closer look at the end.
_BARREN_ROUNDS = 2
#: Shares that ought to be equal differ by less than this.
_ROUNDING = 1e-9


class Bisection:
    """A search.

    Args:
        log: Its record, new or from an interrupted search.
        search: Chooses candidates.
        builder: Builds.
        runner: Runs tests.
        folder: Of the search.
        save: Writes the record.
        screen: Shows what is found, and what is going on.
        describe: What readers want to know of the one that was found.
    """

    def __init__(
        self,
        log: BisectLog,
        search: Search,
        builder: Builder,
        runner: Runner,
        folder: Path,
        *,
        save: Callable[[], None],
        screen: Screen,
        describe: Callable[[Candidate], str] = lambda _candidate: "",
    ) -> None:
        self._log = log
        self._search = search
        self._runner = runner
        self._save = save
        self._say = screen.say
        self._describe = describe
        self._trials = Trials(log, builder, runner, folder, save, doing=screen.doing)
        self._ends = Ends(log, self._trials, self._show)

    def run(self) -> Result:
        """Search to the end; the result is in the record, too.

        Raises:
            EndsWrong: The bad end is green, or the good end is red: there is nothing to find.
            Contradiction: The answers fit no single change.
            LabError: The host or the lab failed; the search can go on later.
        """
        self._check_tests()
        self._ends.bad()
        self._say(needs_line(self._log, self._needed()))
        self._ends.good(self._needed())
        while True:
            self._search.begin(self._log.answers())
            self._narrow()
            left = self._search.left()
            if len(left) > 1:
                result = self._several(left)
                break
            found = self._look_closer(left[0])
            if found is not None:
                result = found
                break
        self._log.result = result
        self._save()
        return result

    def _narrow(self) -> None:
        """Ask for candidates until none can narrow the search any more."""
        while (candidate := self._search.next()) is not None:
            about = max(1, self._search.steps_left())
            done = sum(step.role == "step" and step.answer is not None for step in self._log.steps)
            self._check_tests()
            target = self._ends.target
            trial = self._trials.begin("step", candidate, f"step {done + 1} of about {done + about}")
            if trial.step.answer is None:
                trial.decide(self._needed(), target)
            assert trial.step.answer is not None
            self._show(trial.step, f"step {done + 1} of about {done + about}")
            self._search.tell(candidate, trial.step.answer)

    def _look_closer(self, first: Candidate) -> Result | None:
        """Run the first bad one and its parents more often; None if a parent turned out to be bad."""
        target, barren = self._ends.target, 0
        if runs_left(self._log.tally_of(first.id)):
            trial = self._trials.begin("check", first)
            while trial.step.answer is None and (count := runs_left(trial.build.tally)) and barren < _BARREN_ROUNDS:
                before = trial.build.tally.rate.runs
                trial.runs(count, target)
                barren += trial.build.tally.rate.runs == before
            if trial.step.answer is None:
                trial.answer("bad")
            self._show(trial.step, "once more")
        rate = min(least_rate(self._log.tally_of(self._log.bad.id)), least_rate(self._log.tally_of(first.id)))
        parents = self._search.parents(first)
        # The parents of a merge share the doubt that is left.
        allowed = (1 - self._log.plan.confidence) / max(1, len(parents))
        needed = runs_for(rate, allowed)
        open_, doubt = [], 0.0
        for parent in parents:
            seen, skipped = self._log.tally_of(parent.id), False
            # A red run may have come from another commit with the same bytes, after this one was taken for good.
            if seen.red or seen.other or seen.green < needed:
                trial = self._trials.begin("check", parent)
                if trial.step.answer is None:
                    trial.decide(needed, target)
                self._show(trial.step, "once more")
                if trial.step.answer == "bad":
                    self._say(f"{parent.label} was taken for good and is bad: the search goes on before it")
                    return None
                skipped = trial.step.answer == "skip"
            left = missed(rate, self._log.tally_of(parent.id).green)
            doubt += left
            if skipped or left > allowed + _ROUNDING:
                open_.append(parent)
        if open_:
            return self._several([*open_, first])
        low, high = self._log.tally_of(first.id).rate.interval()
        return Result(
            first_bad=first,
            candidates=[first],
            parents=list(parents),
            confidence=max(0.0, 1 - doubt),
            rate=[low, high],
            text=self._describe(first),
            exit_code=OK,
        )

    def _several(self, left: Sequence[Candidate]) -> Result:
        """Candidates that could not be tested, or not often enough, are left beside the first one that is known to be bad."""
        skips = [skip for one in left if (skip := self._log.skip_of(one.id)) is not None]
        by_lab = any(skip.kind == "lab failed" for skip in skips)
        return Result(candidates=list(left), exit_code=INFRA if by_lab else NOTHING)

    def _needed(self) -> int:
        """How many green runs make a step good."""
        plan = self._log.plan
        return plan.repeat or runs_for(least_rate(self._log.tally_of(self._log.bad.id)), STEP_ERROR)

    def _check_tests(self) -> None:
        """Answers of different tests would not belong together.

        Raises:
            ConfigError: A file of the tests, or the lab file, has changed.
        """
        now = self._runner.tests_digest()
        if not self._log.tests_digest:
            self._log.tests_digest = now
        elif self._log.tests_digest != now:
            raise ConfigError(
                "the test files or the lab file are not what they were when the search began, so its answers would not belong"
                " together",
                hint="restore them and use --continue, or --abort and begin again",
            )

    def _show(self, step: Step, name: str) -> None:
        self._say(step_line(step, name, self._log))
