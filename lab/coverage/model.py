"""``coverage/coverage.json``: the lines of a run's drivers, how often each ran, and in which tests."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

#: Subfolder of a run's folder.
COVERAGE_DIR = "coverage"
COVERAGE_FILE = "coverage.json"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CoveredLine(_Model):
    """A line of a source that has code."""

    line: int = Field(description="its number, from 1")
    count: int = Field(description="how often it ran")
    tests: list[int] = Field(default_factory=list, description="those in which it ran, by their place in the list of tests")


class CoveredFile(_Model):
    """A source."""

    file: str = Field(description="relative to the project, or absolute outside of it")
    drivers: list[str] = Field(description="the drivers that are built from it")
    lines: list[CoveredLine]
    text: list[str] = Field(description="all lines, as they were built")

    @property
    def covered(self) -> int:
        """How many lines ran."""
        return sum(1 for line in self.lines if line.count)


class CoveredDriver(_Model):
    """A driver of the run."""

    name: str
    lines: int = Field(default=0, description="lines with code")
    covered: int = Field(default=0, description="lines that ran")
    not_measured: str = Field(default="", description="why its lines were not counted")


class LostCounters(_Model):
    """A test whose counters are not complete."""

    nodeid: str
    why: str


class Coverage(_Model):
    """The whole file."""

    schema_version: Literal[1] = 1
    guest: str = ""
    drivers: list[CoveredDriver]
    files: list[CoveredFile]
    tests: list[str] = Field(description="node ids of the tests that ran any line")
    lost: list[LostCounters] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list, description="sentences for readers")

    @property
    def lines(self) -> int:
        """Lines with code, each once."""
        return sum(len(file.lines) for file in self.files)

    @property
    def covered(self) -> int:
        """Lines that ran."""
        return sum(file.covered for file in self.files)

    @property
    def percent(self) -> float | None:
        """Lines that ran, of 100; None if no line was counted."""
        return percent_of(self.covered, self.lines) if self.lines else None


def percent_of(covered: int, lines: int) -> float:
    """The part of the lines that ran, of 100. Never rounded up to 100. A source without code has 100."""
    if covered == lines:
        return 100.0
    return min(round(100 * covered / lines, 1), 99.9)


def read_coverage(out: Path) -> Coverage | None:
    """The coverage of a run; None if it was not measured.

    Args:
        out: Folder of the run.

    Raises:
        pydantic.ValidationError: The file is damaged.
    """
    file = out / COVERAGE_DIR / COVERAGE_FILE
    return Coverage.model_validate_json(file.read_bytes()) if file.is_file() else None
