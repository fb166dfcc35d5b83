"""The report on defects for people: a table in the terminal, and Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.defects.model import MEANINGS, DefectEntry, DefectsReport, Noticed, Outcome

_STYLES: dict[Outcome, str] = {
    "survived": "bold red",
    "another verdict": "red",
    "another test": "red",
    "not judged": "magenta",
    "caught": "green",
    "not on this guest": "bright_black",
}


def short(nodeid: str) -> str:
    """A test's id without what all of them have in common."""
    return nodeid.removeprefix("suites/").replace("::test_", "::")


def in_order(entries: Sequence[DefectEntry]) -> list[DefectEntry]:
    """What needs work first, each group in the order of the catalogue."""
    rank = {outcome: number for number, outcome in enumerate(MEANINGS)}
    return sorted(entries, key=lambda entry: rank[entry.outcome])


def noticed_by(entry: DefectEntry) -> list[Noticed]:
    """The tests that caught a defect."""
    return [test for test in entry.tests if test.nodeid in entry.caught_by]


def line_of(entry: DefectEntry) -> str:
    """One line: what became of it, and by which test."""
    caught = noticed_by(entry)
    if not caught:
        return f"{entry.outcome:<17} {entry.name}" + (f": {entry.reason}" if entry.reason else f": {entry.what}")
    first = caught[0]
    more = f" and {len(caught) - 1} more" if len(caught) > 1 else ""
    return f"{entry.outcome:<17} {entry.name}: {first.verdict} after {first.after_s:.1f} s, by {short(first.nodeid)}{more}"


def summary(report: DefectsReport) -> list[str]:
    """The figures, one line each."""
    counts = Counter(entry.outcome for entry in report.defects)
    words = ", ".join(f"{counts[outcome]} {outcome}" for outcome in MEANINGS if counts[outcome])
    lines = [f"{len(report.defects)} defects on {report.guest} ({report.accelerator}, {report.clock} clock): {words}"]
    times = f"{report.defects_s:.0f} s for the defects, {report.build_s:.0f} s for their builds"
    reference = f"{report.reference_s:.0f} s for {report.reference_tests} tests without a defect"
    lines.append(f"{times}, {reference}; {report.workers} runs at the same time")
    if report.whole:
        lines.append(f"all defects take {report.ratio:.1f} times as long as one run of the suites")
    if report.red_without:
        lines.append(f"red without any defect: {', '.join(map(short, report.red_without))}")
    return lines


def print_report(report: DefectsReport, console: Console) -> None:
    """A table on a terminal; elsewhere plain lines, which are never wrapped."""
    if console.is_terminal:
        table = Table(box=SIMPLE)
        for name in ("defect", "outcome", "by", "after"):
            table.add_column(name, overflow="fold", justify="right" if name == "after" else "left")
        for entry in in_order(report.defects):
            caught = noticed_by(entry)
            by = "\n".join(short(test.nodeid) for test in caught) or entry.reason or entry.what
            after = f"{caught[0].after_s:.1f} s" if caught else ""
            table.add_row(entry.name, Text(entry.outcome, _STYLES[entry.outcome]), by, after)
        console.print(table)
    else:
        for entry in in_order(report.defects):
            console.print(line_of(entry))
    for line in summary(report):
        console.print(line, soft_wrap=True)


def markdown(report: DefectsReport) -> str:
    """The matrix of defects and tests, and the figures."""
    lines = ["# Defects", "", *(f"- {line}" for line in summary(report)), ""]
    lines += ["| defect | what the driver does wrong | outcome | verdict | noticed by | after |", "|---|---|---|---|---|---|"]
    for entry in in_order(report.defects):
        caught = noticed_by(entry)
        by = "<br>".join(f"`{short(test.nodeid)}`" for test in caught) or _cell(entry.reason)
        verdict = "<br>".join(test.verdict for test in caught)
        after = "<br>".join(f"{test.after_s:.1f} s" for test in caught)
        lines.append(f"| `{entry.name}` | {_cell(entry.what)} | {entry.outcome} | {verdict} | {by} | {after} |")
    lines += ["", "## Tests", "", "| test | red with these defects |", "|---|---|"]
    lines += [f"| `{short(nodeid)}` | {', '.join(f'`{name}`' for name in names)} |" for nodeid, names in by_test(report)]
    lines += ["", *(f"- {outcome}: {meaning}" for outcome, meaning in MEANINGS.items()), ""]
    return "\n".join(lines)


def by_test(report: DefectsReport) -> list[tuple[str, list[str]]]:
    """Each test that caught defects, and these; sorted by test."""
    found: dict[str, list[str]] = {}
    for entry in report.defects:
        for nodeid in entry.caught_by:
            found.setdefault(nodeid, []).append(entry.name)
    return sorted(found.items())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
