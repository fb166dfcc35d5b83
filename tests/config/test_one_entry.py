"""A new setting is one field in lab/config/model.py: all ways to set it, and its documentation, come from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import lab
from lab.config.model import LabFile
from lab.config.setting_table import keys_of
from tests.config import reference

ROOT = Path(__file__).resolve().parents[2]
_FIELD = """
    tempo: Annotated[Literal["andante", "presto"], Setting(command=CommandOption(("run", "up"), "How fast it plays"))] = Field(
        default="andante", description="speed of the toy"
    )
"""
_BEFORE = "\n\nclass LabFile("
#: Shows the merged value, then what `lab run` makes of it.
_COMMAND = """
import sys
from pathlib import Path
from lab.cli.again import next_command
from lab.cli.pytest_args import pytest_arguments
from lab.config import load_settings
from lab.config.words import Words
from lab.report.model import TestEntry

settings = load_settings({"tempo": sys.argv[1] or None})
print(settings.values.tempo, "from", settings.sources["tempo"])
print(*pytest_arguments(
    settings, image="i", accelerator="tcg", out=Path("o"), suites=[], workers="1", words=Words(), rest=[]
))
test = TestEntry.model_construct(nodeid="test_it.py::t", verdict="crash")
print(next_command(test, settings))
"""
Run = Callable[..., str]


@pytest.fixture
def with_one_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs Python with a copy of the package whose model has one more field; returns what is printed."""
    package = tmp_path / "tree" / "lab"
    package.mkdir(parents=True)
    original = Path(lab.__file__).parent
    for part in original.iterdir():
        if part.name not in ("config", "__pycache__"):
            (package / part.name).symlink_to(part)
    shutil.copytree(original / "config", package / "config", ignore=shutil.ignore_patterns("__pycache__"))
    model = package / "config" / "model.py"
    text = model.read_text(encoding="utf-8")
    assert text.count(_BEFORE) == 1
    model.write_text(text.replace(_BEFORE, _FIELD + _BEFORE), encoding="utf-8")
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(package.parent), str(ROOT))))
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: str) -> str:
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False)
        return done.stdout + done.stderr

    return run


def test_the_command_line_the_environment_and_the_lab_file_set_it(with_one_more: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_one_more("-c", _COMMAND, "").startswith("andante from default\n")
    Path("lab.yaml").write_text("tempo: presto\n", encoding="utf-8")
    assert with_one_more("-c", _COMMAND, "").startswith("presto from lab file\n")
    monkeypatch.setenv("LAB_TEMPO", "andante")
    assert with_one_more("-c", _COMMAND, "").startswith("andante from environment\n")
    value, passed, again = with_one_more("-c", _COMMAND, "presto").splitlines()
    assert value == "presto from option"
    assert "--lab-tempo=presto" in passed.split()
    assert "--tempo presto" in again
    assert "--tempo must be 'andante' or 'presto', not 'largo'" in with_one_more("-m", "lab", "run", "--tempo", "largo")
    monkeypatch.setenv("LAB_TEMPO", "largo")
    assert "environment variable LAB_TEMPO must be 'andante' or 'presto', not 'largo'" in with_one_more("-m", "lab", "run")


def test_pytest_has_an_option_and_an_ini_key_and_tests_see_the_value(with_one_more: Run) -> None:
    Path("test_it.py").write_text("def test_it(lab_config): print('tempo is', lab_config.tempo)\n", encoding="utf-8")
    Path("pytest.ini").write_text("[pytest]\nlab_tempo = presto\n", encoding="utf-8")
    pytest_ = ("-m", "pytest", "-s", "-q", "-p", "no:cacheprovider")
    assert "tempo is presto" in with_one_more(*pytest_)
    assert "tempo is andante" in with_one_more(*pytest_, "--lab-tempo=andante")
    assert "--lab-tempo: invalid choice: 'largo'" in with_one_more(*pytest_, "--lab-tempo=largo")
    Path("pytest.ini").write_text("[pytest]\nlab_tempo = largo\n", encoding="utf-8")
    assert "ini key lab_tempo must be one of andante, presto, not 'largo'" in with_one_more(*pytest_)


def test_help_schema_and_reference_describe_it(with_one_more: Run) -> None:
    assert "--tempo <str>" in (shown := with_one_more("-m", "lab", "up", "--help"))
    assert "How fast it plays" in shown
    assert "--tempo" not in with_one_more("-m", "lab", "fork", "--help")
    assert '"description": "speed of the toy"' in with_one_more("-m", "lab.config.schema")
    row = "| `tempo` | speed of the toy (`andante`, `presto`) | `andante` | `LAB_TEMPO` | `--lab-tempo` | `--tempo` (run, up) |"
    assert row in with_one_more("-m", "tests.config.reference").splitlines()


def test_the_page_of_settings_is_current() -> None:
    assert reference.DOCUMENT.read_text(encoding="utf-8") == reference.document(), f"run: {reference.COMMAND}"


def test_no_two_settings_share_a_way() -> None:
    keys = keys_of(LabFile)
    for ways in (
        [key.variable for key in keys if key.variable],
        [key.pytest_flag for key in keys if key.pytest_flag],
        [flag for key in keys for flag in key.command_flags],
    ):
        assert len(ways) == len(set(ways))
        assert ways


def test_every_command_of_a_setting_exists() -> None:
    from lab.cli.commands import MODULES

    assert {command for key in keys_of(LabFile) for command in key.commands} <= set(MODULES)
