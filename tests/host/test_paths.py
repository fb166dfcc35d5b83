from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.host import paths
from lab.image.store import images_dir


@pytest.mark.parametrize(
    ("variable", "function"),
    [("LAB_CACHE", paths.cache_dir), ("LAB_DATA", paths.data_dir), ("LAB_STATE", paths.state_dir)],
)
def test_the_environment_decides(
    variable: str, function: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "a" / "b"))
    assert function() == tmp_path / "a" / "b"
    assert stat.S_IMODE(function().stat().st_mode) == 0o700
    monkeypatch.setenv(variable, str(tmp_path / "c"))
    assert function() == tmp_path / "c"


def test_the_user_s_folders_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert paths.cache_dir() == tmp_path / paths.APP_NAME


def test_run_folders_are_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_STATE", str(tmp_path))
    assert paths.runs_dir() == tmp_path / "runs"


@pytest.mark.parametrize(
    ("variable", "function", "what"),
    [
        ("LAB_CACHE", paths.cache_dir, "cache"),
        ("LAB_DATA", paths.data_dir, "data"),
        ("LAB_STATE", paths.state_dir, "state"),
        ("LAB_CACHE", images_dir, "cache"),
    ],
)
def test_a_folder_that_cannot_be_made_is_reported_with_its_variable(
    variable: str, function: Callable[[], Path], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file" / "x"))
    with pytest.raises(ConfigError, match=f"the {what} folder {tmp_path}/file/x cannot be made: Not a directory") as caught:
        function()
    assert variable in caught.value.hint


def test_a_cache_folder_given_by_hand_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file/images cannot be made: Not a directory") as caught:
        images_dir(tmp_path / "file")
    assert "--cache" in caught.value.hint
