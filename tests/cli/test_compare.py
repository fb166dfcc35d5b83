"""`lab compare`: its arguments, what it writes, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.report.model import TestEntry
from lab.report.runfiles import write_run
from tests.cli.running import lab
from tests.compare.recording import entry, recorded


def run_of(folder: Path, *tests: TestEntry) -> Path:
    folder.mkdir()
    write_run(folder, recorded(tests).report)
    return folder


def test_folders_and_files_are_compared(tmp_path: Path) -> None:
    old, new = run_of(tmp_path / "old", entry("a")), run_of(tmp_path / "new", entry("a", "product"))
    result = lab("compare", str(old), str(new / "run.json"))
    assert result.exit_code == 1
    assert "newly red           suites/test_ring.py::a" in result.stdout
    assert lab("compare", str(new), str(old)).exit_code == 0
    assert lab("compare", str(old), str(old)).exit_code == 0


def test_json_and_markdown(tmp_path: Path) -> None:
    old, new = run_of(tmp_path / "old", entry("a")), run_of(tmp_path / "new", entry("a", "crash"))
    result = lab("compare", str(old), str(new), "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["changes"][0]["change"] == "newly red"
    result = lab("compare", str(old), str(new), "--markdown")
    assert result.exit_code == 3
    assert result.stdout.startswith("### 1 newly red")
    assert isinstance(lab("compare", str(old), str(new), "--markdown", "--json").exception, ConfigError)


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "is not the folder of a run"), ("{", "is no run.json of this version of the lab"), ("[]", "is no run.json")],
)
def test_what_is_no_run_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    new = run_of(tmp_path / "new", entry("a"))
    (tmp_path / "old").mkdir()
    if text is not None:
        (tmp_path / "old" / "run.json").write_text(text, encoding="utf-8")
    result = lab("compare", str(tmp_path / "old"), str(new))
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    result = lab("compare", str(tmp_path / "nothing"), str(run_of(tmp_path / "new", entry("a"))))
    assert isinstance(result.exception, ConfigError)
    assert "nothing: No such file or directory" in str(result.exception)
