"""A command that is printed works without changes, from the reader's current folder."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from lab.cli import invocation
from lab.cli.again import next_command
from lab.cli.invocation import own_command, with_own_command
from lab.config import load_settings
from lab.gate.verdict import Verdict
from lab.report.model import TestEntry
from lab.report.places import address_of, from_folder


def entry(nodeid: str, verdict: Verdict = "product") -> TestEntry:
    return TestEntry(nodeid=nodeid, verdict=verdict, duration_s=1.0, started=1.0, worker="gw0")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "project" / "nightly").mkdir(parents=True)
    (tmp_path / "project" / "nightly" / "test_a.py").touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for name in [name for name in os.environ if name.startswith("LAB_")]:
        monkeypatch.delenv(name)
    return tmp_path / "project"


@pytest.mark.parametrize(
    ("here", "said"),
    [("project", "nightly/test_a.py::t"), ("project/nightly", "test_a.py::t"), ("elsewhere", "{project}/nightly/test_a.py::t")],
)
def test_the_test_is_named_from_the_current_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch, here: str, said: str
) -> None:
    monkeypatch.chdir(project.parent / here)
    line = next_command(entry("nightly/test_a.py::t"), load_settings({}), root=str(project))
    assert line == f"lab run --guest wine --workers 1 --keep failed {said.format(project=project)}"
    assert Path(shlex.split(line)[-1].partition("::")[0]).is_file()


@pytest.mark.parametrize(
    "inside", ["test_b[a b]", "test_b[it's]", "test_b[$HOME;`id`]", "test_b[a::b]", "TestC::test_d[\\n*?]"]
)
def test_a_test_id_reaches_the_program_unchanged(project: Path, monkeypatch: pytest.MonkeyPatch, inside: str) -> None:
    monkeypatch.chdir(project)
    line = next_command(entry(f"nightly/test_a.py::{inside}"), load_settings({}), root=str(project))
    assert shlex.split(line)[-1] == f"nightly/test_a.py::{inside}"


def test_the_command_has_the_options_of_the_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    options = {"transport": "ssh", "boot_timeout": "90", "isolation": "test", "boot": "cold", "accelerator": "tcg"}
    line = next_command(entry("nightly/test_a.py::t", "crash"), load_settings(options), root=str(project))
    assert "--transport ssh --boot-timeout 90 --accelerator tcg --no-fork --isolation test nightly" in line


def test_entries_that_are_not_tests_have_no_command(project: Path) -> None:
    assert next_command(entry("gw0-1::boot", "crash"), load_settings({}), root=str(project)) == ""


def test_the_command_for_a_failure_of_the_lab_checks_this_host_first(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    line = next_command(entry("nightly/test_a.py::t", "infra"), load_settings({}), root=str(project))
    assert line.startswith("lab doctor && lab run ")


def test_the_program_is_named_by_its_path_if_it_is_not_on_the_search_path(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("lab")
    assert own_command(tmp_path, search="/usr/bin") == [str(script)]
    assert own_command(script.parents[2], search="/usr/bin") == [str(script.relative_to(script.parents[2]))]
    assert own_command(tmp_path, search=str(script.parent)) == ["lab"]
    (tmp_path / "lab").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "lab").chmod(0o755)
    assert own_command(tmp_path / "x", search=str(tmp_path)) == [str(script)]  # another program of this name


def test_hints_name_the_program_in_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.chdir(tmp_path)
    script = Path(sys.executable).with_name("lab")
    assert with_own_command("no image\n  try: lab image build wine") == f"no image\n  try: {script} image build wine"
    assert with_own_command("`lab doctor` says; lab up x") == f"`{script} doctor` says; {script} up x"
    assert with_own_command("the lab failed; a lab file") == "the lab failed; a lab file"


def test_pages_in_a_hint_have_their_installed_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation has no checkout in which `docs/windows.md` would be found."""
    assert "see docs/windows.md, Licence" in with_own_command("see docs/windows.md, Licence")
    monkeypatch.setattr(invocation, "installed", lambda: True)
    monkeypatch.setattr(invocation, "data_root", lambda: Path("/env/lab/_data"))
    assert with_own_command("see docs/windows.md, Licence") == "see /env/lab/_data/docs/windows.md, Licence"
    assert with_own_command("in /home/docs/mine.md") == "in /home/docs/mine.md"


def test_a_path_is_never_taken_for_an_option() -> None:
    assert from_folder(Path("/a/-x.py"), Path("/a")) == "./-x.py"
    assert from_folder(Path("../b/c"), Path("/a")) == "/b/c"
    assert address_of("x.py::t", "", Path("/a")) == "x.py::t"
