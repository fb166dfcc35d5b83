"""Results are written elsewhere when their own folder is full, and found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.report.elsewhere import all_folders, find, put_aside, write_text
from lab.report.html import write_html
from lab.report.model import RunReport, TestEntry
from lab.report.runfiles import HTML_FILE, RUN_FILE, read_run, write_run
from lab.report.worker_files import ResultWriter, read_workers


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder; its files ``…​.part`` are on a full disk."""
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def fill(out: Path, *names: str) -> None:
    for name in names:
        (out / f"{name}.part").symlink_to("/dev/full")


def test_a_file_goes_where_there_is_room(out: Path, tmp_path: Path) -> None:
    fill(out, "a.txt")
    path = write_text(out, "a.txt", "text\n")
    assert path.is_relative_to(tmp_path / "state")
    assert find(out, "a.txt") == path
    assert path.read_text(encoding="utf-8") == "text\n"
    assert not (out / "a.txt").exists()
    assert all_folders(out) == [out, path.parent]


def test_a_file_that_fits_stays_in_its_own_folder(out: Path) -> None:
    assert write_text(out, "a.txt", "text") == out / "a.txt"
    assert all_folders(out) == [out]
    assert [path.name for path in out.iterdir()] == ["a.txt"]


def test_the_state_folder_may_be_full_too(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(out, "a.txt")
    (tmp_path / "state").write_text("no folder", encoding="utf-8")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "temporary"))
    assert write_text(out, "a.txt", "text").is_relative_to(tmp_path / "temporary")


def test_a_report_is_found_again(out: Path, run: RunReport) -> None:
    fill(out, RUN_FILE, HTML_FILE)
    write_run(out, run)
    write_html(out, run)
    again = read_run(out)
    assert again is not None
    assert again.totals == run.totals
    assert find(out, HTML_FILE).exists()


def test_a_worker_goes_on_elsewhere(out: Path) -> None:
    (out / "workers").mkdir()
    with ResultWriter(out, "gw0") as writer:
        writer.collected(["a.py::one", "a.py::two"])
        entry = TestEntry(nodeid="a.py::one", verdict="passed", duration_s=1.0, started=1.0, worker="gw0")
        writer.test(entry)
        # From here on, the disk is full.
        for path in (out / "workers").iterdir():
            text = path.read_bytes()
            (out / f"kept-{path.name}").write_bytes(text)
        writer.close()
        for path in list((out / "workers").iterdir()):
            path.unlink()
            path.symlink_to("/dev/full")
        writer.test(entry.model_copy(update={"nodeid": "a.py::two", "verdict": "product"}))
    for path in list((out / "workers").iterdir()):
        path.unlink()
        (out / f"kept-{path.name}").rename(path)
    records = read_workers(out)
    assert [(test.nodeid, test.verdict) for test in records.tests] == [("a.py::one", "passed"), ("a.py::two", "product")]
    assert records.collected == ["a.py::one", "a.py::two"]


def test_files_of_an_earlier_run_are_not_part_of_this_one(out: Path) -> None:
    fill(out, "a.txt")
    earlier = write_text(out, "a.txt", "old")
    put_aside(out)
    assert not find(out, "a.txt").exists()
    assert earlier.parent.with_name(f"{earlier.parent.name}.1").is_dir()


def test_no_room_anywhere_is_an_error(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(out, "a.txt")
    monkeypatch.setattr("lab.report.elsewhere.other_folders", lambda _out: iter(()))
    with pytest.raises(OSError, match="No space left"):
        write_text(out, "a.txt", "text")
