"""`lab open`: the page of the last run, a browser only where it can be seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.cli.main import app
from lab.errors import ConfigError


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that a browser got."""
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    addresses: list[str] = []

    def open_it(address: str) -> bool:
        addresses.append(address)
        return True

    monkeypatch.setattr("webbrowser.open", open_it)
    run = tmp_path / "out" / "2026-01-01T00-00-00Z"
    run.mkdir(parents=True)
    (run / "report.html").write_text("<html>", encoding="utf-8")
    (tmp_path / "out" / "latest").symlink_to(run.name)
    return addresses


def test_without_a_display_the_path_is_printed(opened: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["open"])
    assert result.stdout == f"{tmp_path / 'out' / '2026-01-01T00-00-00Z' / 'report.html'}\n"
    assert "there is no display here" in result.stderr
    assert opened == []


def test_with_a_display_a_browser_opens_it(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    assert CliRunner().invoke(app, ["open", "out/latest"]).exit_code == 0
    assert [address.rpartition("/")[2] for address in opened] == ["report.html"]


def test_without_a_usable_browser_the_variable_is_named(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", "/nowhere/browser")
    monkeypatch.setattr("webbrowser.open", lambda _address: False)
    result = CliRunner().invoke(app, ["open"])
    assert result.stdout.endswith("/report.html\n")
    assert "BROWSER" in result.stderr


@pytest.mark.parametrize(
    ("make", "arguments", "said"),
    [
        ("", ["open"], "there is no run in "),
        ("", ["open", "gone"], "there is no folder gone"),
        ("empty", ["open", "empty"], "empty has no report.html"),
    ],
)
def test_a_folder_that_is_not_a_run_is_reported(
    opened: list[str], tmp_path: Path, make: str, arguments: list[str], said: str
) -> None:
    (tmp_path / "out" / "latest").unlink()
    if make:
        (tmp_path / make).mkdir()
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, ConfigError)
    assert said in error.message
    assert error.hint
