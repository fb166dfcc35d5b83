"""A comparison for people: on a terminal, and as Markdown for a pull request."""

from __future__ import annotations

from collections import Counter

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.compare.model import CHANGES, MEANINGS, Comparison, Confirmation, DurationChange, PrintChange, TestChange
from lab.gate.proportions import Rate
from lab.gate.sequential import ALPHA
from lab.report.summary import plain
from lab.report.view import printable

_COLOURS = {
    "newly red": "bold red",
    "red in another way": "red",
    "not judged": "magenta",
    "not of this change": "yellow",
    "not run": "magenta",
    "newly skipped": "magenta",
    "flaky": "yellow",
    "still red": "bright_black",
    "newly known": "yellow",
    "fixed": "green",
    "judged again": "green",
    "new test": "green",
}
_PRINTS = {
    "differs": "other prints",
    "order": "the same prints in another order: several clients or timers",
    "varies": "other prints of the same driver: they vary from run to run",
}
#: A page of them helps no one; `--json` has all.
_MOST = 200
_MOST_DIFFS = 10
_MOST_LINES = 20
#: GitHub takes comments of 65536 characters.
_MOST_MARKDOWN = 60_000


def headline(result: Comparison) -> str:
    """The comparison in a few words."""
    counts = Counter(change.change for change in result.changes)
    parts = [f"{counts[kind]} {kind}" for kind in CHANGES if counts[kind]]
    if not result.base.tests and not result.new.tests:
        return "Neither run has a test"
    if not parts:
        if result.unchanged == 1:
            return "The only test has the same result"
        return f"All {result.unchanged} tests have the same result"
    return ", ".join([*parts, f"{result.unchanged} unchanged"])


def facts(result: Comparison) -> list[str]:
    """What the two runs are, and what differs between them beside the drivers; one sentence each."""
    lines = [
        f"{name}: {run.label} ({run.started}; {', '.join(f'{d.name} {d.sha256[:12]}' for d in run.drivers) or 'no driver'})"
        for name, run in (("BASE", result.base), ("NEW", result.new))
    ]
    if result.same_drivers:
        lines.append("The drivers are the same to the byte: no difference comes from them.")
    if result.key_differences:
        lines.append("The runs were not made on the same: " + "; ".join(result.key_differences))
    return lines


def duration_lines(result: Comparison) -> list[str]:
    """What is known of the speed, one sentence each."""
    return [_duration(change) for change in result.durations if change.moved or not change.nodeid]


def coverage_lines(result: Comparison) -> list[str]:
    """What became of the lines of the drivers, one sentence each; empty if they did not change."""
    change = result.coverage
    if change is None:
        return []
    lines = [f"{change.new:g}% of the drivers' lines ran, and {change.base:g}% in BASE"] if change.new != change.base else []
    for line in change.lost[:_MOST_LINES]:
        reached = f"{line.tests[0]}" + (f" and {_tests(len(line.tests) - 1)} more" if len(line.tests) > 1 else "")
        lines.append(f"{line.file}:{line.line} is reached by no test any more; in BASE by {reached}: {line.text}")
    more = len(change.lost) - _MOST_LINES
    return [*lines, f"{more} more lines are reached by no test any more; --json has all of them"] if more > 0 else lines


def print_comparison(result: Comparison, console: Console) -> None:
    """Show a comparison on a terminal. Lines with names and reasons are never wrapped: they are there to be copied."""
    console.print(Text(headline(result), style="bold"), soft_wrap=True)
    for line in facts(result):
        console.print(Text(printable(line), style="bright_black"), soft_wrap=True)
    counts = Counter(change.change for change in result.changes)
    if counts:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for heading in ("change", "tests", "means"):
            table.add_column(heading, justify="right" if heading == "tests" else "left", no_wrap=heading != "means")
        for kind in CHANGES:
            if counts[kind]:
                table.add_row(Text(kind, _COLOURS[kind]), str(counts[kind]), MEANINGS[kind])
        console.print(table)
    for change in result.changes[:_MOST]:
        named = Text.assemble((f"{change.change:<20}", _COLOURS[change.change]), printable(change.nodeid))
        console.print(named, soft_wrap=True)
        for below in _below(change):
            console.print(Text(f"{'':<20}{printable(below)}", style="bright_black"), soft_wrap=True)
    if len(result.changes) > _MOST:
        console.print(f"… and {len(result.changes) - _MOST} more; --json has all of them")
    _print_prints(result, console)
    for line in coverage_lines(result):
        console.print(Text(f"lines    {printable(line)}"), soft_wrap=True)
    for line in duration_lines(result):
        console.print(Text(f"time     {printable(line)}", style="bright_black"), soft_wrap=True)


