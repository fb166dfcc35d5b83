"""The bench as a picture: one panel a measure, a bar a series, every reading a dot, every budget a mark.

SVG by hand: no font, no script and no file beside it, so that it opens anywhere, and a README can show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import count, groupby
from textwrap import shorten, wrap

from lab.bench.budgets import BUDGETS
from lab.bench.format import against, budget_figure, figure, machine, median, one_line, verdict, where
from lab.bench.model import BenchReport, BudgetEntry, MeasureEntry, SeriesEntry

WIDTH = 1000
_LEFT = 28
_BARS = 330
_BAR_SPAN = 400.0
_RIGHT = WIDTH - 28
_ROW = 26
_BAR = 14
#: Characters of the small text that fit into a line; DejaVu Sans, the widest of the usual fonts, was measured.
_LINE = 148
_LABEL = 44
_FONT = "'DejaVu Sans', 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
_INK, _DIM, _RULE = "#1f2937", "#6b7280", "#e5e7eb"
_LAB, _BASELINE, _DOT = "#2563eb", "#9ca3af", "#111827"
_GOAL, _SHORT = "#15803d", "#c2410c"
#: More dots than this in a row hide each other.
_MOST_DOTS = 60


def plot(report: BenchReport) -> str:
    """The picture as the text of an SVG file."""
    marks = goal_marks(report)
    y = 0.0
    parts: list[str] = []
    for block in (_head(report), *(_panel(measure, marks) for measure in report.measures), _budgets(report.budgets)):
        height, lines = block
        parts.append(f'<g transform="translate(0,{y:g})">{"".join(lines)}</g>')
        y += height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:g}" width="{WIDTH}" height="{y:g}" role="img" '
        f'font-family="{escape(_FONT)}"><title>{escape(f"lab bench: {where(report)}")}</title>'
        f'<rect width="{WIDTH}" height="{y:g}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def goal_marks(report: BenchReport) -> dict[str, tuple[float, bool]]:
    """The position of a series' budget on its own axis: key -> value, and whether it is met."""
    series = {one.key: one for measure in report.measures for one in measure.series}
    met = {entry.key: entry.met for entry in report.budgets}
    marks: dict[str, tuple[float, bool]] = {}
    for budget in BUDGETS:
        outcome = met.get(budget.key)
        if outcome is None or budget.kind == "loss" or any(key not in series for key in budget.series):
            continue
        judged = series[budget.series[-1]]
        value = series[budget.series[0]].p50 / budget.limit if budget.kind == "ratio" else budget.limit
        marks.setdefault(judged.key, (value, outcome))
    return marks


def _head(report: BenchReport) -> tuple[float, list[str]]:
    title = "lab bench" + (" (quick: few repetitions)" if report.quick else "")
    lines = [_text(_LEFT, 40, title, size=22, weight="bold"), _text(_RIGHT, 40, report.started, anchor="end", fill=_DIM)]
    y = 40
    for text in (where(report), machine(report), report.caveat):
        for line in wrap(text, _LINE):
            y += 20
            lines.append(_text(_LEFT, y, line, size=12, fill=_DIM))
    y += 26
    x = float(_LEFT)
    for color, label in ((_LAB, "the lab"), (_BASELINE, "what it is compared with")):
        lines += [
            f'<rect x="{x:g}" y="{y - 10}" width="18" height="10" rx="2" fill="{color}"/>',
            _text(x + 25, y, label, size=12),
        ]
        x += 45 + 8.0 * len(label)
    lines += [f'<circle cx="{x + 4:g}" cy="{y - 5}" r="2.2" fill="{_DOT}"/>', _text(x + 14, y, "one reading", size=12)]
    x += 124
    lines += [_mark(x, y - 13, y + 1, _GOAL), _text(x + 10, y, "budget: met", size=12)]
    x += 120
    lines += [_mark(x, y - 13, y + 1, _SHORT), _text(x + 10, y, "budget: not met", size=12)]
    lines.append(_text(_RIGHT, y, "×: times better", anchor="end", fill=_DIM))
    return y + 12, lines


def _panel(measure: MeasureEntry, marks: Mapping[str, tuple[float, bool]]) -> tuple[float, list[str]]:
    lines = [_rule(6), _text(_LEFT, 34, measure.title, size=14, weight="bold")]
    lines.append(_text(_RIGHT, 34, measure.name, size=12, fill=_DIM, anchor="end"))
    y = 44.0
    if measure.status != "measured":
        for line in wrap(f"{measure.status}: {one_line(measure.reason)}", _LINE)[:2]:
            y += 16
            lines.append(_text(_LEFT, y, line, size=12, fill=_SHORT if measure.status == "failed" else _DIM))
    for _, group in groupby(measure.series, key=lambda one: one.unit):
        rows = list(group)
        # An estimate may be a thousand times as long as what was measured, which should still be seen: its bar is broken.
        readings = [max(row.values) for row in rows if not row.estimated] or [max(row.values) for row in rows]
        top = max([*readings, *(marks[row.key][0] for row in rows if row.key in marks)]) or 1.0
        for row in rows:
            lines += _row(row, y, top, marks.get(row.key))
            y += _ROW
    y += 2
    for note in measure.notes:
        for line in wrap(note, _LINE)[:2]:
            y += 15
            lines.append(_text(_LEFT, y, line, size=11, fill=_DIM))
    return y + 16, lines


