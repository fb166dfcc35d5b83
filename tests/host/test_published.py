"""Folders that are made whole or not at all: the work folder, its lock, its publication, and what a killed maker left."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from lab.errors import ImageError
from lab.host.published import PublishedFolders, remove_folder

WRITING = "import pathlib, sys, time\nfor n in range(10**6): pathlib.Path(sys.argv[1], str(n)).touch()"


@pytest.fixture
def folders(tmp_path: Path) -> PublishedFolders:
    return PublishedFolders(tmp_path / "all", "maker.lock", marks=("mark",))


def names(folders: PublishedFolders) -> list[str]:
    return sorted(path.name for path in folders.base.iterdir() if path.name != ".lock")


def refuse(folder: Path, error: OSError) -> None:
    raise AssertionError(f"{folder}: {error}")


def make(folders: PublishedFolders, name: str, content: str, *, replaces: bool = False) -> Path:
    folders.base.mkdir(exist_ok=True)
    with folders.work_folder(name) as work:
        (work / "mark").write_text(content)
        folders.publish(work, folders.base / name, replaces=replaces)
    return folders.base / name


def test_a_folder_gets_its_name_when_it_is_complete_and_on_the_disk(
    folders: PublishedFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    made = make(folders, "one", "1")
    assert names(folders) == ["one"]
    assert [path.name for path in made.iterdir()] == ["mark"]
    assert {made.stat().st_ino, (made / "mark").stat().st_ino, folders.base.stat().st_ino} <= set(synced)


def test_a_maker_that_fails_leaves_nothing(folders: PublishedFolders) -> None:
    folders.base.mkdir()
    foreign = folders.base / "one"
    foreign.mkdir()
    (foreign / "thesis.txt").touch()
    with pytest.raises(OSError, match="not empty"):
        make(folders, "one", "1")
    assert names(folders) == ["one"]
    assert (foreign / "thesis.txt").exists()


def test_another_folder_of_the_name_stays_unless_it_is_to_be_replaced(folders: PublishedFolders) -> None:
    make(folders, "one", "old")
    with pytest.raises(OSError, match="not empty"):
        make(folders, "one", "new")
    assert (folders.base / "one" / "mark").read_text() == "old"
    make(folders, "one", "new", replaces=True)
    assert (folders.base / "one" / "mark").read_text() == "new"
    assert names(folders) == ["one"]


def test_a_work_folder_is_a_leftover_once_its_lock_is_free(folders: PublishedFolders) -> None:
    folders.base.mkdir()
    dead = folders.base / ".two.0123abcd.tmp"
    dead.mkdir()
    (dead / "mark").touch()
    with folders.work_folder("one") as work:
        assert folders.leftovers() == [dead]
        assert folders.sweep(refuse) == [dead]
        assert work.is_dir()


@pytest.mark.parametrize("name", ["notes", ".two.tmp", ".two.0123abcd.tmp"])
def test_folders_of_others_stay(folders: PublishedFolders, name: str) -> None:
    """A work folder's name is not enough where leftovers have marks."""
    (folders.base / name).mkdir(parents=True)
    (folders.base / name / "thesis.txt").touch()
    assert folders.sweep(refuse) == []
    assert names(folders) == [name]


def test_folders_that_cannot_be_removed_are_named_and_the_others_are_removed(
    folders: PublishedFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        folder = folders.base / f".x.0000000{number}.tmp"
        folder.mkdir(parents=True)
        (folder / "mark").touch()

    def removed(folder: Path, *, last: object) -> None:
        if folder.name.endswith("0.tmp"):
            raise PermissionError(1, "not permitted")
        remove_folder(folder)

    monkeypatch.setattr("lab.host.published.remove_folder", removed)
    stuck: list[str] = []
    assert [path.name for path in folders.sweep(lambda folder, error: stuck.append(folder.name))] == [".x.00000001.tmp"]
    assert stuck == [".x.00000000.tmp"]


def test_a_second_maker_says_that_it_waits_and_gives_up_in_time(folders: PublishedFolders) -> None:
    folders.base.mkdir()
    said: list[str] = []
    with (
        FileLock(folders.base / ".one.lock"),
        pytest.raises(ImageError, match=r"\.one\.lock"),
        folders.maker("one", wait_s=0.01, waits=lambda: said.append("waits"), busy=lambda lock: ImageError(lock.name)),
    ):
        raise AssertionError("two makers at once")
    assert said == ["waits"]


def test_marks_are_removed_last(folders: PublishedFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted removal leaves a folder that is still recognized as the lab's."""
    made = make(folders, "one", "1")
    (made / "a").touch()
    (made / "z").touch()
    monkeypatch.setattr("shutil.rmtree", lambda folder: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        folders.retire(made)
    [left] = folders.base.glob(".one.*.tmp")
    assert [path.name for path in left.iterdir()] == ["mark"]
    monkeypatch.undo()
    assert folders.sweep(refuse) == [left]


def test_a_folder_into_which_a_process_still_writes_is_still_removed(tmp_path: Path) -> None:
    """Processes of a build end a moment after it."""
    with subprocess.Popen([sys.executable, "-c", WRITING, str(tmp_path / "work")], stderr=subprocess.DEVNULL) as writer:
        (tmp_path / "work").mkdir()
        ender = threading.Timer(0.3, writer.kill)
        ender.start()
        try:
            remove_folder(tmp_path / "work")
        finally:
            writer.kill()
            ender.join()
    assert not (tmp_path / "work").exists()
