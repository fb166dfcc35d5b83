"""A search over finished builds in a row: plain bisection, which leaves out what cannot be tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.bisect.model import Answer, Candidate
from lab.bisect.search import Contradiction


class BuildSearch:
    """A row of builds of which the first is good and the last is bad.

    The next one is the middle of those that are left. After a build that could not be tested, it is a quarter, then three
    quarters, an eighth, and so on: builds that cannot be tested often lie side by side.

    Args:
        builds: All of them, the oldest first; at least two.
    """

    def __init__(self, builds: Sequence[Candidate]) -> None:
        self._builds = list(builds)
        self._place = {build.id: number for number, build in enumerate(self._builds)}
        self._good, self._bad = 0, len(self._builds) - 1
        self._skipped: set[int] = set()

    def begin(self, answers: Mapping[str, Answer]) -> None:
        """See :class:`lab.bisect.search.Search`."""
        self._good, self._bad, self._skipped = 0, len(self._builds) - 1, set()
        for name, answer in answers.items():
            if name in self._place:
                self._take(self._place[name], answer)
        self._check()

    def next(self) -> Candidate | None:
        """See :class:`lab.bisect.search.Search`."""
        open_ones = [number for number in range(self._good + 1, self._bad) if number not in self._skipped]
        if not open_ones:
            return None
        skipped = sum(self._good < number < self._bad for number in self._skipped)
        return self._builds[open_ones[int(_fraction(skipped) * len(open_ones))]]

    def tell(self, candidate: Candidate, answer: Answer) -> None:
        """See :class:`lab.bisect.search.Search`."""
        self._take(self._place[candidate.id], answer)
        self._check()

    def left(self) -> Sequence[Candidate]:
        """See :class:`lab.bisect.search.Search`."""
        return self._builds[self._good + 1 : self._bad + 1]

    def steps_left(self) -> int:
        """See :class:`lab.bisect.search.Search`."""
        open_ones = sum(number not in self._skipped for number in range(self._good + 1, self._bad))
        return open_ones.bit_length()

    def parents(self, candidate: Candidate) -> Sequence[Candidate]:
        """See :class:`lab.bisect.search.Search`."""
        place = self._place[candidate.id]
        return self._builds[max(0, place - 1) : place]

    def log(self) -> str:
        """See :class:`lab.bisect.search.Search`."""
        return ""

    def _take(self, place: int, answer: Answer) -> None:
        self._skipped.discard(place)
        if answer == "good":
            self._good = max(self._good, place)
        elif answer == "bad":
            self._bad = min(self._bad, place)
        else:
            self._skipped.add(place)

    def _check(self) -> None:
        if self._good >= self._bad:
            good, bad = self._builds[self._good].label, self._builds[self._bad].label
            raise Contradiction(
                f"{bad} is bad, and {good}, which is newer, is good",
                hint="the failure was fixed in between, or the builds are not in their order: search in a part of them",
            )


def _fraction(number: int) -> float:
    """1/2, 1/4, 3/4, 1/8, 5/8, …: each part of the row is soon visited (van der Corput's sequence)."""
    number, found, weight = number + 1, 0.0, 0.5
    while number:
        found += weight * (number & 1)
        number, weight = number >> 1, weight / 2
    return found
