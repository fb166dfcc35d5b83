"""The bench on a terminal: a row for each series, then the budgets."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.bench.budgets import measure_of
from lab.bench.format import against, budget_figure, figure, machine, median, one_line, verdict, where
from lab.bench.model import BenchReport, MeasureEntry, SeriesEntry

_STYLES = {"met": "green", "met here": "green", "short": "bold red", "short here": "yellow"}


def print_report(report: BenchReport, console: Console) -> None:
    """Print everything."""
    quick = "quick bench: few repetitions, the figures say that everything runs\n" if report.quick else ""
    head = f"{where(report)}\n{machine(report)}\n{quick}{report.caveat}"
    console.print(head, markup=False, highlight=False, soft_wrap=True)
    for measure in report.measures:
        _print_measure(measure, console)
    _print_budgets(report, console)


def _print_measure(measure: MeasureEntry, console: Console) -> None:
    title = f"{measure.name}: {measure.title}"
    if measure.status != "measured":
        style = "red" if measure.status == "failed" else "yellow"
        console.print()
        console.print(
            Text.assemble((title, "bold"), "\n  ", (f"{measure.status}: {one_line(measure.reason)}", style)), soft_wrap=True
        )
        return
    console.print()
    console.print(Text(title, "bold"), soft_wrap=True)
    table = Table(box=SIMPLE)
    table.add_column("", overflow="fold")
    for heading in ("median", "p95", "n", "better"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for series in measure.series:
        table.add_row(*_cells(series))
    console.print(table)
    for note in measure.notes:
        console.print(f"  {note}", markup=False, highlight=False, soft_wrap=True)


def _cells(series: SeriesEntry) -> tuple[str, ...]:
    p95 = figure(series.p95, series.unit) if series.p95 is not None else "–"
    return (series.label, median(series), p95, str(len(series.values)), against(series), series.note)


def _print_budgets(report: BenchReport, console: Console) -> None:
    asked = {measure.name for measure in report.measures}
    console.print()
    console.print(Text("budgets", "bold"))
    table = Table(box=SIMPLE, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    left_out = 0
    for budget in report.budgets:
        if measure_of(budget.key) not in asked:
            left_out += 1
            continue
        said = verdict(budget)
        goal = f"{budget.what}: {budget.goal}" + (f" ({one_line(budget.reason)})" if budget.reason else "")
        table.add_row(Text(said, _STYLES.get(said, "dim")), budget_figure(budget), goal)
    console.print(table)
    if left_out:
        console.print(f"  {left_out} more that this bench does not show", highlight=False)
