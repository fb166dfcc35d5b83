"""A run in a few lines: for a terminal, for a GitHub job's summary, and as GitHub's error annotations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.report.coverage_view import coverage_lines
from lab.report.model import RunReport, TestEntry
from lab.report.places import address_of, from_folder
from lab.report.verifier_view import verifier_lines
from lab.report.view import (
    MEANINGS,
    ORDER,
    RED,
    driver_line,
    driver_notes,
    headline,
    printable,
    rate_words,
    second_runs,
    seconds,
    unchecked,
)

#: GitHub shows ten annotations of a kind for each step, and drops the others without notice.
_MOST_ANNOTATIONS = 10
#: The check-run interface of GitHub takes titles of 255 characters, and messages of 64 KiB.
_LONGEST_TITLE = 255
_LONGEST_MESSAGE = 4000
#: GitHub drops a step's summary as a whole when its file is longer.
STEP_SUMMARY_BYTES = 1 << 20
#: A test's id may hold any parameter.
_LONGEST_NAME = 300
#: GitLab cuts a job's log at 4 MB: later lines, such as where the report is, would be lost.
_MOST_LINES = 200

_COLOURS = {
    "crash": "bold red",
    "product": "red",
    "test": "blue",
    "infra": "magenta",
    "known": "yellow",
    "skipped": "bright_black",
}


def print_summary(report: RunReport, console: Console, *, folder: Path | None = None) -> None:
    """Print verdicts, red tests with reasons, skipped tests by reason, and times.

    Lines with names and reasons are never wrapped: so that they can be copied and searched.

    Args:
        report: The run.
        console: Gets the lines.
        folder: Folder of the run; evidence is then named by its path from the current folder.
    """
    console.print()
    console.print(Text(headline(report), style="bold"))
    console.print(Text(printable(_guest_line(report))), soft_wrap=True)
    drivers = "\n".join(printable(driver_line(driver)) for driver in report.drivers)
    console.print(Text(drivers or "(no driver)", style="bright_black"), soft_wrap=True)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("verdict", "tests", "means"):
        table.add_column(heading, justify="right" if heading == "tests" else "left", no_wrap=heading != "means")
    for verdict in ORDER:
        if report.totals.get(verdict):
            table.add_row(Text(verdict, _COLOURS.get(verdict, "green")), str(report.totals[verdict]), MEANINGS[verdict])
    if table.row_count:
        console.print(table)
    red = red_tests(report)
    for test in red[:_MOST_LINES]:
        line = Text.assemble((f"{test.verdict:<8}", _COLOURS[test.verdict]), f"{_name(test)}  {_why(test)}")
        console.print(line, soft_wrap=True)
        for below, style in _below(test, folder):
            console.print(Text(f"{'':<8}{below}", style=style), soft_wrap=True)
    if len(red) > _MOST_LINES:
        console.print(Text(f"… and {len(red) - _MOST_LINES} more red tests; the report has all of them"), soft_wrap=True)
    for rate in rate_lines(report):
        console.print(Text(f"repeated {printable(rate)}", style="bright_black"), soft_wrap=True)
    for missing, count in report.skipped_for.items():
        noun = "test needs" if count == 1 else "tests need"
        console.print(
            Text(f"skipped  {count} {noun} {printable(missing)}, which this guest lacks", style="bright_black"), soft_wrap=True
        )
    machine = report.machine.added if report.machine is not None else []
    kept = [f"{guest.guest_id}: {guest.ended}" for guest in report.guests if guest.kept_as]
    notes = (
        ("machine", machine),
        ("checks", verifier_lines(report)),
        ("not run", unchecked(report)),
        ("note", driver_notes(report)),
        ("again", second_runs(report)),
        ("kept", kept),
        ("forks", report.fork_notes),
        ("coverage", coverage_lines(report.coverage) if report.coverage is not None else []),
    )
    for word, sentences in notes:
        for sentence in sentences:
            console.print(Text(f"{word:<8} {printable(sentence)}", style="yellow"), soft_wrap=True)
    console.print(Text(_figures(report), style="bright_black"), soft_wrap=True)


def rate_lines(report: RunReport) -> list[str]:
    """The pass rates of a repeated run: each test that did not always pass, then all others together."""
    rates = [(test, test.rate) for test in report.tests if test.rate is not None]
    lines = [f"{_name(test)}: {rate_words(rate)}" for test, rate in rates if rate.failed or rate.lost][:_MOST_LINES]
    always: dict[int, list[float]] = {}
    for _, rate in rates:
        if not rate.failed and not rate.lost:
            always.setdefault(rate.runs, []).append(rate.low)
    for runs, lows in sorted(always.items()):
        noun = "test passed" if len(lows) == 1 else "tests passed"
        lines.append(f"{len(lows)} {noun} all {runs} runs: a pass rate of at least {min(lows):.0%} (95%)")
    return lines


def _below(test: TestEntry, folder: Path | None) -> Iterator[tuple[str, str]]:
    """Lines below a red test, each with its style: the meaning of its fault, its place, and where the evidence is."""
    if test.fault is not None and test.fault.hint:
        yield printable(test.fault.hint), ""
    if place := fault_place(test):
        yield printable(place), ""
    if test.evidence:
        yield evidence_line(test, folder), "bright_black"


def red_tests(report: RunReport) -> list[TestEntry]:
    """The tests that make a run fail, gravest first."""
    red = [test for test in report.tests if test.verdict in RED]
    return sorted(red, key=lambda test: (ORDER.index(test.verdict), test.nodeid))


def fault_place(test: TestEntry) -> str:
    """Where a test's driver faulted; empty if that is unknown.

    The free guest reports a fault's address, and not where drivers are loaded.
    """
    if test.fault is None or not test.fault.where:
        return ""
    return f"if the address is the driver's: {test.fault.where}"


def evidence_line(test: TestEntry, folder: Path | None = None) -> str:
    """Where the evidence of a test is, and its kinds."""
    place = "/".join(test.evidence[0].path.split("/")[:2])
    if folder is not None:
        place = from_folder(folder.absolute() / place, Path.cwd())
    kinds = dict.fromkeys(file.kind for file in test.evidence)
    return printable(f"evidence: {place}/ ({', '.join(kinds)})")


def markdown(report: RunReport, *, room: int = STEP_SUMMARY_BYTES) -> str:
    """The run for ``$GITHUB_STEP_SUMMARY``.

    Args:
        report: The run.
        room: Bytes that it may have. The gravest of the red tests are named first; the rest is only counted.
    """
    head = [f"### {plain(headline(report))}", "", plain(_guest_line(report)), ""]
    head += [f"- machine: {plain(part)}" for part in (report.machine.added if report.machine is not None else ())]
    head += [*(f"- {plain(driver_line(driver))}" for driver in report.drivers), ""] if report.drivers else []
    head += ["| verdict | tests | means |", "|---|---:|---|"]
    head += [
        f"| {verdict} | {report.totals[verdict]} | {MEANINGS[verdict]} |" for verdict in ORDER if report.totals.get(verdict)
    ]
    head += ["", *(f"- {plain(sentence)}" for sentence in _sentences(report))]
    tail = []
    if report.skipped_for:
        needs = [f"{plain(need[:_LONGEST_NAME])} ({count})" for need, count in report.skipped_for.items()]
        tail += ["", "Skipped for a missing capability: " + _first(needs, room // 4)]
    tail += ["", plain(_figures(report)), ""]
    # Room for the line that says how many are left out.
    room -= _size(head) + _size(tail) + 200
    rows = ["", "| red test | verdict | reason |", "|---|---|---|"]
    red = red_tests(report)
    left = room - _size(rows)
    shown = 0
    for test in red:
        row = f"| {plain(test.nodeid[:_LONGEST_NAME])} | {test.verdict} | {plain(_why_and_where(test)[:_LONGEST_MESSAGE])} |"
        left -= _size([row])
        if left < 0:
            break
        rows.append(row)
        shown += 1
    if shown < len(red):
        rows += ["", f"… and {len(red) - shown} more red tests; the report has all of them."]
    text = "\n".join([*head, *(rows if red else []), *tail])
    return text if room > 0 else ""


def _sentences(report: RunReport) -> list[str]:
    coverage = coverage_lines(report.coverage) if report.coverage is not None else []
    return [
        *verifier_lines(report),
        *rate_lines(report),
        *unchecked(report),
        *driver_notes(report),
        *second_runs(report),
        *coverage,
    ]


def _first(words: list[str], room: int) -> str:
    """As many words as fit, and the number of the others."""
    shown = 0
    for word in words:
        room -= _size([word]) + 1
        if room < 0:
            break
        shown += 1
    more = [f"and {len(words) - shown} more"] if shown < len(words) else []
    return ", ".join([*words[:shown], *more])


def _size(lines: list[str]) -> int:
    return sum(len(line.encode("utf-8", "backslashreplace")) + 1 for line in lines)


def error_annotations(report: RunReport, *, base: Path | None = None) -> Iterator[str]:
    """GitHub workflow commands, one for each red test, the gravest first; never more than GitHub shows.

    Args:
        report: The run.
        base: The checkout's folder, which file names are relative to; None: as in the tests' ids.
    """
    red = red_tests(report)
    shown = red if len(red) <= _MOST_ANNOTATIONS else red[: _MOST_ANNOTATIONS - 1]
    for test in shown:
        file = (address_of(test.nodeid, report.root, base) if base else test.nodeid).partition("::")[0]
        title = _property(printable(f"{test.verdict}: {test.nodeid}")[:_LONGEST_TITLE])
        message = printable(_why_and_where(test) or MEANINGS[test.verdict])[:_LONGEST_MESSAGE]
        yield f"::error file={_property(printable(file)[:_LONGEST_NAME])},title={title}::{_data(message)}"
    if len(shown) < len(red):
        yield f"::error title=More red tests::{len(red) - len(shown)} more; see the report"


def _guest_line(report: RunReport) -> str:
    kind = f" {report.image.kind.warning}" if report.image.kind.warning else ""
    clock = " and a virtual clock" if report.clock == "virtual" else ""
    return f"{report.guest}, {report.workers} worker(s), QEMU {report.qemu} with {report.accelerator}{clock}.{kind}"


def _figures(report: RunReport) -> str:
    times = [f"{name} {seconds(value)}" for name, value in report.times.items()]
    prints = f"{report.prints} prints, {report.unattributed_prints} to no test"
    forks = sum(template.forks for template in report.templates)
    counts = [f"{forks} forks of {len(report.templates)} template(s)"] if forks else []
    if report.failed_forks:
        counts.append(f"{report.failed_forks} fork(s) did not resume")
    return ", ".join([*times, *counts, f"in all {seconds(report.duration_s)}", prints])


def _why(test: TestEntry) -> str:
    if test.rate is not None:
        return printable(test.reason)  # the rate has a line of its own
    again = f" (attempt {test.attempts})" if test.attempts > 1 else ""
    return printable(test.reason) + again


def _why_and_where(test: TestEntry) -> str:
    place = fault_place(test)
    return f"{_why(test)} ({printable(place)})" if place else _why(test)


def _name(test: TestEntry) -> str:
    name = printable(test.nodeid)
    return name if len(name) <= 10 * _LONGEST_NAME else f"{name[: 10 * _LONGEST_NAME]}…"


def plain(text: str) -> str:
    """Text for a Markdown table: no markup of its own, no HTML, no end of cell."""
    text = " ".join(printable(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for char in "\\`*_[]|~#!":
        text = text.replace(char, "\\" + char)
    return text.replace("@", "&#64;")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
