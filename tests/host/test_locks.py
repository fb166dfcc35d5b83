"""Lock files that users and runs of one host share."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.host.locks import free_ranges, lock_range, locked, locks_dir, open_lock


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.delenv("LAB_LOCKS", raising=False)
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    found = tmp_path / "first", tmp_path / "second"
    for place in found:
        place.mkdir()
    return found


def test_the_folder_is_for_all_users(places: tuple[Path, Path]) -> None:
    folder = locks_dir(places)
    assert folder.parent == places[0]
    assert folder.stat().st_mode & 0o7777 == 0o1777
    assert locks_dir(places) == folder
    os.close(open_lock(folder, "one"))
    assert (folder / "one").stat().st_mode & 0o777 == 0o666


def test_a_file_in_the_place_of_the_folder_is_left_alone(
    places: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (places[0] / "driver-test-lab").symlink_to(tmp_path)
    assert locks_dir(places).parent == places[1]
    (places[1] / "driver-test-lab").rmdir()
    (places[1] / "driver-test-lab").write_text("mine")
    with caplog.at_level(logging.WARNING):
        assert locks_dir(places) == tmp_path / "state" / "locks"
    assert "does not wait for runs of other users" in caplog.text


def test_another_folder_by_the_environment(places: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_LOCKS", str(tmp_path / "mine"))
    assert locks_dir(places) == tmp_path / "mine"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(ConfigError, match="cannot be opened") as caught:
        open_lock(tmp_path, "lock")
    assert "LAB_LOCKS" in caught.value.hint
    assert not (tmp_path / "precious").exists()


def test_ranges_that_others_hold_are_not_free(tmp_path: Path) -> None:
    first, second, third = (open_lock(tmp_path, "ranges") for _ in range(3))
    try:
        lock_range(first, 70, 10)
        lock_range(first, 10, 20)
        lock_range(second, 30, 5)
        assert list(free_ranges(third, 0, 100)) == [(0, 10), (35, 35), (80, 20)]
        assert list(free_ranges(third, 10, 20)) == []
        with pytest.raises(BlockingIOError):
            lock_range(third, 34, 10)
        os.close(first)
        assert list(free_ranges(third, 0, 100)) == [(0, 30), (35, 65)]
    finally:
        os.close(second)
        os.close(third)


def test_a_lock_is_let_go_at_the_end(tmp_path: Path) -> None:
    with locked(tmp_path, "one", fcntl.LOCK_SH), locked(tmp_path, "one", fcntl.LOCK_SH):
        pass
    with locked(tmp_path, "one", fcntl.LOCK_EX):
        pass