def _print_prints(result: Comparison, console: Console) -> None:
    for change in _shown(result):
        console.print(Text(f"prints   {printable(_print_line(change))}"), soft_wrap=True)
        for text in change.diff:
            console.print(Text(f"{'':<9}{printable(text)}", style="bright_black"), soft_wrap=True)
    for line in _left_out(result):
        console.print(Text(f"prints   {line}", style="bright_black"), soft_wrap=True)


def markdown(result: Comparison) -> str:
    """A comparison for a comment of a pull request."""
    lines = [f"### {plain(headline(result))}", "", *(f"- {plain(line)}" for line in facts(result)), ""]
    rows = [
        f"| {change.change} | {plain(change.nodeid)} | {'<br>'.join(map(plain, _below(change)))} |" for change in result.changes
    ]
    if rows:
        lines += ["| change | test | |", "|---|---|---|"]
    room = _MOST_MARKDOWN - sum(len(line) + 1 for line in lines)
    for number, row in enumerate(rows):
        room -= len(row) + 1
        if room < 0:
            lines.append(f"\n… and {len(rows) - number} more changes; the JSON of the comparison has all of them.")
            break
        lines.append(row)
    tail = [_details(change) for change in _shown(result)]
    tail += [f"- prints: {plain(line)}" for line in _left_out(result)]
    tail += [f"- lines: {plain(line)}" for line in coverage_lines(result)]
    tail += [f"- time: {plain(line)}" for line in duration_lines(result)]
    lines.append("")
    for line in tail:
        room -= len(line) + 1
        if room >= 0:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _below(change: TestChange) -> list[str]:
    """What is known of a change, one line each."""
    before, after = change.base, change.new
    lines = [change.why] if change.why else []
    if change.confirmation is not None:
        lines.append(confirmation_words(change.confirmation))
    if after is not None and after.verdict != "passed":
        lines.append(f"{after.verdict}: {after.reason}")
    if after is not None and after.signature and after.signature not in after.reason:
        lines.append(f"signature: {after.signature}")
    if before is not None and before.verdict != "passed" and change.change != "still red":
        lines.append(f"in BASE: {before.signature or before.verdict}")
    return lines


def confirmation_words(found: Confirmation) -> str:
    """What came of running a test again, with the figures."""
    if found.like:
        return f"{found.outcome}: as {found.like}, which failed with the same signature"
    new, base = Rate(found.new_failed, found.pairs), Rate(found.base_failed, found.pairs)
    figures = f"run again side by side: red in {_share(new)} on NEW, in {_share(base)} on BASE"
    lost = f"; the lab failed in {found.lost} more" if found.lost else ""
    sure = f"; a failure that both have is called real in at most {ALPHA:.0%} of cases" if found.outcome == "real" else ""
    return f"{found.outcome}: {figures}{lost}{sure}"


def _share(rate: Rate) -> str:
    if not rate.runs:
        return "0 of 0"
    low, high = rate.interval()
    return f"{rate.failed} of {rate.runs} (95%: {low:.0%} to {high:.0%})"


def _shown(result: Comparison) -> list[PrintChange]:
    return [change for change in result.prints if change.kind == "differs"][:_MOST_DIFFS]


def _left_out(result: Comparison) -> list[str]:
    """The differences of prints that are only counted."""
    counts = Counter(change.kind for change in result.prints)
    more = counts["differs"] - _MOST_DIFFS
    lines = [f"{more} more tests have other prints; --json has all of them"] if more > 0 else []
    return lines + [f"{_tests(counts[kind])}: {_PRINTS[kind]}" for kind in ("order", "varies") if counts[kind]]


def _print_line(change: PrintChange) -> str:
    return f"{change.nodeid}: {_PRINTS[change.kind]} ({change.base} in BASE, {change.new} in NEW); the test passes in both"


def _details(change: PrintChange) -> str:
    body = "\n".join(f"    {printable(line)}" for line in change.diff)
    return f"- prints: {plain(_print_line(change))}\n\n{body}\n"


def _duration(change: DurationChange) -> str:
    interval = f"{change.low:.2f} to {change.high:.2f} times BASE ({change.confidence:.0%} interval)"
    if change.nodeid:
        old, now = change.readings
        return f"{change.nodeid} takes {interval}, by {old} and {now} readings"
    moved = "" if change.moved else "; no change beyond the tolerance of a tenth"
    return f"all together: a test takes {interval}, by {_tests(change.readings[0])}{moved}"


def _tests(count: int) -> str:
    return "1 test" if count == 1 else f"{count} tests"
