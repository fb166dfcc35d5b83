"""The few lines for a terminal and for GitHub."""

from __future__ import annotations

import io

from rich.console import Console

from lab.report.model import EvidenceFile, RunReport
from lab.report.summary import error_annotations, markdown, print_summary
from tests.report.test_html import HOSTILE, hostile_run


def shown(report: RunReport, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_summary(report, console)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_the_terminal_names_each_red_test_on_one_line(run: RunReport) -> None:
    lines = shown(run).splitlines()
    for test in run.tests:
        if test.verdict in ("crash", "product", "infra"):
            [line] = [line for line in lines if test.nodeid in line and line.startswith(test.verdict)]
            assert test.reason in line


def test_the_terminal_says_which_guest_and_what_was_skipped(run: RunReport) -> None:
    text = shown(run)
    assert "2 crashes, 3 product failures, 1 lab failure" in text
    assert "This guest is not Windows." in text
    assert "3 tests need direct_io" in text
    assert "1 test needs enforces_signatures" in text
    assert "0 to no test" in text


def test_markup_of_rich_in_a_reason_stays_text(run: RunReport) -> None:
    tests = [run.tests[0].model_copy(update={"verdict": "product", "reason": "[red]not markup[/red] [/]"})]
    text = shown(run.model_copy(update={"tests": tests, "totals": {"product": 1}}))
    assert "[red]not markup[/red] [/]" in text


def test_the_terminal_gets_no_control_characters(run: RunReport) -> None:
    text = shown(hostile_run(run))
    assert "\x1b" not in text
    assert "\x00" not in text


def test_the_markdown_table_survives_hostile_text(run: RunReport) -> None:
    text = markdown(hostile_run(run))
    assert "<" not in text
    rows = [line for line in text.splitlines() if line.startswith("| suites")]
    assert len(rows) == 3
    for row in rows:
        assert row.replace("\\|", "").count("|") == 4


def test_the_markdown_has_verdicts_and_reasons(run: RunReport) -> None:
    text = markdown(run)
    assert text.startswith("### 2 crashes, 3 product failures, 1 lab failure")
    assert "| crash | 2 |" in text
    assert "direct\\_io (3)" in text


def test_annotations_are_workflow_commands(run: RunReport) -> None:
    lines = list(error_annotations(run))
    assert len(lines) == 6
    assert lines[0].startswith(
        "::error file=suites/lifecycle/test_load.py,title=crash%3A suites/lifecycle/test_load.py%3A%3Atest_"
    )
    assert "0xC0000005" in lines[0]


def test_annotations_cannot_be_forged(run: RunReport) -> None:
    test = run.tests[0].model_copy(
        update={"verdict": "product", "reason": f"a\n::warning::b\r{HOSTILE}", "nodeid": "a,b:c.py::t"}
    )
    [line] = error_annotations(run.model_copy(update={"tests": [test], "totals": {"product": 1}}))
    assert "\n" not in line
    assert "\r" not in line
    assert line.startswith("::error file=a%2Cb%3Ac.py,title=")


def test_a_hundred_red_tests_are_not_a_hundred_annotations(run: RunReport) -> None:
    tests = [run.tests[0].model_copy(update={"verdict": "product", "nodeid": f"a.py::t{n}"}) for n in range(100)]
    lines = list(error_annotations(run.model_copy(update={"tests": tests, "totals": {"product": 100}})))
    assert len(lines) == 11
    assert "90 more" in lines[-1]


def test_the_terminal_says_where_the_evidence_lies(run: RunReport) -> None:
    red = next(test for test in run.tests if test.verdict == "crash")
    files = [EvidenceFile(kind=kind, path=f"evidence/t/x/{kind}") for kind in ("dump", "driver", "driver")]
    text = shown(run.model_copy(update={"tests": [red.model_copy(update={"evidence": files})], "totals": {"crash": 1}}))
    assert "        evidence: evidence/t/ (dump, driver)\n" in text
