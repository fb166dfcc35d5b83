"""`lab run --matrix`: one run for each value of a setting, without guests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.cli import run as run_module
from lab.cli.child import ChildEnd
from lab.config import Settings
from lab.errors import ConfigError, LabError
from lab.live import resolve
from tests.cli.running import GREEN, FakeChild, Suite, lab
from tests.simulated import manifest


@pytest.fixture
def children(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> list[FakeChild]:
    """The doubles of pytest, one for each run: the first passes, the second has a crash."""
    suite(GREEN)
    monkeypatch.setenv("LAB_WORKERS", "1")
    windows = manifest(capabilities=("driver_load", "driver_verifier"))
    monkeypatch.setattr(resolve, "read_manifest", lambda _image: windows)
    started: list[FakeChild] = []

    def start(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], terminal: bool) -> ChildEnd:
        red = len(started) == 1
        fake = FakeChild(ChildEnd(1 if red else 0), ["passed", "crash" if red else "passed"])
        started.append(fake)
        return fake(argv, cwd=cwd, env=env, terminal=terminal)

    monkeypatch.setattr(run_module, "run_child", start)
    return started


def test_the_suites_run_once_for_each_value(children: list[FakeChild], tmp_path: Path) -> None:
    result = lab("run", "--matrix", "verifier=off,standard,lowres", "--out", str(tmp_path / "found"))
    assert result.exit_code == 3, result.output
    given = [[word for word in child.argv if word.startswith("--lab-verifier")] for child in children]
    assert given == [["--lab-verifier=off"], ["--lab-verifier=standard"], ["--lab-verifier=lowres"]]
    assert "1 test(s) differ" in result.output
    stored = json.loads((tmp_path / "found" / "matrix.json").read_text(encoding="utf-8"))
    assert [(run["value"], run["exit_code"]) for run in stored["runs"]] == [("off", 0), ("standard", 3), ("lowres", 0)]
    assert (tmp_path / "found" / "verifier-lowres" / "report.html").is_file()


def test_another_setting_can_differ(children: list[FakeChild]) -> None:
    result = lab("run", "--matrix", "isolation=test,module")
    assert result.exit_code == 3, result.output
    assert ["--lab-isolation=test" in child.argv for child in children] == [True, False]
    assert len(list(Path("out").glob("matrix-*/isolation-module/run.json"))) == 1


def test_guests_without_driver_verifier_are_refused_before_the_first_run(
    children: list[FakeChild], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "read_manifest", lambda _image: manifest())
    result = lab("run", "--matrix", "verifier=off,standard")
    assert isinstance(result.exception, ConfigError)
    assert "needs a guest with Driver Verifier" in str(result.exception)
    assert not children


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("verifier=off", "at least two different values"),
        ("verifier=off,off", "at least two different values"),
        ("verifier", "at least two different values"),
        ("verifier=off,harsh", "no profile 'harsh'"),
        ("clock=real,sideways", "'sideways'"),
        ("drivers=a,b", "no setting 'drivers' that runs can differ in"),
        ("colour=red,blue", "no setting 'colour'"),
    ],
)
def test_a_wrong_matrix_is_refused(children: list[FakeChild], text: str, words: str) -> None:
    result = lab("run", "--matrix", text)
    assert isinstance(result.exception, ConfigError)
    assert words in str(result.exception)
    assert not children


@pytest.mark.parametrize("other", [("--watch",), ("--on", "quiet"), ("--baseline", "main")])
def test_options_that_contradict_it_are_refused(children: list[FakeChild], other: tuple[str, ...]) -> None:
    result = lab("run", "--matrix", "clock=real,auto", *other)
    assert isinstance(result.exception, ConfigError)
    assert not children


@pytest.mark.parametrize("code", [2, 130, 143])
def test_a_run_that_was_interrupted_or_refused_is_the_last(
    children: list[FakeChild], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    places: list[Path] = []

    def run_suites(_settings: Settings, *, out: Path, **_more: object) -> int:
        places.append(out)
        return code

    monkeypatch.setattr(run_module, "run_suites", run_suites)
    assert lab("run", "--matrix", "clock=real,auto").exit_code == code
    assert [place.name for place in places] == ["clock-real"]
    assert not children
    assert not list(Path("out").glob("matrix-*"))


@pytest.mark.parametrize(("error", "code"), [(LabError("the disk is full"), 10), (ConfigError("no such key"), 2)])
def test_a_later_run_that_cannot_begin_loses_no_finished_run(
    children: list[FakeChild], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: LabError, code: int
) -> None:
    real = run_module.run_suites
    values: list[str] = []

    def run_suites(settings: Settings, **given: Any) -> int:
        values.append(settings.values.verifier)
        if len(values) == 2:
            raise error
        return real(settings, **given)

    monkeypatch.setattr(run_module, "run_suites", run_suites)
    result = lab("run", "--matrix", "verifier=off,standard,lowres", "--out", str(tmp_path / "found"))
    assert (result.exit_code, values) == (code, ["off", "standard"]), result.output
    assert f"lab: verifier=standard: {error.message}" in result.stderr
    stored = json.loads((tmp_path / "found" / "matrix.json").read_text(encoding="utf-8"))
    assert [(run["value"], run["exit_code"], run["totals"]) for run in stored["runs"]] == [
        ("off", 0, {"passed": 2}),
        ("standard", code, {}),
    ]
    assert stored["exit_code"] == code
    assert "verifier=standard" in (tmp_path / "found" / "matrix.md").read_text(encoding="utf-8")


def test_one_run_with_a_profile_needs_such_a_guest(child: Callable[..., FakeChild]) -> None:
    fake = child(ChildEnd(0), ["passed"])
    result = lab("run", "--verifier", "standard")
    assert isinstance(result.exception, ConfigError)
    assert "needs a guest with Driver Verifier" in str(result.exception)
    assert not fake.argv


def test_off_in_a_lab_file_is_no_boolean(child: Callable[..., FakeChild], tmp_path: Path) -> None:
    fake = child(ChildEnd(0), ["passed"])
    (tmp_path / "lab.yaml").write_text("verifier: off\n", encoding="utf-8")
    assert lab("run").exit_code == 0
    (tmp_path / "lab.yaml").write_text("verifier: on\n", encoding="utf-8")
    result = lab("run")
    assert isinstance(result.exception, ConfigError)
    assert "verifier: must be a valid string" in str(result.exception)
    assert fake.argv
