"""`lab report`: a run's report is made anew from its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.cli.child import ChildEnd
from lab.errors import ConfigError
from tests.cli.running import FakeChild, lab


def test_report_writes_the_page_again(child: Callable[..., FakeChild], tmp_path: Path) -> None:
    child(ChildEnd(0), ["passed", "passed"])
    assert lab("run", "--out", "o").exit_code == 0
    (tmp_path / "o" / "report.html").unlink()
    (tmp_path / "o" / "run.json").unlink()
    result = lab("report", "o")
    assert result.exit_code == 0
    assert (tmp_path / "o" / "report.html").exists()
    assert json.loads((tmp_path / "o" / "run.json").read_text(encoding="utf-8"))["totals"] == {"passed": 2}


def test_report_of_no_run_is_an_error(tmp_path: Path) -> None:
    result = lab("report", str(tmp_path))
    assert isinstance(result.exception, ConfigError)
    assert "is not the folder of a run" in str(result.exception)
    result = lab("report", str(tmp_path / "nothere"))
    assert isinstance(result.exception, ConfigError)
    assert "there is no folder" in str(result.exception)


@pytest.mark.parametrize("name", ["run.json", "meta.json"])
@pytest.mark.parametrize("text", ['{"lab_version": "0", "sta', '{"name": "foreign"}', "[]"])
def test_report_of_a_foreign_file_names_it(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    result = lab("report", str(tmp_path))
    assert isinstance(result.exception, ConfigError)
    assert str(tmp_path / name) in str(result.exception)
