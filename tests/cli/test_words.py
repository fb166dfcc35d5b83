"""pytest decides what is a suite and what a value; its root folder is that of the suites, wherever the lab's files are."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lab.cli import resolved
from lab.cli import run as run_module
from lab.cli.child import ChildEnd
from lab.cli.main import app
from lab.cli.pytest_args import Refusal, joined, read_words
from lab.config.words import Words
from lab.live.chosen_drivers import ChosenDrivers
from lab.report.model import RunReport

Suite = Callable[[str], Path]

GREEN = "def test_one(): pass\ndef test_two(): pass\n"
_OPTIONS = """
def pytest_addoption(parser):
    parser.addoption("--count", type=int)
    parser.addoption("--board", dest="board")
"""


def lab(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["run", *arguments])


def read(folder: Path) -> RunReport:
    return RunReport.model_validate_json((folder / "run.json").read_text(encoding="utf-8"))


@pytest.fixture
def options(suite: Suite, tmp_path: Path) -> Path:
    """A suite with options of its own, and folders whose names are values in the tests."""
    suite(GREEN)
    file = tmp_path / "suites" / "conftest.py"
    file.write_text(file.read_text(encoding="utf-8") + _OPTIONS, encoding="utf-8")
    (tmp_path / "20").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "suites"),
    [
        (["--assert", "plain"], ()),
        (["--assert=plain", "suites"], ("suites",)),
        (["--count", "20"], ()),
        (["--count", "20", "suites/test_it.py::test_one"], ("suites/test_it.py::test_one",)),
        (["suites", "--board", "suites"], ("suites",)),
        (["-vk", "five", "suites"], ("suites",)),
        (["-vkfive", "suites"], ("suites",)),
        (["-xvs", "suites"], ("suites",)),
        (["--maxfail", "2", "suites"], ("suites",)),
        (["-p", "no:cacheprovider", "-n", "2", "suites"], ("suites",)),
        (["suites"], ("suites",)),
        ([], ()),
    ],
)
def test_values_of_options_are_not_suites(options: Path, words: list[str], suites: tuple[str, ...]) -> None:
    assert read_words(words, default=["suites"], environ=os.environ) == Words(suites=suites)


@pytest.mark.parametrize(
    "word",
    [
        *("--help", "--version", "-VV", "--collect-only", "--co"),
        *("--fixtures", "--fixtures-per-test", "--markers", "--setup-plan", "--cache-show"),
    ],
)
def test_options_that_only_show_something_are_recognized(options: Path, word: str) -> None:
    found = read_words([word], default=["suites"], environ=os.environ)
    assert isinstance(found, Words)
    assert found.shows


@pytest.mark.parametrize("word", ["--pdb", "--trace"])
def test_the_option_for_a_debugger_is_recognized(options: Path, word: str) -> None:
    assert read_words([word], default=["suites"], environ=os.environ) == Words(terminal=True)


@pytest.mark.parametrize("words", [["--bogus"], ["--count", "many"], ["-p", "no_such_plugin"], ["--maxfail"]])
def test_a_refusal_of_pytest_is_reported_before_anything_is_built(
    options: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_words(words, default=["suites"], environ=os.environ)
    assert isinstance(found, Refusal)
    monkeypatch.setattr(resolved, "ensure_image", lambda *_: pytest.fail("an image was asked for"))
    result = lab(*words)
    assert result.exit_code == 2
    assert words[-1] in result.output
    assert not (options / "out").exists()


def test_a_conftest_file_that_cannot_be_imported_is_the_tests_own_fault(options: Path) -> None:
    (options / "suites" / "conftest.py").write_text("import no_such_module\n", encoding="utf-8")
    result = lab("-v")
    assert result.exit_code == 4
    assert "no_such_module" in result.output


@pytest.mark.parametrize("words", [[], ["suites"]])
def test_a_conftest_file_that_cannot_be_imported_is_not_a_usage_error_without_options(options: Path, words: list[str]) -> None:
    """Arguments without a dash are not read by pytest before the run."""
    (options / "suites" / "conftest.py").write_text("import no_such_module\n", encoding="utf-8")
    (options / "o").mkdir()
    result = lab(*words, "--out", "o")
    assert result.exit_code == 4, result.output
    assert not list((options / "o").iterdir())


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_of_the_user_outlives_a_run_without_a_test(options: Path, there: bool) -> None:
    (options / "suites" / "conftest.py").write_text("", encoding="utf-8")  # no test of the lab, and so no report
    if there:
        (options / "o").mkdir()
    assert lab("-n0", "-k", "nothing_of_this_name", "--out", "o").exit_code == 5
    assert (options / "o").exists() is there


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("", 4)])
def test_an_interrupt_of_a_shown_list_is_an_interrupt(
    options: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    monkeypatch.setattr(run_module, "run_child", lambda *_args, **_options: ChildEnd(2, name))
    assert lab("--collect-only").exit_code == code


def test_no_test_to_show_is_nothing_checked(options: Path) -> None:
    assert lab("--collect-only", "-k", "nothing_of_this_name").exit_code == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--collect-only", "-q"], "suites/test_it.py::test_one"),
        (["--co", "-q", "suites/test_it.py", "--count", "20"], "suites/test_it.py::test_two"),
        (["--version"], "pytest "),
        (["--", "--help"], "--board"),
        (["--fixtures"], "tmp_path"),
        (["--markers"], "lab_driver"),
    ],
)
def test_showing_something_needs_no_guest_and_succeeds(
    options: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.setattr(resolved, "ensure_image", lambda *_: pytest.fail("an image was asked for"))
    result = lab(*words)
    assert result.exit_code == 0, result.output
    assert said in result.output
    assert not (options / "out").exists()


def test_a_value_that_a_suites_own_option_takes_arrives(options: Path) -> None:
    assert lab("-n0", "--count", "20", "--out", "o").exit_code == 0
    assert [test.nodeid for test in read(options / "o").tests] == ["suites/test_it.py::test_one", "suites/test_it.py::test_two"]


def _places(where: Path) -> dict[str, list[str]]:
    """Options whose values lie far away from the suites."""
    (where / "driver").mkdir(parents=True)
    (where / "lab.yaml").write_text("workers: 1\n", encoding="utf-8")
    return {
        "out": ["--out", str(where / "out")],
        "driver": ["--driver", str(where / "driver")],
        "driver of the plugin": ["--lab-driver", str(where / "driver")],
        "config": ["--config", str(where / "lab.yaml")],
        "guest": ["--guest", str(where)],
        "junit": ["--junitxml", str(where / "mine.xml")],
    }


@pytest.mark.parametrize("option", ["none", "out", "driver", "driver of the plugin", "config", "guest", "junit"])
def test_the_root_folder_is_the_suites(
    suite: Suite, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(GREEN)
    (tmp_path / "pytest.ini").unlink()
    far = tmp_path_factory.mktemp("far")
    monkeypatch.setattr(resolved, "ensure_image", lambda _name, _progress: far)
    monkeypatch.setattr(ChosenDrivers, "check", lambda *_, **__: [])
    more: Sequence[str] = _places(far).get(option, [])
    out = far / "out" if option == "out" else tmp_path / "o"
    result = lab("-n0", *more, *([] if option == "out" else ["--out", str(out)]), "suites")
    assert result.exit_code == 0, result.output
    # pytest's root folder without a configuration file: what the suites named and the current folder have in common.
    assert [test.nodeid for test in read(out).tests] == ["suites/test_it.py::test_one", "suites/test_it.py::test_two"]
    assert (tmp_path / ".pytest_cache").is_dir()
    assert not list(far.rglob(".pytest_cache"))
    assert not (tmp_path.parent / ".pytest_cache").exists()


def test_the_plugins_options_are_one_word() -> None:
    words = ["--lab-driver", "a", "suites", "--lab-image=b", "-k", "x", "--lab-keep", "-v", "--lab-out"]
    assert joined(words) == ["--lab-driver=a", "suites", "--lab-image=b", "-k", "x", "--lab-keep", "-v", "--lab-out"]
