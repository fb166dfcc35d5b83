"""The folder of a run."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.report.outdir import COPIES, check_named, drop_empty, named_folder, point_latest, timed_folder

NOW = datetime.datetime(2026, 9, 21, 14, 13, 20, tzinfo=datetime.UTC)


def test_a_folder_by_time_and_the_link_to_it(tmp_path: Path) -> None:
    folder = timed_folder(tmp_path / "out", NOW)
    assert folder == tmp_path / "out" / "2026-09-21T14-13-20Z"
    assert not (tmp_path / "out" / "latest").is_symlink()
    point_latest(folder)
    assert (tmp_path / "out" / "latest").readlink() == Path(folder.name)


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    folders = [timed_folder(tmp_path, NOW) for _ in range(3)]
    assert len(set(folders)) == 3
    point_latest(folders[-1])
    assert (tmp_path / "latest").resolve() == folders[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(folder.name for folder in folders), "latest"])


def test_a_folder_of_the_links_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "mine").touch()
    point_latest(timed_folder(tmp_path, NOW))
    assert (tmp_path / "latest" / "mine").exists()


def test_a_dangling_link_is_moved(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to("gone")
    folder = timed_folder(tmp_path, NOW)
    point_latest(folder)
    assert (tmp_path / "latest").resolve() == folder


def test_a_named_folder_may_be_there_if_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert named_folder(tmp_path / "empty").is_dir()
    assert named_folder(tmp_path / "new" / "deep").is_dir()


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "run.json").touch()
    with pytest.raises(ConfigError, match="is not empty"):
        named_folder(tmp_path / "used")
    with pytest.raises(ConfigError, match="is a file"):
        named_folder(tmp_path / "used" / "run.json")


def test_a_folder_cannot_lie_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match=r"lies below .*mine\.txt, which is a file"):
        named_folder(tmp_path / "mine.txt" / "sub" / "deeper")


def test_only_a_folder_without_results_is_dropped(tmp_path: Path) -> None:
    for name, files, there in (
        ("a", [], False),
        ("b", ["junit.xml"], False),
        ("copies", [COPIES], False),
        ("c", ["junit.xml", "pytest.log"], True),
    ):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).mkdir() if file == COPIES else (tmp_path / name / file).touch()
        drop_empty(tmp_path / name)
        assert (tmp_path / name).exists() is there
        assert not there or len(list((tmp_path / name).iterdir())) == len(files)


def test_a_folder_of_the_user_is_emptied_of_the_runs_files_and_stays(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").touch()
    (tmp_path / COPIES).mkdir()
    drop_empty(tmp_path, made=False)
    assert tmp_path.is_dir()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_removed_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    there, link = tmp_path / "there", tmp_path / "link"
    there.mkdir()
    link.symlink_to(there)
    with caplog.at_level("INFO"):
        drop_empty(link)  # rmdir refuses a link
    assert there.is_dir()
    assert "stays, although no run is in it" in caplog.text


def test_a_folder_that_lab_run_prepared_holds_the_copies_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / COPIES).mkdir()
    check_named(tmp_path, prepared=True)
    with pytest.raises(ConfigError, match="is not empty"):
        check_named(tmp_path)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match="is not empty"):
        check_named(tmp_path, prepared=True)
