"""A guest kind of an installed package: built, listed, examined, booted and reported, with no file of the lab changed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.cli.main import app
from lab.errors import ConfigError
from lab.image.recipes import ensure_image, recipe_names
from lab.image.registry import GROUP, kind_named
from lab.image.selfbuilt import SelfBuilt
from lab.report.model import RunReport
from tests.extending.packages import Packages, source

#: A run whose guests are simulated, of the image that was built; see tests/simulated.py.
_CONFTEST = """
import pathlib, sys
sys.path.insert(0, {tests!r})
from simulated import SimulatedSource
from lab.image.folder import read_manifest

def pytest_lab_guest_source(config, lab_config):
    return SimulatedSource(pathlib.Path({payload!r}), manifest=read_manifest(pathlib.Path({image!r})))
"""
_TEST = """
import pytest
pytestmark = pytest.mark.lab_driver("sync")

def test_it_reads(reader):
    [answer] = reader.read(20)
    assert answer.text.startswith("slot")
"""


class Silent:
    """Progress that is not shown."""

    def stage(self, text: str) -> None:
        """Nothing."""

    def detail(self, text: str) -> None:
        """Nothing."""

    def done(self, text: str) -> None:
        """Nothing."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package is installed, and the user's folders are empty."""
    modules = {"toy_guest": source("toy_guest.py")}
    Packages(tmp_path / "site", monkeypatch).install("lab_toy", modules, GROUP, {"toy": "toy_guest:KIND"})
    for variable in ("CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"LAB_{variable}", str(tmp_path / variable.lower()))
    return tmp_path / "cache"


def lab(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def test_its_image_is_built_found_and_examined(cache: Path) -> None:
    assert "toy" in recipe_names()
    folder = Path(lab("image", "build", "toy").strip().splitlines()[-1].rpartition(" (")[0].rpartition(": ")[2])
    assert folder.parent == cache / "images"
    assert (folder / "toy.txt").is_file()
    assert lab("image", "path", "toy").strip() == str(folder)
    assert "toy guest: a text file" in lab("image", "list")
    document = json.loads(lab("image", "doctor", "--json"))
    texts = [finding["text"] for finding in document["images"][0]["findings"]]
    assert (document["ok"], texts) == (True, ["complete", "made by the current recipe"])
    assert "up to date" in lab("image", "build", "toy")


def test_a_run_that_names_it_builds_it_and_its_vm_is_that_of_the_manifest(cache: Path) -> None:
    assert ensure_image("toy", Silent()).parent == cache / "images"
    command = lab("up", "--guest", "toy", "--accelerator", "tcg", "--dry-run")
    assert "-m 16" in command
    assert "-name toy," in command
    assert "-device virtio-rng-pci" in command


def test_options_of_other_kinds_are_refused(cache: Path) -> None:
    result = CliRunner().invoke(app, ["image", "build", "toy", "--iso", "x.iso"])
    assert isinstance(result.exception, ConfigError)
    assert result.exception.message == "--iso: only for Windows images, and toy is not one"


def test_a_report_says_which_kind_the_results_are_of(cache: Path, pytester: pytest.Pytester) -> None:
    tests = str(Path(__file__).parents[1])
    image, out = ensure_image("toy", Silent()), pytester.path / "run"
    pytester.makeconftest(_CONFTEST.format(tests=tests, payload=str(pytester.path / "payload"), image=str(image)))
    pytester.makepyfile(test_toy=_TEST)
    pytester.runpytest_inprocess("--lab-out", str(out), "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    report = RunReport.model_validate_json((out / "run.json").read_text(encoding="utf-8"))
    assert [test.verdict for test in report.tests] == ["passed"]
    words = kind_named("toy").words
    assert (report.image.kind.name, report.image.kind.about) == ("toy", words.about)
    assert words.about in (out / "report.html").read_text(encoding="utf-8")


def test_without_the_package_the_image_is_unusable_with_a_reason(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab("image", "build", "toy")
    with monkeypatch.context() as patch:
        patch.setattr("sys.path", [item for item in sys.path if not item.endswith("lab_toy")])
        assert "toy" not in recipe_names()
        result = CliRunner().invoke(app, ["image", "doctor"])
    assert result.exit_code == 1
    assert "there is no guest kind 'toy'" in result.output


def test_the_command_has_the_options_of_all_kinds(cache: Path) -> None:
    shown = lab("image", "build", "--help")
    assert all(option.flag in shown for option in kind_named("windows").build_options)
    assert "Build a guest image" in shown


class Unfinished(SelfBuilt):
    """A kind whose author has forgotten a member."""

    def recipe_names(self) -> tuple[str, ...]:
        return ("unfinished",)


def test_a_kind_that_lacks_a_member_cannot_be_made() -> None:
    with pytest.raises(TypeError, match=r"abstract method '?recipe"):
        Unfinished()  # type: ignore[abstract]
