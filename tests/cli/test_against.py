"""`lab run --baseline`: what is run again, what is said, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.cli import against
from lab.cli.child import ChildEnd
from lab.compare.model import Comparison
from lab.errors import ConfigError
from lab.gate.verdict import Verdict
from lab.report import assemble
from lab.report.model import Attempt, CoverageEntry, TestEntry
from lab.report.runfiles import write_run
from tests.cli.running import FakeChild, lab, read


class FakeBoth:
    """A double of the two pytests: every run of every test ends with these verdicts."""

    def __init__(self, new: Verdict, base: Verdict, end: ChildEnd | None = None) -> None:
        self.verdicts = {"new": new, "base": base}
        self.end = end or ChildEnd(0)
        self.commands: list[list[str]] = []

    def __call__(self, argv: Sequence[str], **_more: Any) -> ChildEnd:
        for job in json.loads(Path(argv[-1]).read_text(encoding="utf-8")):
            command: list[str] = job["argv"]
            self.commands.append(command)
            out = Path(_value(command, "--lab-out"))
            verdict = self.verdicts[out.name.partition("-")[2]]
            count = int(_value(command, "--lab-repeat"))
            tests = [_repeated(word, verdict, count) for word in command if "::" in word]
            report = read(Path("o"))
            write_run(out, report.model_copy(update={"tests": tests}))
        return self.end


def _value(command: Sequence[str], flag: str) -> str:
    return next(word for word in command if word.startswith(flag + "=")).partition("=")[2]


def _repeated(nodeid: str, verdict: Verdict, count: int) -> TestEntry:
    history = [Attempt(verdict=verdict, reason="", duration_s=1.0, started=float(n)) for n in range(count)]
    return TestEntry(nodeid=nodeid, verdict=verdict, duration_s=1.0, started=1.0, worker="gw0", history=history)


@pytest.fixture
def project(tmp_path: Path, child: Callable[..., FakeChild]) -> Path:
    """A project with a baseline of two green tests, kept with an empty list of drivers."""
    (tmp_path / "lab.yaml").write_text("baselines: known-good\n", encoding="utf-8")
    child(ChildEnd(0), ["passed", "passed"])
    assert lab("run", "--out", "first").exit_code == 0
    (tmp_path / "first" / "drivers").mkdir()
    (tmp_path / "first" / "drivers" / "packages.json").write_text("[]", encoding="utf-8")
    assert lab("baseline", "save", "main", "first").exit_code == 0
    return tmp_path


@pytest.mark.parametrize(
    ("new", "base", "change", "code"),
    [
        ("product", "passed", "newly red", 1),
        ("crash", "passed", "newly red", 1),
        ("product", "product", "not of this change", 0),
        ("passed", "passed", "flaky", 0),
        ("infra", "passed", "not judged", 10),
    ],
)
def test_a_new_red_test_is_run_again_on_both_drivers(
    project: Path,
    child: Callable[..., FakeChild],
    monkeypatch: pytest.MonkeyPatch,
    new: Verdict,
    base: Verdict,
    change: str,
    code: int,
) -> None:
    fake = FakeBoth(new, base)
    monkeypatch.setattr(against, "run_child", fake)
    child(ChildEnd(1), ["passed", "product"])
    result = lab("run", "--out", "o", "--baseline", "main")
    assert result.exit_code == code
    found = Comparison.model_validate_json((project / "o" / "comparison.json").read_text(encoding="utf-8"))
    assert [(one.nodeid, one.change) for one in found.changes] == [("suites/test_it.py::t1", change)]
    assert f"exit code {code}" in result.stdout
    comment = (project / "o" / "comparison.md").read_text(encoding="utf-8")
    assert f"| {change} | suites/test\\_it.py::t1 |" in comment
    words = fake.commands[0]
    assert [word for word in words if "::" in word] == ["suites/test_it.py::t1"]
    assert {"--lab-repeat=8", "--lab-prepared", "--maxfail=0"} <= set(words)
    assert (project / "o" / "again" / "base-drivers" / "packages.json").exists()


def test_strict_makes_a_flaky_test_red(project: Path, child: Callable[..., FakeChild], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "run_child", FakeBoth("passed", "passed"))
    child(ChildEnd(1), ["passed", "product"])
    assert lab("run", "--out", "o", "--baseline", "main", "--strict").exit_code == 1


@pytest.mark.parametrize(("there", "added"), [(10, True), (1 << 20, False)])
def test_github_gets_the_comparison_if_there_is_room(
    project: Path, child: Callable[..., FakeChild], monkeypatch: pytest.MonkeyPatch, there: int, added: bool
) -> None:
    child(ChildEnd(0), ["passed"])
    summary = project / "summary.md"
    summary.write_text("x" * there, encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert lab("run", "--out", "o", "--baseline", "main").exit_code == 5
    assert ("### 1 not run" in summary.read_text(encoding="utf-8")) is added


def test_a_green_run_runs_nothing_again(
    project: Path, child: Callable[..., FakeChild], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeBoth("passed", "passed")
    monkeypatch.setattr(against, "run_child", fake)
    child(ChildEnd(0), ["passed", "passed"])
    result = lab("run", "--out", "o", "--baseline", "main")
    assert result.exit_code == 0
    assert "exit code 0: nothing is worse than in the baseline" in result.stdout
    assert fake.commands == []


def test_a_test_that_did_not_run_is_never_green(project: Path, child: Callable[..., FakeChild]) -> None:
    child(ChildEnd(0), ["passed"])
    result = lab("run", "--out", "o", "--baseline", "main")
    assert result.exit_code == 5
    assert "not run             suites/test_it.py::t1" in result.stdout


def test_paths_of_the_user_are_not_run_again_but_options_are_kept(
    project: Path, child: Callable[..., FakeChild], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeBoth("product", "passed")
    monkeypatch.setattr(against, "run_child", fake)
    child(ChildEnd(1), ["passed", "product"])
    assert lab("run", "--out", "o", "--baseline", "main", "suites", "-k", "one or two").exit_code == 1
    assert "suites" not in fake.commands[0]
    assert fake.commands[0][-1 - fake.commands[0][::-1].index("-k") + 1] == "one or two"


def test_drivers_that_were_not_kept_leave_the_red_test_as_it_is(
    project: Path, child: Callable[..., FakeChild], monkeypatch: pytest.MonkeyPatch
) -> None:
    child(ChildEnd(0), ["passed", "passed"])
    lab("run", "--out", "second")
    lab("baseline", "save", "bare", "second")
    fake = FakeBoth("passed", "passed")
    monkeypatch.setattr(against, "run_child", fake)
    child(ChildEnd(1), ["passed", "product"])
    result = lab("run", "--out", "o", "--baseline", "bare")
    assert result.exit_code == 1
    assert "1 tests are not run again on the base driver: the baseline bare has no drivers" in result.stderr
    assert fake.commands == []


def test_an_interrupted_run_is_not_compared(project: Path, child: Callable[..., FakeChild]) -> None:
    child(ChildEnd(2, "SIGINT"), ["passed", "product"], stopped_by="stop")
    result = lab("run", "--out", "o", "--baseline", "main")
    assert result.exit_code == 130
    assert not (project / "o" / "comparison.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--baseline", "other"], "there is no baseline other"),
        (["--strict"], "--strict needs --baseline NAME"),
        (["--baseline", "main", "--repeat", "3"], "--baseline cannot be combined"),
        (["--baseline", "main", "--on", "box"], "--baseline cannot be combined"),
    ],
)
def test_wrong_usage_is_refused_before_any_test_runs(project: Path, arguments: list[str], said: str) -> None:
    result = lab("run", *arguments)
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)


def test_two_programs_run_at_the_same_time(tmp_path: Path) -> None:
    fifo = tmp_path / "meet"
    os.mkfifo(fifo)
    # A named pipe opens when both of its ends are open.
    meet = f"print(open({str(fifo)!r}, MODE).close())"
    jobs = [
        {"argv": [sys.executable, "-c", meet.replace("MODE", repr(mode))], "log": str(tmp_path / f"{mode}.log")}
        for mode in ("r", "w")
    ]
    order = tmp_path / "order.json"
    order.write_text(json.dumps(jobs), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "lab.cli.both", str(order)], timeout=60, check=False)
    assert done.returncode == 0
    assert [(tmp_path / f"{mode}.log").read_text(encoding="utf-8") for mode in ("r", "w")] == ["None\n", "None\n"]


def test_drivers_that_count_lines_are_not_run_against_those_that_do_not(
    project: Path, child: Callable[..., FakeChild], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = CoverageEntry(lines=4, covered=4, percent=100.0, drivers=[])
    monkeypatch.setattr(assemble, "make_coverage", lambda *_args, **_options: entry)
    both = FakeBoth("product", "passed")
    monkeypatch.setattr(against, "run_child", both)
    child(ChildEnd(1), ["product", "passed"])

    done = lab("run", "--coverage", "--baseline", "main", "--out", "o")

    assert not both.commands
    assert "its drivers were built without coverage, and those of this run with" in done.output
    assert "with coverage in NEW" in done.output
