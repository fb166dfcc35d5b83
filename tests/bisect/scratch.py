"""Scratch repositories for searches over commits."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_WHO = {
    "GIT_AUTHOR_NAME": "Ada Example",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": "2026-03-01T10:00:00Z",
    "GIT_COMMITTER_NAME": "Ada Example",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_COMMITTER_DATE": "2026-03-01T10:00:00Z",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


@dataclass(frozen=True)
class Scratch:
    """A repository.

    Attributes:
        top: Its checkout.
    """

    top: Path

    @classmethod
    def make(cls, top: Path) -> Scratch:
        """A new one, without commits."""
        top.mkdir(parents=True)
        repository = cls(top)
        repository.git("init", "--quiet", "--initial-branch=main")
        return repository

    def git(self, *arguments: str) -> str:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _WHO
        argv = ["git", "-c", "protocol.file.allow=always", *arguments]
        return subprocess.run(argv, cwd=self.top, env=environ, check=True, capture_output=True, text=True, timeout=60).stdout

    def commit(self, subject: str, **files: str) -> str:
        """Commit files, by their names with _ for a dot; returns the hash."""
        for name, text in files.items():
            (self.top / name.replace("_", ".")).write_text(text, encoding="utf-8")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD").strip()

    def row(self, count: int) -> list[str]:
        """So many commits, one after the other."""
        return [self.commit(f"Change number {number}", ring_c=f"{number}\n") for number in range(count)]

    def state(self) -> dict[str, str | bytes]:
        """All of the user's that a search must leave as it is."""
        return {
            "status": self.git("status", "--porcelain=v2", "--branch", "--untracked-files=all"),
            "refs": self.git("for-each-ref"),
            "worktrees": self.git("worktree", "list", "--porcelain"),
            "stash": self.git("stash", "list"),
            "index": (self.top / ".git" / "index").read_bytes(),
            "HEAD": (self.top / ".git" / "HEAD").read_bytes(),
            "bisect": ",".join(sorted(path.name for path in (self.top / ".git").glob("BISECT*"))),
            "files": ",".join(sorted(str(path) for path in self.top.rglob("*") if ".git" not in path.parts)),
        }