def _row(row: SeriesEntry, y: float, top: float, mark: tuple[float, bool] | None) -> Iterator[str]:
    middle = y + _ROW / 2
    base = middle + 4
    scale = _BAR_SPAN / top
    broken = row.p50 * scale > _BAR_SPAN
    width = min(max(row.p50 * scale, 1.5 if row.p50 else 0.0), _BAR_SPAN)
    p95 = f", p95 {figure(row.p95, row.unit)}" if row.p95 is not None else ""
    yield f"<g><title>{escape(f'{row.label}: median {figure(row.p50, row.unit)}{p95}, n = {len(row.values)}')}</title>"
    yield _text(_BARS - 12, base, shorten(row.label, _LABEL, placeholder="…"), size=12, anchor="end")
    color = _BASELINE if row.baseline else _LAB
    yield f'<rect x="{_BARS}" y="{middle - _BAR / 2:g}" width="{width:.1f}" height="{_BAR}" rx="2" fill="{color}"/>'
    end = width
    if broken:
        yield _break(_BARS + width - 40, middle)
    elif row.unit != "prints":
        yield from _dots(row, middle, scale)
        end = max([width, *(value * scale for value in row.values)])
    if mark:
        value, met = mark
        yield _mark(_BARS + value * scale, middle - 11, middle + 11, _GOAL if met else _SHORT)
        if value * scale > end - 4:
            end = max(end, value * scale)
    said = median(row) + (f"   p95 {figure(row.p95, row.unit)}" if row.p95 is not None else "")
    yield _text(_BARS + end + 9, base, said, size=12, weight="bold")
    yield _text(_RIGHT, base, against(row), size=12, anchor="end", fill=_DIM)
    yield "</g>"


def _dots(row: SeriesEntry, middle: float, scale: float) -> Iterator[str]:
    """The readings, a little apart from each other up and down; not where there is only one."""
    if len(row.values) < 2:
        return
    step = max(1, len(row.values) // _MOST_DOTS)
    for number, value in zip(count(), row.values[::step], strict=False):
        y = middle + (number % 5 - 2) * 2.2
        yield f'<circle cx="{_BARS + value * scale:.1f}" cy="{y:.1f}" r="1.9" fill="{_DOT}" fill-opacity="0.55"/>'


def _budgets(budgets: Sequence[BudgetEntry]) -> tuple[float, list[str]]:
    lines = [_rule(6), _text(_LEFT, 34, "Budgets", size=14, weight="bold")]
    y = 44.0
    for budget in budgets:
        y += 20
        said = verdict(budget)
        color = _DIM if budget.met is None else _GOAL if budget.met else _SHORT
        sign = "–" if budget.met is None else "✓" if budget.met else "✗"
        lines += [
            _text(_LEFT, y, f"{sign} {said}", size=12, weight="bold", fill=color),
            _text(_LEFT + 130, y, shorten(f"{budget.what}: {budget.goal}", 110, placeholder="…"), size=12),
            _text(_RIGHT, y, budget_figure(budget), size=12, weight="bold", anchor="end", fill=color),
        ]
    return y + 28, lines


def _text(
    x: float, y: float, text: str, *, size: int = 12, fill: str = _INK, weight: str = "normal", anchor: str = "start"
) -> str:
    place = f'x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" font-weight="{weight}" text-anchor="{anchor}"'
    return f'<text {place} xml:space="preserve">{escape(_printable(text))}</text>'


def _printable(text: str) -> str:
    """The text without control characters of a guest's output, which XML cannot hold."""
    return "".join(character if character.isprintable() else " " for character in text)


def _mark(x: float, top: float, bottom: float, color: str) -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:g}" y2="{bottom:g}" stroke="{color}" stroke-width="2.5"/>'


def _break(x: float, middle: float) -> str:
    """A gap in a bar that is longer than the axis."""
    points = f"{x:g},{middle + 10:g} {x + 8:g},{middle - 10:g} {x + 16:g},{middle - 10:g} {x + 8:g},{middle + 10:g}"
    return f'<polygon points="{points}" fill="#ffffff"/>'


def _rule(y: float) -> str:
    return f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y:g}" y2="{y:g}" stroke="{_RULE}"/>'
