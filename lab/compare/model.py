"""The result of a comparison, as `lab compare --json` writes it; docs/compare.schema.json is generated from these models."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from lab.compare.key import RunKey
from lab.gate.verdict import Verdict
from lab.report.model import Text

SCHEMA_VERSION = 1

#: What became of a test. In the order in which comparisons list them.
ChangeKind = Literal[
    "newly red",
    "red in another way",
    "not judged",
    "not of this change",
    "not run",
    "newly skipped",
    "flaky",
    "still red",
    "newly known",
    "fixed",
    "judged again",
    "new test",
]
CHANGES: tuple[ChangeKind, ...] = get_args(ChangeKind)

#: For readers that see the words for the first time.
MEANINGS: dict[ChangeKind, str] = {
    "newly red": "passed in BASE, or is new",
    "red in another way": "also red in BASE, with another signature",
    "not judged": "the lab failed; this says nothing about the driver",
    "not of this change": "run again, the driver of BASE fails it, too",
    "not run": "BASE ran it, NEW did not",
    "newly skipped": "BASE ran it, NEW skipped it",
    "flaky": "passes and fails without a change",
    "still red": "red in BASE with the same signature",
    "newly known": "fails, and the lab file or an xfail mark says so; it did not in BASE",
    "fixed": "red or known in BASE",
    "judged again": "not judged, or skipped, in BASE",
    "new test": "not in BASE",
}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ComparedDriver(_Model):
    """A driver of a run."""

    name: str
    sha256: str
    commit: str = ""


class ComparedRun(_Model):
    """One of the two runs."""

    label: Text = Field(description="the path that was given, or 'baseline NAME'")
    started: str = Field(description="UTC, ISO 8601")
    guest: str
    key: RunKey
    drivers: list[ComparedDriver]
    tests: int = Field(description="tests that have a verdict")
    exit_code: int


class Side(_Model):
    """A test in one of the runs."""

    verdict: Verdict
    reason: Text = ""
    signature: Text = ""
    failed: int = Field(description="red attempts; those of the lab's own failures do not count")
    runs: int = Field(description="attempts that could be judged")


class Confirmation(_Model):
    """What came of running a test again on the drivers of both runs, side by side; see :mod:`lab.gate.sequential`."""

    outcome: Literal["real", "flaky", "not of this change", "no verdict", "passed again"]
    new_failed: int = Field(description="red runs on the new driver")
    base_failed: int = Field(description="red runs on the driver of BASE")
    pairs: int = Field(description="pairs of runs that could be judged: each driver was run so often")
    lost: int = Field(default=0, description="pairs in which the lab failed; they do not count")
    like: Text = Field(
        default="", description="id of the test that was run again in its place: it failed with the same signature"
    )


class TestChange(_Model):
    """A test that is worth a line."""

    #: Not a test class: pytest would otherwise try to collect it by its name.
    __test__: ClassVar[bool] = False

    nodeid: Text
    change: ChangeKind
    base: Side | None = Field(default=None, description="null: it is not there")
    new: Side | None = Field(default=None, description="null: it is not there")
    why: Text = Field(default="", description="what there is to add, for readers")
    confirmation: Confirmation | None = Field(default=None, description="by `lab run --baseline`; null if it was not run again")


class PrintChange(_Model):
    """A test that passes in both runs, and whose prints differ."""

    nodeid: Text
    kind: Literal["differs", "order", "varies"] = Field(
        description="differs: other prints; order: the same prints in another order; varies: other prints, although the"
        " drivers are the same to the byte, so that they are not the cause"
    )
    base: int = Field(description="number of prints")
    new: int = Field(description="number of prints")
    diff: list[Text] = Field(
        default_factory=list, description="lines with '-' (only in BASE) or '+' (only in NEW), without addresses; at most 20"
    )


class DurationChange(_Model):
    """How durations changed: those of one test, or of all tests together."""

    nodeid: Text = Field(default="", description="empty: all tests together")
    ratio: float = Field(description="NEW / BASE, the middle of the interval")
    low: float = Field(description="lower end of the interval")
    high: float = Field(description="upper end of the interval")
    confidence: float
    readings: tuple[int, int] = Field(description="of BASE and NEW; for all tests together: the number of tests, twice")
    moved: bool = Field(description="the whole interval lies outside of 0.9 to 1.1")


class LostLine(_Model):
    """A line of a driver that tests reached in BASE, and that none reaches in NEW."""

    file: Text
    line: int = Field(description="its number in NEW")
    text: Text
    tests: list[Text] = Field(description="those that reached it in BASE")


class CoverageChange(_Model):
    """How the coverage of the drivers changed."""

    base: float = Field(description="lines that ran in BASE, of 100")
    new: float = Field(description="lines that ran in NEW, of 100")
    lost: list[LostLine] = Field(default_factory=list, description="lines that lost all of their tests")


class Comparison(_Model):
    """`lab compare --json`."""

    schema_version: int = SCHEMA_VERSION
    base: ComparedRun
    new: ComparedRun
    key_differences: list[Text] = Field(description="what differs in guest, clock, accelerator, architecture or flavour")
    same_drivers: bool = Field(description="all drivers are the same to the byte")
    equal: bool = Field(description="no test changed, and no print differs that the drivers may be the cause of")
    unchanged: int = Field(description="tests with the same result, which are not listed")
    changes: list[TestChange] = Field(default_factory=list)
    prints: list[PrintChange] = Field(default_factory=list)
    durations: list[DurationChange] = Field(default_factory=list)
    coverage: CoverageChange | None = Field(default=None, description="null if one of the runs has not counted lines")
    exit_code: int
