"""The user's repository, and a worktree of it that belongs to the search alone.

The user's checkout, index, HEAD and refs/bisect stay as they are: a worktree has its own of each.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.bisect.model import Candidate
from lab.errors import ConfigError, HostToolError
from lab.host.git import git

#: For questions about the history.
_ASK_S = 120.0
#: For checkouts: a large repository, or files that a filter fetches.
_CHECKOUT_S = 1800.0
_SUBMODULE = "160000"
_FOUND = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository.

    Attributes:
        top: The checkout that the user works in.
        common: The folder that all its worktrees share.
        shallow: Old commits are missing.
    """

    top: Path
    common: Path
    shallow: bool

    @classmethod
    def around(cls, folder: Path) -> Repository:
        """The repository that a folder is in.

        Raises:
            ConfigError: It is in none.
        """
        try:
            said = git(folder, "rev-parse", "--show-toplevel", "--git-common-dir", "--is-shallow-repository", timeout=_ASK_S)
            top, common, shallow = said.stdout.splitlines()
        except (HostToolError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"{folder} is in no git repository with a checkout: {first}",
                hint="--drivers searches finished builds, without a repository",
            ) from None
        return cls(top=Path(top).resolve(), common=(folder / common).resolve(), shallow=shallow == "true")

    def commit(self, revision: str, *, option: str = "") -> Candidate:
        """A commit by any of its names.

        Args:
            revision: As git takes it.
            option: The option that it was given with, for errors.

        Raises:
            ConfigError: There is no such commit.
        """
        done = git(
            self.top,
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            f"{revision}^{{commit}}",
            timeout=_ASK_S,
            check=False,
        )
        found = done.stdout.strip()
        if done.exit_code or not found:
            raise ConfigError(
                f"{option} {revision}: there is no such commit".strip(), hint=self._deepen("give a commit, a tag or a branch")
            )
        return self.described(found)

    def described(self, commit: str) -> Candidate:
        """A commit with its subject."""
        said = git(self.top, "show", "--no-patch", "--format=%h%n%s", commit, timeout=_ASK_S).stdout
        short, _, subject = said.strip().partition("\n")
        return Candidate(id=commit, label=f"{short} {subject}".strip(), slug=short)

    def details(self, commit: str) -> str:
        """Author, date, subject and the files that a commit changes."""
        words = ["show", "--stat=100", "--format=commit %H%nAuthor: %an <%ae>%nDate:   %ad%n%n    %s", commit]
        return git(self.top, *words, timeout=_ASK_S).stdout.strip()

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether one commit is part of the history of another; a commit is part of its own."""
        return git(self.top, "merge-base", "--is-ancestor", old, new, timeout=_ASK_S, check=False).exit_code == _FOUND

    def check_ends(self, good: Candidate, bad: Candidate) -> None:
        """Refuse two commits between which nothing can be found.

        Raises:
            ConfigError: They are the same, in the wrong order, or have no common history.
        """
        if good.id == bad.id:
            raise ConfigError(f"--good and --bad are the same commit: {good.label}", hint="choose an older good one")
        if self.is_ancestor(bad.id, good.id):
            raise ConfigError(
                f"the bad commit {bad.label} is older than the good commit {good.label}",
                hint="exchange them; a fix between the two cannot be searched",
            )
        if git(self.top, "merge-base", good.id, bad.id, timeout=_ASK_S, check=False).exit_code != _FOUND:
            raise ConfigError(
                f"the commits {good.label} and {bad.label} have no common history here",
                hint=self._deepen("choose a good commit that the bad one comes from"),
            )

    def submodules(self, commit: str) -> list[str]:
        """Paths of the submodules of a commit."""
        said = git(self.top, "ls-tree", "-r", "-z", "--full-tree", commit, timeout=_ASK_S).stdout
        return [line.partition("\t")[2] for line in said.split("\0") if line.startswith(_SUBMODULE)]

    def parents(self, commit: str, *, first_only: bool) -> list[Candidate]:
        """The parents of a commit."""
        said = git(self.top, "rev-list", "--parents", "--max-count=1", commit, timeout=_ASK_S).stdout.split()
        return [self.described(one) for one in (said[1:2] if first_only else said[1:])]

    def _deepen(self, otherwise: str) -> str:
        return "this clone is shallow: `git fetch --unshallow` gets the history" if self.shallow else otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Worktree:
    """A worktree of the search's own.

    Attributes:
        repository: Of the user.
        folder: Where it is, or is to be.
    """

    repository: Repository
    folder: Path

    def make(self, commit: str) -> None:
        """Make it anew, without files; an old one at this place is removed.

        Raises:
            HostToolError: git failed.
        """
        self.remove()
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        git(self.repository.top, "worktree", "add", "--detach", "--no-checkout", str(self.folder), commit, timeout=_CHECKOUT_S)

    def show(self, commit: str) -> None:
        """Put the files of a commit there, and remove all others: a build must not find what another one left.

        Raises:
            HostToolError: git failed.
        """
        git(self.folder, "checkout", "--quiet", "--force", "--detach", commit, timeout=_CHECKOUT_S)
        git(self.folder, "clean", "-ffdxq", timeout=_CHECKOUT_S)

    def remove(self) -> None:
        """Remove it, and what the repository knows of it. Idempotent."""
        git(self.repository.top, "worktree", "remove", "--force", "--force", str(self.folder), timeout=_CHECKOUT_S, check=False)
        if self.folder.exists():
            shutil.rmtree(self.folder)
