"""Errors and signals at the command line: the message, and the exit code."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# The package gives the function of this name.
main_module = importlib.import_module("lab.cli.main")


def run_main(monkeypatch: pytest.MonkeyPatch, error: Exception, *arguments: str) -> int:
    def app(*, standalone_mode: bool) -> None:
        assert not standalone_mode
        raise error

    monkeypatch.setattr(main_module, "app", app)
    monkeypatch.setattr(sys, "argv", ["lab", *arguments])
    with pytest.raises(SystemExit) as caught:
        main_module.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_an_error_about_a_file_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(monkeypatch, PermissionError(13, "Permission denied", "/cache/x")) == 10
    assert capsys.readouterr().err == "lab: /cache/x: Permission denied\n"


def test_its_traceback_is_shown_on_request(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(monkeypatch, PermissionError(13, "Permission denied", "/cache/x"), "--debug", "ps") == 10
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.endswith("lab: /cache/x: Permission denied\n")


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError(5, "Input/output error")])
def test_an_unexpected_error_is_shown_completely(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    assert run_main(monkeypatch, error) == 10
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "unexpected error" in told


_BUILD = """
import signal, sys, time
from pathlib import Path
from lab.cli import image
from lab.cli.main import main
from lab.image.selfbuilt import SelfBuilt
from lab.live import resolve


class Slow:
    name = "slow"

    def key(self):
        return "k"

    def build(self, folder, progress):
        try:
            print("building", flush=True)
            time.sleep(600)
        finally:
            # A second signal while it cleans up.
            signal.raise_signal(signal.SIGTERM)
            (Path(sys.argv[0]) / "cleaned").touch()


class Kind(SelfBuilt):
    def recipe_names(self):
        return ("slow",)

    def recipe(self, name):
        return Slow()


image.recipes.kind_of_recipe = lambda _name: Kind()
resolve.probe_accelerators = lambda _cache: None
resolve.choose_accelerator = lambda *_: "tcg"
sys.argv[:2] = [sys.argv[1]]
main()
"""


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGTERM, ["image", "build", "slow"]),
        (signal.SIGHUP, ["image", "build", "slow"]),
        (signal.SIGTERM, ["up"]),
        (signal.SIGTERM, ["run", "test_it.py"]),
    ],
)
def test_a_build_that_is_ended_by_a_signal_cleans_up_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, words: list[str]
) -> None:
    """Also one that another command began: `lab up` and `lab run` died of the signal, and the half image stayed."""
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n", encoding="utf-8")
    command = [sys.executable, "-c", _BUILD, str(tmp_path), *words]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "building\n"
            process.send_signal(number)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + number
    assert f"interrupted ({number.name}); nothing of the image is kept" in told
    assert (tmp_path / "cleaned").exists()
    assert list((tmp_path / "images").glob(".*.tmp")) == []
