"""The few lines for a terminal and for GitHub."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lab.gate.exitcode import meaning
from lab.report.html import render_html
from lab.report.model import EvidenceFile, Fault, RateEntry, RunReport
from lab.report.summary import error_annotations, markdown, print_summary, rate_lines
from lab.report.view import headline
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


def test_a_driver_that_windows_would_refuse_is_reported_once(run: RunReport) -> None:
    said = "it is not signed: Windows does not load it (error 577)"
    drivers = [run.drivers[0], run.drivers[1].model_copy(update={"windows": said})]
    told = run.model_copy(update={"drivers": drivers})
    for text in (shown(told), markdown(told)):
        assert text.count(said) == 1
        assert f"driver async: {said}" in text
    assert render_html(told).count(said) == 1
    assert "577" not in shown(run)
    # A note is not a verdict.
    assert (told.exit_code, told.totals) == (run.exit_code, run.totals)


def test_the_terminal_says_how_to_look_into_a_kept_guest(run: RunReport) -> None:
    ended = "left running after suites/a.py::test_b; it runs on: `lab shell gw0-1` opens it, `lab down gw0-1` ends it"
    guests = [run.guests[0].model_copy(update={"guest_id": "gw0-1", "kept_as": "gw0-1", "ended": ended}), *run.guests[1:]]
    kept = [line for line in shown(run.model_copy(update={"guests": guests})).splitlines() if line.startswith("kept")]
    assert kept == [f"kept     gw0-1: {ended}"]


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
    # GitHub shows ten of a step.
    assert len(lines) == 10
    assert "91 more" in lines[-1]


def test_the_terminal_says_where_the_evidence_lies(run: RunReport) -> None:
    red = next(test for test in run.tests if test.verdict == "crash")
    files = [EvidenceFile(kind=kind, path=f"evidence/t/x/{kind}") for kind in ("dump", "driver", "driver")]
    text = shown(run.model_copy(update={"tests": [red.model_copy(update={"evidence": files})], "totals": {"crash": 1}}))
    assert "        evidence: evidence/t/ (dump, driver)\n" in text


def many(run: RunReport, count: int, reason: str) -> RunReport:
    first = run.tests[0].model_copy(update={"verdict": "infra", "reason": reason, "missing_capability": None})
    tests = [first.model_copy(update={"nodeid": f"suites/codes/test_codes.py::test_code[0x{n:08x}]"}) for n in range(count)]
    worst = first.model_copy(update={"nodeid": "suites/z.py::test_z", "verdict": "crash"})
    return run.model_copy(update={"tests": [*tests, worst], "totals": {"infra": count, "crash": 1}})


@pytest.mark.parametrize("reason", ["no guest " * 33, "长" * 300, "<&|*_" * 60])
def test_a_steps_summary_is_never_longer_than_github_takes(run: RunReport, reason: str) -> None:
    text = markdown(many(run, 4000, reason))
    assert len(text.encode()) <= 1 << 20
    rows = [line for line in text.splitlines() if line.startswith("| suites")]
    assert "test\\_z" in rows[0]
    assert f"… and {4001 - len(rows)} more red tests" in text
    assert text.rstrip().endswith("to no test")


def test_earlier_output_of_a_step_counts(run: RunReport) -> None:
    assert len(markdown(many(run, 4000, "x" * 300), room=100_000).encode()) <= 100_000
    assert markdown(many(run, 4000, "x"), room=10) == ""


def test_all_red_tests_are_named_where_they_have_room(run: RunReport) -> None:
    text = markdown(many(run, 100, "x"))
    assert text.count("| suites") == 101
    assert "more red tests" not in text


@given(room=st.integers(-10, 5000), reason=st.text(max_size=300), name=st.text(max_size=40))
def test_the_markdown_keeps_to_its_room(run: RunReport, room: int, reason: str, name: str) -> None:
    report = many(run, 5, reason).model_copy(update={"skipped_for": {f"{name}{n}": n for n in range(50)}})
    assert len(markdown(report, room=room).encode("utf-8")) <= max(room, 0)


def test_an_annotation_keeps_to_githubs_lengths(run: RunReport) -> None:
    test = run.tests[0].model_copy(update={"verdict": "product", "reason": "r" * 100_000, "nodeid": "a.py::t" + "x" * 9000})
    [line] = error_annotations(run.model_copy(update={"tests": [test], "totals": {"product": 1}}))
    title, _, message = line.partition("title=")[2].partition("::")
    assert len(title) <= 300
    assert len(message) <= 4000


def test_an_annotations_file_is_named_from_the_checkout(run: RunReport) -> None:
    test = run.tests[0].model_copy(update={"verdict": "product", "nodeid": "nightly/test_a.py::test_b"})
    report = run.model_copy(update={"tests": [test], "totals": {"product": 1}, "root": "/build/checkout/project"})
    [line] = error_annotations(report, base=Path("/build/checkout"))
    assert line.startswith("::error file=project/nightly/test_a.py,")


def test_a_log_does_not_show_too_many_red_tests(run: RunReport) -> None:
    lines = shown(many(run, 4000, "x" * 300), width=10_000).splitlines()
    assert len(lines) < 250
    assert "… and 3801 more red tests; the report has all of them" in lines


def test_the_place_of_a_fault_is_shown(run: RunReport) -> None:
    red = next(test for test in run.tests if test.verdict == "crash")
    fault = Fault(code="0xC0000005", parameters=["0x1120"], where="poke.sys+0x1120 (DriverEntry, poke.c:10)")
    report = run.model_copy(update={"tests": [red.model_copy(update={"fault": fault})], "totals": {"crash": 1}})
    assert "        if the address is the driver's: poke.sys+0x1120 (DriverEntry, poke.c:10)\n" in shown(report)
    assert "poke.c:10" in markdown(report)
    assert "poke.c%3A10" in "".join(error_annotations(report)) or "poke.c:10" in "".join(error_annotations(report))


def test_the_line_for_the_drivers_author_is_on_the_terminal(run: RunReport) -> None:
    red = next(test for test in run.tests if test.verdict == "crash")
    fault = Fault(code="0x80000003", hint="an int3 was executed (DbgBreakPoint, an assertion), and no debugger handled it")
    report = run.model_copy(update={"tests": [red.model_copy(update={"fault": fault})], "totals": {"crash": 1}})
    assert "        an int3 was executed (DbgBreakPoint, an assertion), and no debugger handled it\n" in shown(report)


def test_evidence_is_named_from_the_readers_folder(run: RunReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    red = next(test for test in run.tests if test.verdict == "crash")
    red = red.model_copy(update={"evidence": [EvidenceFile(kind="dump", path="evidence/t/x.dmp")]})
    console = Console(file=io.StringIO(), width=200)
    print_summary(run.model_copy(update={"tests": [red], "totals": {"crash": 1}}), console, folder=Path("out/now"))
    assert isinstance(console.file, io.StringIO)
    assert "evidence: out/now/evidence/t/ (dump)" in console.file.getvalue()


def test_a_refusal_by_the_guest_is_not_shown_as_a_mistake_in_a_tests_code(run: RunReport) -> None:
    """A wrong path in a manifest is `test`, too; the text sent users to the code of the test."""
    reason = "drv/driver.yaml:5: files.0.to: the guest does not accept Q:\\t.bin: it answered 1: denied"
    refused = run.tests[0].model_copy(update={"verdict": "test", "reason": reason})
    report = run.model_copy(update={"tests": [refused], "totals": {"test": 1}, "exit_code": 4})
    assert headline(report) == "1 mistake in a test or a manifest"
    said = shown(report, width=200)
    assert "or the guest does not accept what a manifest gives it" in " ".join(said.split())
    assert reason in " ".join(said.split())
    assert "or the guest does not accept what a manifest gives it" in meaning(report.exit_code)


def test_second_runs_are_reported_with_their_figures(run: RunReport) -> None:
    note = "run again in a fresh guest: the first run failed by time while its guest waited 3.1 of 5.2 s (60%) for a processor"
    again = [test.model_copy(update={"note": note, "nodeid": f"t.py::test_{n}"}) for n, test in enumerate(run.tests[:12])]
    told = run.model_copy(update={"tests": again})
    assert f"again    t.py::test_0 was {note}" in shown(told)
    assert "again    2 more tests were run again; the report has all of them" in shown(told)
    assert shown(told).count("was run again in a fresh guest") == 10
    assert "was run again in a fresh guest" in markdown(told)
    assert "run again" not in shown(run)


def test_a_repeated_run_has_its_rates(run: RunReport) -> None:
    def rated(failed: int, lost: int = 0) -> RateEntry:
        return RateEntry(wanted=20, runs=20, failed=failed, lost=lost, low=0.62, high=0.97)

    one, other, third, fourth = (test.model_copy() for test in run.tests[:4])
    one.rate, other.rate, third.rate, fourth.rate = rated(3), rated(0), rated(0), rated(0, lost=1)
    lines = rate_lines(run.model_copy(update={"tests": [one, other, third, fourth]}))
    assert lines == [
        f"{one.nodeid}: passed 17 of 20 runs, 85% (95% interval: 62% to 97%)",
        f"{fourth.nodeid}: passed 20 of 20 runs, a pass rate of at least 62%; the lab failed in 1 more",
        "2 tests passed all 20 runs: a pass rate of at least 62% (95%)",
    ]
    assert rate_lines(run) == []
