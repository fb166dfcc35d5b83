"""`lab run` from the command line to the exit code, with a real pytest underneath."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.cli.child import ChildEnd
from lab.cli.open_log import open_log
from lab.gate.verdict import Verdict
from tests.cli.running import GREEN, FakeChild, Suite, lab, read


def test_a_green_run_leaves_its_report_and_the_link(suite: Suite, tmp_path: Path) -> None:
    suite(GREEN)
    result = lab("run", "--workers", "2")
    assert result.exit_code == 0, result.output
    latest = tmp_path / "out" / "latest"
    assert latest.is_symlink()
    folder = latest.resolve()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ", folder.name)
    assert folder.parent == tmp_path / "out"
    assert {"run.json", "report.html", "junit.xml", "meta.json", "workers"} <= {path.name for path in folder.iterdir()}
    report = read(folder)
    assert report.totals == {"passed": 2}
    assert report.exit_code == 0
    assert report.command[0] == "lab"
    assert "All 2 tests passed" in result.output
    assert f"{Path('out') / folder.name / 'report.html'}" in result.output


def test_a_red_test_is_named_with_the_command_that_tries_it_again(suite: Suite) -> None:
    suite("def test_red(): assert 'c' == 'C'\n" + GREEN)
    result = lab("run", "-n0", "--guest", "wine")
    assert result.exit_code == 1, result.output
    assert re.search(r"^product +suites/test_it\.py::test_red  ", result.output, re.MULTILINE)
    assert "lab run --guest wine --workers 1 --keep failed suites/test_it.py::test_red" in result.output


@pytest.mark.parametrize(
    ("verdicts", "end", "code"),
    [
        (["passed", "skipped", "known"], 1, 0),
        (["passed", "product", "infra"], 1, 1),
        (["product", "crash", "infra"], 1, 3),
        (["passed", "infra"], 1, 10),
        (["passed"], 3, 10),
        (["passed"], 0, 0),
        ([], 0, 5),  # not one test of the lab
        ([], 4, 2),  # an unknown option
        ([], 5, 5),  # nothing collected
        ([], 3, 10),
        ([], -9, 10),
    ],
)
def test_the_exit_code_is_the_gates(
    child: Callable[..., FakeChild], verdicts: list[Verdict], end: int, code: int, tmp_path: Path
) -> None:
    child(ChildEnd(end), verdicts)
    assert lab("run", "--out", "o").exit_code == code
    assert not verdicts or read(tmp_path / "o").exit_code == code


def test_tests_that_never_started_are_not_green(child: Callable[..., FakeChild], tmp_path: Path) -> None:
    child(ChildEnd(1), ["passed"], collected=3)
    assert lab("run", "--out", "o").exit_code == 10
    assert read(tmp_path / "o").totals == {"passed": 1, "infra": 2}


def test_the_first_failure_may_end_the_run(child: Callable[..., FakeChild], tmp_path: Path) -> None:
    child(ChildEnd(2), ["passed", "product"], collected=4, stopped_by="stop")
    assert lab("run", "--out", "o").exit_code == 1
    report = read(tmp_path / "o")
    assert report.totals == {"passed": 1, "product": 1}
    assert report.not_run == ["suites/test_it.py::t2", "suites/test_it.py::t3"]


def test_nothing_collected_is_nothing_checked(suite: Suite) -> None:
    suite(GREEN)
    assert lab("run", "-n0", "-k", "nothing_of_this_name").exit_code == 5


def test_a_run_of_everything_says_which_known_issues_are_too_many(child: Callable[..., FakeChild], tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(
        "suites: [suites/test_it.py]\nout: results\n"
        "known:\n- {test: 'suites/*::t0', reason: r, until: 2099-01-01}\n- {test: x, reason: r, until: 2020-01-01}\n",
        encoding="utf-8",
    )
    child(ChildEnd(0), ["passed"])
    output = lab("run").output
    assert (tmp_path / "results" / "latest").exists()
    assert "known issue: known.0 (suites/*::t0) was not needed: 1 test(s) that it matches passed (1 of 5 runs" in output
    for _ in range(4):
        output = lab("run").output
    assert "known issue: known.0 (suites/*::t0) is no longer needed: 1 test(s) that it matches passed in 5 runs" in output
    assert "known issue: known.1 (x) expired on 2020-01-01" in output
    assert "known issue" not in lab("run", "suites").output


def test_github_gets_annotations_and_a_summary(
    child: Callable[..., FakeChild], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(ChildEnd(1), ["product"])
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    result = lab("run")
    assert re.search(r"^::error file=suites/test_it\.py,title=product%3A suites/test_it", result.output, re.MULTILINE)
    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("### 1 product failure")


def test_a_log_that_cannot_be_opened_is_closed(tmp_path: Path) -> None:
    """Its handler and its level stayed on the lab's logger."""
    logger = logging.getLogger("lab")
    before = (list(logger.handlers), logger.level)
    with pytest.raises(TypeError):
        open_log(tmp_path, None, level="debug")  # type: ignore[arg-type]
    assert (list(logger.handlers), logger.level) == before


def test_output_from_before_the_log_is_in_the_log(tmp_path: Path) -> None:
    """Warnings of a build before that of the image are printed once, and not again for the log."""
    with open_log(tmp_path, tmp_path / "image", level="info", said=["lamp: lamp.c:3:12: warning: unused"]):
        pass
    assert "lamp.c:3:12: warning: unused" in (tmp_path / "lab.log").read_text(encoding="utf-8")
