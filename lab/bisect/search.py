"""Where to look next: what a search over commits and one over builds have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from lab.bisect.model import Answer, Candidate
from lab.errors import ConfigError


class Contradiction(ConfigError):
    """The answers fit no single change: what is older is bad, and what is newer is good."""


class Search(Protocol):
    """Chooses candidates between a good and a bad one. Every answer comes from outside."""

    def begin(self, answers: Mapping[str, Answer]) -> None:
        """Begin, or begin again, with these answers.

        Raises:
            Contradiction: They contradict each other.
        """

    def next(self) -> Candidate | None:
        """The candidate to test now; None if no test can narrow the search any more."""

    def tell(self, candidate: Candidate, answer: Answer) -> None:
        """Give an answer.

        Raises:
            Contradiction: It contradicts the others.
        """

    def left(self) -> Sequence[Candidate]:
        """All that may be the first bad one, the oldest first."""

    def steps_left(self) -> int:
        """About how many more answers are needed."""

    def parents(self, candidate: Candidate) -> Sequence[Candidate]:
        """The ones just before a candidate."""

    def log(self) -> str:
        """The answers as `git bisect replay` reads them; empty if there is no repository."""
