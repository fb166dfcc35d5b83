"""Figures for people."""

from __future__ import annotations

from lab.bench.model import BenchReport, BudgetEntry, SeriesEntry
from lab.bench.samples import Unit


def figure(value: float, unit: Unit) -> str:
    """A value with its unit, three digits of it: ``412 ms``, ``13.2 s``, ``22.3 min``, ``1.94 MB/s``, ``0 prints``."""
    if unit == "prints":
        return f"{value:.0f} {unit}"
    if unit == "s" and value >= 600:
        return f"{_three(value / 60)} min"
    if unit == "s" and value < 1:
        return f"{_three(value * 1000)} ms"
    return f"{_three(value)} {unit}"


def median(series: SeriesEntry) -> str:
    """A series' median; marked where it was not measured as a whole."""
    return ("≈ " if series.estimated else "") + figure(series.p50, series.unit)


def times(ratio: float) -> str:
    """How many times better: ``54.2 ×``."""
    return f"{_three(ratio)} ×"


def against(series: SeriesEntry) -> str:
    """The comparison with its reference; empty where there is none."""
    if series.times_better is None or series.reference == series.key:
        return ""
    return times(series.times_better)


def budget_figure(budget: BudgetEntry) -> str:
    """The result of a budget, with the unit of its goal."""
    if budget.figure is None:
        return "–"
    if budget.kind == "ratio":
        return times(budget.figure)
    if budget.kind == "size":
        return figure(budget.figure, "MiB")
    if budget.kind == "loss":
        return f"{budget.figure:.0f} lost"
    return figure(budget.figure, "MB/s" if "MB/s" in budget.goal else "s")


def verdict(budget: BudgetEntry) -> str:
    """A budget's outcome in a word or two."""
    if budget.met is None:
        return "not by a bench" if budget.kind == "elsewhere" else "not shown"
    if budget.decides:
        return "met" if budget.met else "short"
    return "met here" if budget.met else "short here"


def one_line(text: str) -> str:
    """An error's message and its hint, without the output of a program that is quoted between the two."""
    first, *rest = text.split("\n")
    hint = next((line.strip() for line in rest if line.startswith("  try: ")), "")
    return first.removesuffix("; its last lines:") + (f"; {hint}" if hint else "")


def where(report: BenchReport) -> str:
    """Guest, accelerator and QEMU in one line; part of every output."""
    return f"{report.guest} ({report.label}); {report.accelerator}, QEMU {report.qemu}"


def machine(report: BenchReport) -> str:
    """The host in one line."""
    entry = report.machine
    return (
        f"{entry.processor}, {entry.cores:g} cores, {entry.memory_mib / 1024:.0f} GiB, Linux {entry.kernel}, "
        f"Python {entry.python}, load {entry.load:g} at the start"
    )


def _three(value: float) -> str:
    """Three digits, no exponent."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
