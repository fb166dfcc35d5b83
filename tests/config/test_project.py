"""Which folder is the user's project, and which lab file is in force below it."""

from __future__ import annotations

from pathlib import Path

from lab.config import load_settings
from lab.config.project import find_lab_file, user_project


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def test_the_nearest_lab_file_makes_the_project(tmp_path: Path) -> None:
    below = folder(tmp_path / "suites" / "deep")
    folder(tmp_path / ".git")
    assert user_project(cwd=below) == tmp_path
    (tmp_path / "suites" / "lab.yaml").touch()
    assert user_project(cwd=below) == tmp_path / "suites"
    assert find_lab_file(below) == tmp_path / "suites" / "lab.yaml"


def test_a_lab_file_above_the_repository_is_another_projects(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").touch()
    below = folder(tmp_path / "mine" / "suites")
    (tmp_path / "mine" / ".git").touch()  # as in a worktree or a submodule
    assert find_lab_file(below) is None
    assert user_project(cwd=below) == tmp_path / "mine"


def test_without_any_of_them_the_project_is_the_current_folder(tmp_path: Path) -> None:
    assert user_project(cwd=tmp_path) == tmp_path


def test_a_named_lab_file_says_where_the_search_starts(tmp_path: Path) -> None:
    folder(tmp_path / "mine" / ".git")
    named = folder(tmp_path / "mine" / "ci") / "nightly.yaml"
    named.touch()
    assert user_project(named, cwd=tmp_path) == tmp_path / "mine"


def test_settings_of_a_folder_below_are_those_of_the_project(tmp_path: Path) -> None:
    """Only the current folder was searched: in a folder below, the defaults applied without a message."""
    (tmp_path / "lab.yaml").write_text("drivers: [drv]\n", encoding="utf-8")
    settings = load_settings({}, environ={}, cwd=folder(tmp_path / "suites"))
    assert settings.values.drivers == (str(tmp_path / "drv"),)
    assert settings.project == tmp_path


def test_named_drivers_stand_beside_those_of_the_lab_file(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("drivers: [one, two]\n", encoding="utf-8")
    settings = load_settings({"drivers": ("mine.sys",)}, environ={}, cwd=tmp_path)
    assert settings.values.drivers == (str(tmp_path / "mine.sys"),)
    assert settings.beside == (str(tmp_path / "one"), str(tmp_path / "two"))
    assert load_settings({}, environ={}, cwd=tmp_path).beside == ()
