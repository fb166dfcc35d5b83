"""The repository of docs/red-pull-request.md: a driver with its tests, and a branch of four commits, one of them wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.e2e.running import ROOT

SUITE = """\
import pytest

pytestmark = pytest.mark.lab_driver("async", reload=False)


def test_reads_are_served_in_order(reader):
    done = reader.run("open h {link} overlapped=1; aread h 21; aread h 22; aread h 23; wait all")
    assert [read.asked for read in sorted(done.reads, key=lambda read: read.end_us)] == [21, 22, 23]


def test_a_read_delivers_the_answer(reader):
    assert reader.read(length=13)[0].text == "hello lyshark"


def test_a_cancelled_read_ends(reader):
    done = reader.run("open h {link} overlapped=1; aread h 13 tag=a; cancel a; wait all")
    assert [read.error for read in done.reads] == [995]
"""
#: Subject of a commit → what it replaces in the driver.
BRANCH = (
    ("Say who owns a read", "    IoMarkIrpPending(irp);\n", "    IoMarkIrpPending(irp); /* from here on it is the list's */\n"),
    ("Serve the newest read first", "InsertTailList(&extension->pended", "InsertHeadList(&extension->pended"),
    ("Call the answer's size its length", "ANSWER_SIZE", "ANSWER_LENGTH"),
    (
        "Refuse reads of more than a page",
        "    IoMarkIrpPending(irp); /*",
        "    if (IoGetCurrentIrpStackLocation(irp)->Parameters.Read.Length > 4096)\n"
        "        return Complete(irp, STATUS_INVALID_PARAMETER, 0);\n    IoMarkIrpPending(irp); /*",
    ),
)
GUILTY = BRANCH[1]


def write_repository(folder: Path) -> None:
    """Make it, with the branches ``main`` and ``newest-first``; the first one is checked out."""
    shutil.copytree(ROOT / "driver" / "async", folder / "driver")
    (folder / "suites").mkdir()
    (folder / "suites" / "test_queue.py").write_text(SUITE, encoding="utf-8")
    (folder / "lab.yaml").write_text("drivers: [driver]\n", encoding="utf-8")
    (folder / ".gitignore").write_text("build/\nout/\n__pycache__/\n.pytest_cache/\n", encoding="utf-8")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder, "A driver that answers one read a second")
    git(folder, "switch", "--quiet", "--create", "newest-first")
    source = folder / "driver" / "async.c"
    for subject, old, new in BRANCH:
        text = source.read_text(encoding="utf-8")
        assert old in text, subject
        source.write_text(text.replace(old, new), encoding="utf-8")
        commit(folder, subject)
    git(folder, "switch", "--quiet", "main")


def commit(folder: Path, subject: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", subject)


def git(folder: Path, *arguments: str) -> None:
    who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in _WHO.items()}
    environment = os.environ | who | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, timeout=60)


_WHO = {"NAME": "Ada Example", "EMAIL": "ada@example.org", "DATE": "2026-03-01T10:00:00+00:00"}
