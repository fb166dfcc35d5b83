"""A changed driver is what the next run tests: in the first fork, and in the template made beside the tests."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.toolchain.files import sha256_of
from tests.e2e.running import ROOT, FinishedRun, StartedRun

pytestmark = pytest.mark.e2e

_GREETING = "good day 0"
#: As many forks as make a template of the run's own useful, and some more to use it.
_MORE = """
import pytest

pytestmark = pytest.mark.lab_driver("greeter")


@pytest.mark.parametrize("number", range(8))
def test_many(reader, driver, number):
    assert [read.text for read in reader.read(length=64, times=1)] == ["good day 0"]
"""


class Project:
    """A user's folder with a driver and a suite of it.

    Args:
        folder: Made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "lab" / "bench" / "loop", folder)
        (folder / "suites" / "test_many.py").write_text(_MORE, encoding="utf-8")
        self.texts = {name: (folder / name).read_text("utf-8") for name in ("driver/greeter.c", "suites/test_greeter.py")}
        self.texts["suites/test_many.py"] = _MORE
        # Builds can be repeated, so that templates of the same texts may be there from an earlier run of these tests.
        self._own = secrets.token_hex(4)
        self.say("good day")

    def say(self, text: str, *, tests_too: bool = True) -> None:
        """Give the driver another text, and make its tests expect it."""
        for name, content in self.texts.items():
            if tests_too or name.startswith("driver/"):
                (self.folder / name).write_text(content.replace(_GREETING, f"{text} {self._own}"), encoding="utf-8")

    def arguments(self, *more: str) -> list[str]:
        return ["--config", str(self.folder / "lab.yaml"), *more]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def test_a_changed_driver_is_what_the_next_run_tests(project: Project, finish_run: Callable[..., FinishedRun]) -> None:
    one = project.arguments(str(project.folder / "suites" / "test_greeter.py"), "-k", "delivers_the_greeting")
    first = finish_run(*one)
    assert first.exit_code == 0, first.output
    project.say("good morning")
    second = finish_run(*one)
    assert second.exit_code == 0, second.output
    project.say("good night", tests_too=False)
    third = finish_run(*one)
    assert third.exit_code == 1, third.output
    assert "good night" in third.tests("product")[0].details
    seen = set()
    for run in (first, second, third):
        [guest], [template] = run.report.guests, run.report.templates
        assert guest.template == template.key
        assert not template.drivers
        assert guest.copied_by == "media"
        seen.add(template.key)
        copy = run.out / "drivers" / "greeter" / "greeter.sys"
        assert [driver.sha256 for driver in run.report.drivers if driver.name == "greeter"] == [sha256_of(copy)]
    assert len(seen) == 1, "the same base serves all three drivers"


def test_a_template_made_beside_the_tests_has_the_changed_driver(
    project: Project, finish_run: Callable[..., FinishedRun]
) -> None:
    all_tests = project.arguments("--isolation", "test", "--workers", "2", str(project.folder / "suites"))
    for text in ("good morning", "good night"):
        project.say(text)
        run = finish_run(*all_tests)
        assert run.exit_code == 0, run.output
        assert len(run.tests("passed")) == 11
        loaded = {template.key for template in run.report.templates if template.drivers == ["greeter"]}
        assert loaded, "no template was made beside eleven tests"
        assert {guest.template for guest in run.report.guests} - loaded, "no test has begun in a fork of the base"
    again = finish_run(*all_tests)
    assert again.exit_code == 0, again.output
    # Forks of the present driver are used from the first test on.
    assert {guest.template for guest in again.report.guests} == loaded


def test_runs_with_two_states_of_one_driver_do_not_mix(tmp_path: Path, start_run: Callable[..., StartedRun]) -> None:
    runs = []
    for text in ("good morning", "good night"):
        project = Project(tmp_path / text.replace(" ", "-"))
        project.say(text)
        options = ("--isolation", "test", "--workers", "1")
        runs.append(start_run(*project.arguments(*options, str(project.folder / "suites"))))
    for run in runs:
        done = run.finish()
        assert done.exit_code == 0, done.output
        assert len(done.tests("passed")) == 11
