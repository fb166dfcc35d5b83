"""`lab selftest`, with a double of the run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from lab.cli import selftest
from lab.cli.main import app
from lab.errors import LabError
from lab.report.pieces import Piece
from lab.report.runfiles import write_run
from tests.report.invented import invented_run


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """The runs that were asked for; each leaves a report, in which no self-test can be found."""
    seen: list[dict[str, Any]] = []

    def played(settings: Any, *, out: Path, arguments: list[str]) -> int:
        seen.append({"values": settings.values, "out": out, "suite": arguments[0]})
        if "none" not in out.name:
            out.mkdir(parents=True)
            write_run(out, invented_run())
        return 3

    monkeypatch.setattr(selftest, "run_suites", played)
    monkeypatch.chdir(tmp_path)
    return seen


@pytest.mark.parametrize("what", ["crash", "hang"])
def test_a_missing_piece_is_an_error_of_the_lab(runs: list[dict[str, Any]], tmp_path: Path, what: str) -> None:
    result = CliRunner().invoke(app, ["selftest", what, "--guest", "wine", "--accel", "tcg", "--out", str(tmp_path / "x")])
    assert result.exit_code == 10
    assert "missing   verdict: the run has no test" in result.output
    assert "missing: verdict" in result.output
    [asked] = runs
    values = asked["values"]
    assert (values.image, values.workers, values.accelerator, values.crash_dump) == ("wine", 1, "tcg", "always")
    assert [Path(driver).name for driver in values.drivers] == ["selftest"]
    assert Path(asked["suite"]).name == f"test_{what}.py"
    assert Path(asked["suite"]).is_file()


def test_nothing_missing_is_success(runs: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [Piece("code", "ok", "0xD1"), Piece("screenshot", "not here", "no display")]
    monkeypatch.setattr(selftest, "crash_pieces", lambda *_, **__: pieces)
    result = CliRunner().invoke(app, ["selftest", "crash"])
    assert result.exit_code == 0
    assert "ok        code: 0xD1\nnot here  screenshot: no display\n" in result.output
    # Beside the other runs, and not the latest of them.
    [folder] = (tmp_path / "out").iterdir()
    assert folder.name.endswith("Z-selftest")


def test_a_run_that_leaves_nothing_is_reported(runs: list[dict[str, Any]], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["selftest", "crash", "--out", str(tmp_path / "none")])
    assert isinstance(result.exception, LabError)
    assert "left no run.json" in result.exception.message


def test_a_table_on_a_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, no_color=True)
    selftest.show([Piece("memory dump", "missing", "[red] evidence/x/memory.elf")], "free guest", console)
    assert "Evidence on free guest" in out.getvalue()
    assert "[red] evidence/x/memory.elf" in out.getvalue()


def test_lab_crash_dump_is_a_command(tmp_path: Path) -> None:
    (tmp_path / "x.elf").write_bytes(b"\x7fELF" + bytes(64))
    result = CliRunner().invoke(app, ["crash", "dump", str(tmp_path / "x.elf")])
    assert "elf2dmp" in getattr(result.exception, "hint", "")
