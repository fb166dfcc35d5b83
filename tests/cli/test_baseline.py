"""`lab baseline` and `lab compare --baseline`."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.report.model import TestEntry
from lab.report.runfiles import write_run
from tests.cli.running import lab
from tests.compare.recording import entry, recorded


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that keeps its baselines beside its suites, with a last run."""
    (tmp_path / "lab.yaml").write_text("baselines: known-good\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    last_run(tmp_path, entry("a"), entry("b", "infra"))
    return tmp_path


def last_run(project: Path, *tests: TestEntry) -> None:
    folder = project / "out" / "latest"
    folder.mkdir(parents=True, exist_ok=True)
    write_run(folder, recorded(tests).report)


def test_the_last_run_is_saved_listed_and_shown(project: Path) -> None:
    result = lab("baseline", "save", "main")
    assert result.exit_code == 0
    assert result.stdout.startswith("baseline main: known-good/main/wine-tcg-real-x64-")
    assert "note: the lab failed in 1 tests" in result.stderr
    assert "has no drivers any more" in result.stderr
    listed = lab("baseline", "list").stdout
    assert "main" in listed
    assert "1 passed, 1 infra" in listed
    shown = lab("baseline", "show", "main").stdout
    assert "driver   ring " + "a" * 64 in shown
    assert "kept     none, so they cannot be run again" in shown


def test_without_any_the_list_says_how_to_make_one(project: Path) -> None:
    result = lab("baseline", "list")
    assert result.exit_code == 0
    assert "`lab baseline save NAME` keeps the last run" in result.stderr
    shown = lab("baseline", "show", "main")
    assert (shown.exit_code, shown.stdout) == (5, "")
    assert "there is no baseline main" in shown.stderr


@pytest.mark.parametrize("damaged", ["baseline.json", "run.json"])
def test_a_damaged_baseline_is_an_error_and_not_the_same_as_none(project: Path, damaged: str) -> None:
    lab("baseline", "save", "main")
    [file] = (project / "known-good" / "main").glob(f"*/{damaged}")
    file.write_text("{", encoding="utf-8")
    assert isinstance(lab("baseline", "show", "main").exception, ConfigError)


def test_another_folder_can_be_named(project: Path) -> None:
    assert lab("baseline", "save", "main", "--baselines", "shared").exit_code == 0
    assert (project / "shared" / "main").is_dir()
    assert not (project / "known-good").exists()


def test_the_last_run_is_compared_with_a_baseline(project: Path) -> None:
    lab("baseline", "save", "main")
    last_run(project, entry("a", "product"), entry("b"))
    result = lab("compare", "--baseline", "main")
    assert result.exit_code == 1
    assert "BASE: baseline main (" in result.stdout
    assert "NEW: out/latest (" in result.stdout
    assert lab("compare", "--baseline", "main", "out/latest").exit_code == 1


@pytest.mark.parametrize("arguments", [[], ["one"], ["one", "two", "three"], ["--baseline", "main", "one", "two"]])
def test_the_number_of_runs_is_checked(project: Path, arguments: list[str]) -> None:
    assert isinstance(lab("compare", *arguments).exception, ConfigError)
