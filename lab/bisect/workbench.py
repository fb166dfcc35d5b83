"""What a search needs from outside: the driver of a candidate, and runs of tests with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.bisect.model import Candidate
from lab.errors import ConfigError
from lab.report.model import RunReport


class NotBuilt(ConfigError):
    """A commit does not build, or has nothing to build: it can be neither good nor bad. The message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A candidate's drivers, ready for guests.

    Attributes:
        folder: The run's copies, as `lab run` makes them.
        digest: Of all that a guest gets; equal for equal builds.
        note: What there is to say about the build, for readers.
    """

    folder: Path
    digest: str
    note: str = ""


class Builder(Protocol):
    """Gets the drivers of candidates."""

    def build(self, candidate: Candidate, into: Path, drivers: Sequence[str], /) -> Built:
        """Get the drivers of a candidate.

        Args:
            candidate: The commit or build.
            into: Folder for them, which does not exist yet.
            drivers: Names of those that are needed; empty: all that the user chose.

        Raises:
            NotBuilt: There is nothing to test.
            LabError: The host failed, which says nothing about the candidate.
        """


class Runner(Protocol):
    """Runs tests."""

    def run(
        self, drivers: Path, nodeid: str, count: int, into: Path, /, *, until_red: bool, root: str = ""
    ) -> RunReport | None:
        """Run tests with some drivers, each time in a fresh guest.

        Args:
            drivers: :attr:`Built.folder`.
            nodeid: The test; empty: all tests that the user selected.
            count: How often.
            into: Folder for the run, which does not exist yet.
            until_red: Stop at the first red run.
            root: Folder that the test's file is relative to.

        Returns:
            The report; None if there is none.
        """

    def tests_digest(self) -> str:
        """Of the test files, which must stay as they are while the search goes on."""
