"""Drivers of commits that are really compiled."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.bisect.commit_builds import CommitBuilds
from lab.bisect.repository import Repository, Worktree
from lab.bisect.workbench import NotBuilt
from lab.live.chosen_drivers import ChosenDrivers
from lab.toolchain.package import read_packages
from tests.bisect.scratch import Scratch

DRIVER = """#include <ntddk.h>
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNREFERENCED_PARAMETER(driver);
    UNREFERENCED_PARAMETER(path);
    DbgPrint("loaded");
    return STATUS_SUCCESS;
}
"""
MANIFEST = "name: {name}\nimage: {name}.sys\nservice: {name}\nsources: [{name}.c]\n"
CLIENT = "clients: [{name: ask, sources: [ask.c]}]\n"


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    """Two drivers, the first with a client."""
    scratch = Scratch.make(tmp_path / "project")
    for name in ("tiny", "other"):
        (scratch.top / name).mkdir()
        (scratch.top / name / "driver.yaml").write_text(MANIFEST.format(name=name), encoding="utf-8")
        (scratch.top / name / f"{name}.c").write_text(DRIVER, encoding="utf-8")
    (scratch.top / "tiny" / "ask.c").write_text("int main(void) { return 0; }\n", encoding="utf-8")
    with (scratch.top / "tiny" / "driver.yaml").open("a", encoding="utf-8") as file:
        file.write(CLIENT)
    return scratch


def builds(scratch: Scratch, tmp_path: Path) -> CommitBuilds:
    worktree = Worktree(repository=Repository.around(scratch.top), folder=tmp_path / "worktree")
    worktree.make("HEAD")
    chosen = ChosenDrivers(paths=(scratch.top / "tiny", scratch.top / "other"), project=scratch.top)
    chosen.take("x64", into=tmp_path / "clients")
    return CommitBuilds(worktree=worktree, project=scratch.top, chosen=chosen, clients=tmp_path / "clients", arch="x64")


def change(scratch: Scratch, file: str, old: str, new: str) -> str:
    path = scratch.top / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return scratch.commit(f"Change {file}")


def test_what_a_commit_builds(scratch: Scratch, tmp_path: Path) -> None:
    first = scratch.commit("First")
    comment = change(scratch, "tiny/tiny.c", "DbgPrint(", "/* say it */ DbgPrint(")
    change(scratch, "other/other.c", "STATUS_SUCCESS;", "STATUS_SUCCESS")
    broken = change(scratch, "tiny/ask.c", "return 0;", "return")
    change(scratch, "other/other.c", "STATUS_SUCCESS", "STATUS_SUCCESS;")
    change(scratch, "tiny/ask.c", "return", "return 0;")
    build, repository = builds(scratch, tmp_path).build, Repository.around(scratch.top)
    one, two = (build(repository.commit(commit), tmp_path / commit, ()) for commit in (first, comment))
    assert one.digest == two.digest
    # The other driver and the client do not build there; neither is needed.
    build(repository.commit(broken), tmp_path / "three", ["tiny"])
    [package] = read_packages(tmp_path / "three") or ()
    assert package.name == "tiny"
    assert package.clients["ask"].is_relative_to(tmp_path / "clients")
    assert package.provenance.commit == broken
    with pytest.raises(NotBuilt, match=r"^other/other.c:\d+: does not compile: other.c:\d+:\d+: error: expected"):
        build(repository.commit(broken), tmp_path / "four", ["other"])
    assert not (tmp_path / "four").exists()
