"""Where a driver comes from: version resources as windres writes them, and commits of real repositories."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.host.process import run
from lab.toolchain.compile import find_compiler
from lab.toolchain.provenance import Provenance, commit_around, commit_of, file_version
from lab.toolchain.select import resolve_drivers
from lab.toolchain.sign import SigningKey

_VERSION = """1 VERSIONINFO FILEVERSION 1,4,0,7
BEGIN
  BLOCK "StringFileInfo" BEGIN BLOCK "040904b0" BEGIN VALUE "FileVersion", "what a person wrote" END END
END
"""


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("GIT_CONFIG_GLOBAL", str(tmp_path / "none")), ("GIT_CONFIG_NOSYSTEM", "1")):
        monkeypatch.setenv(name, value)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Somebody")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "somebody@example.org")


def git(folder: Path, *arguments: str) -> str:
    return run(["git", *arguments], 60, cwd=folder).stdout.strip()


def repository(folder: Path) -> str:
    """All that is in a folder, committed; gives the commit."""
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


def test_the_version_of_a_file(link: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "v.rc").write_text(_VERSION)
    run(["x86_64-w64-mingw32-windres", tmp_path / "v.rc", tmp_path / "v.o"], 60)
    assert file_version(link(str(tmp_path / "v.o"))) == "1.4.0.7"
    assert file_version(link(name="plain.sys")) == ""


def test_a_commit_and_what_is_not_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "a repo"
    driver, header = top / "driver", top / "inc" / "common.h"
    for file in (driver / "d.c", header, top / "other" / "x.c"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("one\n")
    (top / ".gitignore").write_text("*.sys\n")
    commit = repository(top)
    # As in a hook of another repository.
    (tmp_path / "elsewhere").mkdir()
    git(tmp_path / "elsewhere", "init", "--quiet")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere" / ".git"))
    assert commit_of(driver, [header]) == (commit, False)
    (driver / "d.sys").write_text("a build")
    (top / "other" / "x.c").write_text("two\n")
    assert commit_of(driver, [header, Path("/usr/include/stdio.h")]) == (commit, False)
    header.write_text("two\n")
    assert commit_of(driver) == (commit, False)
    assert commit_of(driver, [driver / ".." / "inc" / "common.h"]) == (commit, True)
    header.write_text("one\n")
    (driver / "new.c").write_text("not added yet\n")
    assert commit_of(driver, [header]) == (commit, True)


def test_a_folder_without_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commit_of(tmp_path) == commit_around(tmp_path) == ("", None)
    git(tmp_path, "init", "--quiet")
    assert commit_of(tmp_path) == ("", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(tmp_path) == ("", None)


def test_a_finished_driver_in_an_ignored_folder_is_as_dirty_as_its_repository(
    driver_folder: Callable[..., Path],
    link: Callable[..., Path],
    tmp_path: Path,
    key: SigningKey,
    built_clients: Callable[[Path], Path],
) -> None:
    """git reports nothing about an ignored folder, which does not prove a clean build."""
    built_clients(tmp_path / "build")
    top = tmp_path / "repo"
    source = top / "src" / "kettle.c"
    source.parent.mkdir(parents=True)
    source.write_text("one\n")
    (top / ".gitignore").write_text("x64/\n")
    commit = repository(top)
    folder = driver_folder("kettle", source=None).rename(top / "x64")
    out = tmp_path / "out"
    link(name="kettle.sys").rename(folder / "kettle.sys")

    def found(copies: str, path: Path) -> tuple[str, bool | None]:
        packages = resolve_drivers([path], into=out / copies, out=tmp_path / "build", key=key)
        [mine] = [package.provenance for package in packages if top in package.path.parents]
        return mine.commit, mine.dirty

    assert found("clean", folder) == (commit, False)
    source.write_text("two\n")
    assert found("changed", folder) == (commit, True)
    shutil.copy(folder / "kettle.sys", top / "x64" / "sync.sys")
    assert found("replacement", top / "x64" / "sync.sys") == (commit, True)
    source.write_text("one\n")
    (top / "notes.txt").write_text("not added\n")
    assert found("untracked", folder) == (commit, None)


def test_a_resolved_driver_says_where_it_comes_from(
    driver_folder: Callable[..., Path], tmp_path: Path, key: SigningKey
) -> None:
    inc = tmp_path / "common.h"
    inc.write_text("#include <ntddk.h>\n")
    folder = driver_folder(
        source='#include "../common.h"\nNTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT d, PUNICODE_STRING p)\n'
        '{ (void)d; (void)p; return DbgPrint("x"); }\n'
    )
    commit = repository(tmp_path)
    out = tmp_path.parent / f"{tmp_path.name}-out"

    def tiny(copies: str) -> Provenance:
        packages = resolve_drivers([folder], into=out / copies, out=out / "build", key=key)
        return next(package.provenance for package in packages if package.name == "tiny")

    first = tiny("one")
    assert first == Provenance(
        size=(out / "one" / "tiny" / "tiny.sys").stat().st_size,
        signer="Driver Test Lab (test signing only)",
        commit=commit,
        dirty=False,
        compiler=find_compiler("x64").version,
    )
    inc.write_text("#include <ntddk.h>\n/* not committed */\n")
    assert tiny("two").dirty is True
