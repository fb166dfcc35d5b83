"""``bisect.json``: the record of one search, written after every round, so that an interrupted one goes on where it was.

docs/bisect.schema.json is generated from these models; a test compares them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from lab.gate.proportions import Rate
from lab.report.model import Text

SCHEMA_VERSION = 1

#: The answer for a commit or a build; the words of `git bisect`.
Answer = Literal["good", "bad", "skip"]
#: Why an answer was wanted.
Role = Literal["bad end", "good end", "step", "check"]
#: Why there is no answer. Only the last one says nothing about the commit.
SkipKind = Literal["not built", "another failure", "not tested", "lab failed"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Candidate(_Model):
    """A commit, or a finished build."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(description="the whole hash of a commit; the path of a build")
    label: Text = Field(description="for readers: short hash and subject, or the build's name")
    slug: str = Field(description="for names of folders")


class Target(_Model):
    """The failure that is looked for."""

    nodeid: Text
    root: Text = Field(description="pytest's root folder: the file of the test is relative to it")
    signature: Text = Field(description="empty: any failure of the test counts")
    reason: Text = Field(default="", description="as the bad end showed it")
    drivers: list[str] = Field(default_factory=list, description="names of the drivers that the test uses")


class Tally(_Model):
    """What all runs of the test with one driver said, over all commits that give the same driver."""

    red: int = Field(default=0, description="runs with the failure that is looked for")
    green: int = 0
    other: int = Field(default=0, description="runs with another failure; they are neither red nor green")
    lost: int = Field(default=0, description="runs that said nothing: the lab failed, or the test was skipped")

    @property
    def rate(self) -> Rate:
        """How often the failure showed, among the runs that could be judged."""
        return Rate(self.red, self.red + self.green)

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            red=self.red + other.red,
            green=self.green + other.green,
            other=self.other + other.other,
            lost=self.lost + other.lost,
        )


class Build(_Model):
    """A driver that was tested: one entry for all commits whose builds are equal."""

    digest: str = Field(description="of everything that a guest gets, without time stamps and signatures")
    candidate: str = Field(description="id of the first commit or build that gave it")
    folder: Text = Field(description="folder of the run's copies, relative to that of the search")
    tally: Tally = Field(default_factory=Tally)


class Step(_Model):
    """A commit or build that was asked for, and its answer."""

    number: int
    role: Role
    candidate: Candidate
    answer: Answer | None = Field(default=None, description="null: the step was interrupted, or is going on")
    kind: SkipKind | None = Field(default=None, description="of a skip")
    reason: Text = Field(default="", description="one line for readers")
    digest: str = Field(default="", description="of its build; empty if there is none")
    same_as: Text = Field(default="", description="label of an earlier commit whose build has the same bytes")
    tally: Tally = Field(default_factory=Tally, description="of the runs of this step alone")
    runs: list[Text] = Field(default_factory=list, description="folders of the runs, relative to that of the search")
    seconds: float = 0.0


class Result(_Model):
    """How a search ended."""

    first_bad: Candidate | None = Field(default=None, description="null: more than one is possible")
    candidates: list[Candidate] = Field(description="each of these may be the first bad one")
    parents: list[Candidate] = Field(default_factory=list, description="the good ones just before it")
    confidence: float = Field(
        default=0.0,
        description="the probability that a parent that has the failure would have shown it in the runs that were all green;"
        " 0 without a first bad one",
    )
    rate: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(
        default_factory=lambda: [0.0, 1.0], description="95% interval of how often the failure shows on the first bad one"
    )
    text: Text = Field(default="", description="author, date, subject and the files that changed")
    exit_code: int


class Plan(_Model):
    """What the user asked for."""

    repeat: int | None = Field(default=None, description="runs of a step; null: as many as the bad end's rate asks for")
    confidence: float = Field(description="that the parent of the first bad one is good")
    any_failure: bool = False


class Options(_Model):
    """The command line, for --continue."""

    settings: dict[str, str | bool | list[str] | None] = Field(
        default_factory=dict, description="keys of the lab file; null or an empty list: the option was not given"
    )
    config: str | None = Field(default=None, description="the lab file that --config names")
    arguments: list[str] = Field(default_factory=list, description="of pytest")
    cwd: str = Field(default="", description="the folder that relative paths start from")
    build: str = Field(default="", description="the user's own build")


class BisectLog(_Model):
    """``bisect.json``."""

    schema_version: int = SCHEMA_VERSION
    lab_version: str = ""
    kind: Literal["commits", "builds"]
    started: str = Field(description="UTC, ISO 8601")
    good: Candidate
    bad: Candidate
    builds: list[Candidate] = Field(default_factory=list, description="all of them in their order; empty for commits")
    first_parent: bool = Field(default=False, description="only the first parents of merges are looked at")
    plan: Plan
    tests_digest: str = Field(default="", description="of the test files; they must stay as they are during a search")
    options: Options = Field(default_factory=Options)
    target: Target | None = Field(default=None, description="null until the bad end has shown it")
    also_red: list[Text] = Field(default_factory=list, description="other failures of the bad end, which are not looked for")
    drivers: list[Build] = Field(default_factory=list)
    steps: list[Step] = Field(default_factory=list)
    result: Result | None = Field(default=None, description="null while the search goes on")

    def answers(self) -> dict[str, Answer]:
        """The last answer for each commit or build that has one, in the order of the first answers."""
        found: dict[str, Answer] = {}
        for step in self.steps:
            # That the lab failed when it asked once more takes nothing away from the answer before.
            if step.answer is not None and not (step.role == "check" and step.answer == "skip"):
                found[step.candidate.id] = step.answer
        return found

    def build_of(self, digest: str) -> Build | None:
        """The entry of a driver."""
        return next((build for build in self.drivers if build.digest == digest), None)

    def tally_of(self, candidate: str) -> Tally:
        """All runs with the driver of a commit or build."""
        digest = next((step.digest for step in self.steps if step.candidate.id == candidate and step.digest), "")
        build = self.build_of(digest)
        return build.tally if build is not None else Tally()

    def skip_of(self, candidate: str) -> Step | None:
        """The step in which a commit or build could not be tested; None if there is none."""
        return next((step for step in self.steps if step.candidate.id == candidate and step.answer == "skip"), None)
