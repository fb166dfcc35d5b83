"""A run in a few lines: for a terminal, for a GitHub job's summary, and as GitHub's error annotations."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.report.model import RunReport, TestEntry
from lab.report.view import MEANINGS, ORDER, RED, guest_sentence, headline, printable, seconds

#: More would hide the rest of a job's log; GitHub shows ten annotations of a step anyway.
_MOST_ANNOTATIONS = 10

_COLOURS = {
    "crash": "bold red",
    "product": "red",
    "test": "blue",
    "infra": "magenta",
    "known": "yellow",
    "skipped": "bright_black",
}


def print_summary(report: RunReport, console: Console) -> None:
    """Print verdicts, what is red and why, what was skipped for what, and the times.

    Lines with names and reasons are never wrapped: they are there to be copied and searched.
    """
    console.print()
    console.print(Text(headline(report), style="bold"))
    console.print(Text(printable(_guest_line(report))), soft_wrap=True)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("verdict", "tests", "means"):
        table.add_column(heading, justify="right" if heading == "tests" else "left", no_wrap=heading != "means")
    for verdict in ORDER:
        if report.totals.get(verdict):
            table.add_row(Text(verdict, _COLOURS.get(verdict, "green")), str(report.totals[verdict]), MEANINGS[verdict])
    if table.row_count:
        console.print(table)
    for test in red_tests(report):
        line = Text.assemble((f"{test.verdict:<8}", _COLOURS[test.verdict]), f"{printable(test.nodeid)}  {_why(test)}")
        console.print(line, soft_wrap=True)
        if test.evidence:
            console.print(Text(f"{'':<8}{evidence_line(test)}", style="bright_black"), soft_wrap=True)
    for missing, count in report.skipped_for.items():
        noun = "test needs" if count == 1 else "tests need"
        console.print(
            Text(f"skipped  {count} {noun} {printable(missing)}, which this guest lacks", style="bright_black"), soft_wrap=True
        )
    for note in report.fork_notes:
        console.print(Text(f"forks    {printable(note)}", style="yellow"), soft_wrap=True)
    console.print(Text(_figures(report), style="bright_black"), soft_wrap=True)


def red_tests(report: RunReport) -> list[TestEntry]:
    """The tests that make a run fail, gravest first."""
    red = [test for test in report.tests if test.verdict in RED]
    return sorted(red, key=lambda test: (ORDER.index(test.verdict), test.nodeid))


def evidence_line(test: TestEntry) -> str:
    """Where the evidence of a test lies, and what there is of it."""
    folder = test.evidence[0].path.split("/")
    kinds = dict.fromkeys(file.kind for file in test.evidence)
    return printable(f"evidence: {'/'.join(folder[:2])}/ ({', '.join(kinds)})")


def markdown(report: RunReport) -> str:
    """The run for ``$GITHUB_STEP_SUMMARY``."""
    lines = [f"### {_plain(headline(report))}", "", _plain(_guest_line(report)), ""]
    lines += ["| verdict | tests | means |", "|---|---:|---|"]
    lines += [
        f"| {verdict} | {report.totals[verdict]} | {MEANINGS[verdict]} |" for verdict in ORDER if report.totals.get(verdict)
    ]
    red = red_tests(report)
    if red:
        lines += ["", "| red test | verdict | reason |", "|---|---|---|"]
        lines += [f"| {_plain(test.nodeid)} | {test.verdict} | {_plain(_why(test))} |" for test in red]
    if report.skipped_for:
        lines += [
            "",
            "Skipped for a missing capability: " + ", ".join(f"{_plain(k)} ({n})" for k, n in report.skipped_for.items()),
        ]
    return "\n".join([*lines, "", _plain(_figures(report)), ""])


def error_annotations(report: RunReport) -> Iterator[str]:
    """GitHub workflow commands, one for each red test, the gravest first."""
    red = red_tests(report)
    for test in red[:_MOST_ANNOTATIONS]:
        file = test.nodeid.partition("::")[0]
        title = _property(f"{test.verdict}: {test.nodeid}")
        yield f"::error file={_property(file)},title={title}::{_data(test.reason or MEANINGS[test.verdict])}"
    if len(red) > _MOST_ANNOTATIONS:
        yield f"::error title=More red tests::{len(red) - _MOST_ANNOTATIONS} more; see the report"


def _guest_line(report: RunReport) -> str:
    kind = "" if report.image.is_windows else f" {guest_sentence(report).split('. ')[0]}."
    return f"{report.guest}, {report.workers} worker(s), QEMU {report.qemu} with {report.accelerator}.{kind}"


def _figures(report: RunReport) -> str:
    times = [f"{name} {seconds(value)}" for name, value in report.times.items()]
    prints = f"{report.prints} prints, {report.unattributed_prints} to no test"
    forks = sum(template.forks for template in report.templates)
    counts = [f"{forks} forks of {len(report.templates)} template(s)"] if forks else []
    if report.failed_forks:
        counts.append(f"{report.failed_forks} fork(s) did not wake")
    return ", ".join([*times, *counts, f"in all {seconds(report.duration_s)}", prints])


def _why(test: TestEntry) -> str:
    again = f" (attempt {test.attempts})" if test.attempts > 1 else ""
    return printable(test.reason) + again


def _plain(text: str) -> str:
    """Text for a Markdown table: no markup of its own, no HTML, no end of cell."""
    text = " ".join(printable(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for char in "\\`*_[]|~#!":
        text = text.replace(char, "\\" + char)
    return text.replace("@", "&#64;")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
