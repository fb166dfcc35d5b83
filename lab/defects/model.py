"""``defects.json``: which test noticed which defect, and how soon."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lab.gate.verdict import Verdict

SCHEMA_VERSION = 1

Outcome = Literal["caught", "survived", "another verdict", "another test", "not judged", "not on this guest"]
#: Outcome → meaning, in the order in which reports list them: what needs work first.
MEANINGS: dict[Outcome, str] = {
    "survived": "no test noticed it, although this guest can show it: a test is missing",
    "another verdict": "a test noticed it, but with a verdict that the catalogue does not expect",
    "another test": "only tests that the catalogue does not name noticed it: the named ones should, or are the wrong ones",
    "not judged": "the lab failed, or the tests are red without the defect, too",
    "caught": "a test that the catalogue names is green without the defect, and was red with it",
    "not on this guest": "this guest lacks what is needed to show it, so it was not run",
}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Noticed(_Model):
    """A test that was run with a defect."""

    nodeid: str
    verdict: Verdict
    reason: str = Field(default="", description="why it is not passed")
    signature: str = Field(default="", description="what it failed of")
    seconds: float = Field(description="host seconds of the test itself")
    after_s: float = Field(description="host seconds from the start of the run with the defect to the end of the test")


class DefectEntry(_Model):
    """A defect and what became of it."""

    name: str
    driver: str
    what: str
    fact: str
    expected: list[Verdict] = Field(description="the verdicts that catch it")
    first: list[str] = Field(description="the tests that were run first")
    outcome: Outcome
    reason: str = Field(default="", description="what the guest lacks, or why it was not judged")
    caught_by: list[str] = Field(
        default_factory=list,
        description="tests that noticed it, in the order in which they ended; one of them at least is in ``first``",
    )
    tests: list[Noticed] = Field(default_factory=list, description="all tests that were run with it")
    seconds: float = Field(default=0, description="host seconds of its runs, beside those of other defects")
    folder: str = Field(default="", description="folder of the run, relative to that of the report")


class DefectsReport(_Model):
    """``defects.json``."""

    schema_version: int = SCHEMA_VERSION
    lab_version: str
    started: str = Field(description="UTC, ISO 8601")
    guest: str
    image_key: str
    accelerator: str
    clock: str
    workers: int = Field(description="runs at the same time")
    reference_s: float = Field(description="host seconds of the run with the unchanged drivers")
    reference_tests: int
    whole: bool = Field(description="all defects were run, and the run with the unchanged drivers had all tests")
    build_s: float
    defects_s: float = Field(description="host seconds of all runs with defects")
    red_without: list[str] = Field(default_factory=list, description="tests that are not green with the unchanged drivers")
    defects: list[DefectEntry]

    @property
    def ratio(self) -> float:
        """Time of the runs with defects in runs of the unchanged drivers."""
        return self.defects_s / self.reference_s if self.reference_s else 0.0
