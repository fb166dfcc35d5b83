"""The commands of docs/red-pull-request.md, typed as they are written there, in the repository that they are about."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.pull_request import GUILTY, write_repository
from tests.e2e.running import LAB, ROOT, RUN_DEADLINE_S

pytestmark = pytest.mark.e2e

PAGE = ROOT / "docs" / "red-pull-request.md"


@dataclass(frozen=True)
class Typed:
    """A command of the page.

    Attributes:
        line: As it is typed, without its comment.
        code: How it ends, by its comment.
        shown: The output that the page shows.
    """

    line: str
    code: int
    shown: tuple[str, ...]


def typed() -> list[Typed]:
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            first, *shown = part.splitlines()
            line, _, comment = first.partition(" # ")
            code = re.search(r"ends with (\d+)", comment)
            found.append(Typed(line.strip(), int(code[1]) if code else 0, tuple(shown)))
    return found


def quoted() -> list[str]:
    """The lines of the comment that the page shows."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [line[1:].strip() for line in lines if line.startswith(">")]


def masked(text: str) -> str:
    """The words of a line, without those that differ from run to run: numbers, times, hashes."""
    return " ".join("#" if re.search(r"\d", word) else word for word in text.split())


def test_from_the_comment_to_the_commit(tmp_path: Path) -> None:
    write_repository(tmp_path / "answers")
    # With CI or BUILD_NUMBER set, pytest shows whole differences, and the page is of a person's run.
    others = ("PYTEST_", "GITHUB_", "LAB_WORKERS", "CI", "BUILD_NUMBER")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(others)}
    environment = kept | {
        "PATH": f"{LAB.parent}:{os.environ['PATH']}",
        "LAB_BASELINES": str(tmp_path / "baselines"),
        "COLUMNS": "160",
        **{f"GIT_{role}_{what}": "ada@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }

    def bash(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path / "answers",
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=RUN_DEADLINE_S,
            check=False,
        )

    guilty = bash(f"git log --all --format=%h --grep {GUILTY[0]!r}").stdout.strip()
    commands = typed()
    assert [words.line.split()[:2] for words in commands] == [
        ["lab", "run"],
        ["git", "switch"],
        ["lab", "run"],
        ["lab", "run"],
        ["lab", "bisect"],
        ["git", "revert"],
        ["lab", "run"],
    ]
    for command in commands:
        line = re.sub(r"(git revert .*)\b[0-9a-f]{7,}$", rf"\g<1>{guilty}", command.line)
        done = bash(line)
        assert done.returncode == command.code, f"$ {line}\n{done.stdout}"
        output = {masked(shown) for shown in done.stdout.splitlines()}
        missing = [shown for shown in command.shown if shown.strip() not in ("", "…") and masked(shown) not in output]
        assert not missing, f"$ {line}\n{done.stdout}"
        if command.code and "--baseline" in command.line:
            comment = (tmp_path / "answers" / "out" / "latest" / "comparison.md").read_text(encoding="utf-8")
            assert [masked(text) for text in quoted()] == [masked(text) for text in comment.strip().splitlines()]
        if command.line.startswith("lab bisect"):
            assert re.search(rf"^first bad commit: {guilty}", done.stdout, re.MULTILINE), done.stdout
