"""A search over commits: `git bisect` in a worktree of its own chooses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.bisect.model import Answer, Candidate
from lab.bisect.repository import Worktree
from lab.bisect.search import Contradiction
from lab.errors import HostToolError
from lab.host.git import git

_BISECT_S = 300.0
#: 0: there is a next commit, or the first bad one is found; 2: only commits that were skipped are left.
_WENT_ON = (0, 2)


class CommitSearch:
    """`git bisect` in a worktree.

    It does not check commits out: the files of the worktree change when a commit is built. Whether the search has ended is read
    from its refs, not from what git prints.

    Args:
        worktree: Of the search; it exists.
        good: A commit without the failure.
        bad: One with it.
        first_parent: Look only at the first parents of merges.
    """

    def __init__(self, worktree: Worktree, good: Candidate, bad: Candidate, *, first_parent: bool) -> None:
        self._worktree = worktree
        self._repository = worktree.repository
        self._good = good
        self._bad = bad
        self._first_parent = ("--first-parent",) if first_parent else ()
        self._log = ""

    def begin(self, answers: Mapping[str, Answer]) -> None:
        """See :class:`lab.bisect.search.Search`."""
        self._git("bisect", "reset", check=False)
        self._refuse_contradiction(answers)
        self._git("bisect", "start", "--no-checkout", *self._first_parent, self._bad.id, self._good.id)
        for commit, answer in answers.items():
            if commit not in (self._good.id, self._bad.id):
                self._mark(commit, answer)
        self._read_log()

    def next(self) -> Candidate | None:
        """See :class:`lab.bisect.search.Search`."""
        known = set(self._git("for-each-ref", "--format=%(objectname)", "refs/bisect").split())
        # git asks for a merge base first if the good commit is not part of the bad one's history.
        head = self._git("rev-parse", "--verify", "--quiet", "BISECT_HEAD", check=False).strip()
        return self._repository.described(head) if head and head not in known else None

    def tell(self, candidate: Candidate, answer: Answer) -> None:
        """See :class:`lab.bisect.search.Search`."""
        if answer == "bad" and candidate.id not in self._inside() and self._is_old(candidate):
            raise Contradiction(
                f"{candidate.label} is bad, and it is part of the history of {self._good.label}, which is good",
                hint="the failure was fixed in between; choose a good commit that the bad one comes from",
            )
        self._mark(candidate.id, answer)
        self._read_log()

    def left(self) -> Sequence[Candidate]:
        """See :class:`lab.bisect.search.Search`."""
        return [self._repository.described(commit) for commit in reversed(self._inside())]

    def steps_left(self) -> int:
        """See :class:`lab.bisect.search.Search`."""
        skipped = self._git("for-each-ref", "--format=%(objectname)", "refs/bisect/skip-*").split()
        return max(0, len(set(self._inside()) - set(skipped)) - 1).bit_length()

    def parents(self, candidate: Candidate) -> Sequence[Candidate]:
        """See :class:`lab.bisect.search.Search`."""
        return self._repository.parents(candidate.id, first_only=bool(self._first_parent))

    def log(self) -> str:
        """See :class:`lab.bisect.search.Search`."""
        return self._log

    def _read_log(self) -> None:
        # Who replays it wants to see the files.
        self._log = self._git("bisect", "log").replace("git bisect start '--no-checkout' ", "git bisect start ")

    def _inside(self) -> list[str]:
        """All commits that may be the first bad one, the newest first."""
        words = ["rev-list", "--topo-order", *self._first_parent, "refs/bisect/bad", "--not", "--glob=refs/bisect/good-*"]
        return self._git(*words).split()

    def _is_old(self, candidate: Candidate) -> bool:
        return self._repository.is_ancestor(candidate.id, self._good.id)

    def _mark(self, commit: str, answer: Answer) -> None:
        done = git(self._worktree.folder, "bisect", answer, commit, timeout=_BISECT_S, check=False)
        if done.exit_code not in _WENT_ON:
            raise HostToolError(done.argv, done.exit_code, done.stderr or done.stdout)

    def _refuse_contradiction(self, answers: Mapping[str, Answer]) -> None:
        good = [commit for commit, answer in answers.items() if answer == "good"]
        for commit, answer in answers.items():
            newer = [one for one in good if answer == "bad" and self._repository.is_ancestor(commit, one)]
            if newer:
                bad, other = self._repository.described(commit), self._repository.described(newer[0])
                raise Contradiction(
                    f"{bad.label} is bad, and {other.label}, which comes from it, is good",
                    hint="the failure was fixed in between; search in one part of the history",
                )

    def _git(self, *arguments: str, check: bool = True) -> str:
        return git(self._worktree.folder, *arguments, timeout=_BISECT_S, check=check).stdout
