"""The two pictures of a report, as geometry: when each worker did what, and when each print came.

Only numbers and texts leave this module; the template draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lab.gate.verdict import Verdict
from lab.report.model import GuestEntry, PrintEntry, RunReport
from lab.report.view import TestView, printable, seconds

WIDTH = 1000.0
LANE = 46.0
_MIN_BAR = 1.6
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A piece of time in a lane; ``x`` and ``width`` in units of the picture."""

    x: float
    width: float
    kind: str
    title: str
    anchor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One worker: its guests' lives above, its tests below."""

    worker: str
    y: float
    guests: Sequence[Bar]
    tests: Sequence[Bar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark of the time axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The picture of a run."""

    width: float
    height: float
    lanes: Sequence[Lane]
    ticks: Sequence[Tick]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """Prints that came together, shown as one dot."""

    x: float
    count: int
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintPlot:
    """When the prints of one test came; ``gaps`` are the pauses worth a label (middle, text)."""

    width: float
    dots: Sequence[Dot]
    gaps: Sequence[Tick]
    ticks: Sequence[Tick]


def timeline(report: RunReport, tests: Sequence[TestView]) -> Timeline | None:
    """Lay out workers, guests and tests over time; None when nothing ran."""
    ran = [test for test in tests if test.entry.worker]
    starts = [test.entry.started for test in ran] + [guest.started for guest in report.guests]
    if not starts:
        return None
    ends = [test.entry.started + test.entry.duration_s for test in ran] + [_ready(guest) for guest in report.guests]
    begin, end = min(starts), max(ends)
    scale = WIDTH / max(end - begin, 0.001)
    workers = sorted({test.entry.worker for test in ran} | {guest.worker for guest in report.guests}, key=_natural)
    lanes = [
        Lane(
            worker=worker,
            y=number * LANE,
            guests=_guest_bars([guest for guest in report.guests if guest.worker == worker], begin, end, scale),
            tests=[_test_bar(test, begin, scale) for test in ran if test.entry.worker == worker],
        )
        for number, worker in enumerate(workers)
    ]
    return Timeline(width=WIDTH, height=len(lanes) * LANE, lanes=lanes, ticks=axis(end - begin, WIDTH))


def print_plot(prints: Sequence[PrintEntry], *, width: float = 640.0) -> PrintPlot | None:
    """Lay out a test's prints over guest time; None when they came (nearly) at once or have no guest time."""
    timed = sorted((entry.guest_time, printable(entry.text)) for entry in prints if entry.guest_time is not None)
    if len(timed) < 2 or timed[-1][0] - timed[0][0] < 0.2:
        return None
    first, span = timed[0][0], timed[-1][0] - timed[0][0]
    # A little air at the end keeps the last dot and its label inside of the picture.
    scale = width / (span * 1.04)
    groups: list[list[tuple[float, str]]] = []
    for moment, text in timed:
        if groups and (moment - groups[-1][0][0]) * scale < 4:
            groups[-1].append((moment, text))
        else:
            groups.append([(moment, text)])
    dots = [
        Dot(
            x=round((group[0][0] - first) * scale, 1),
            count=len(group),
            title="\n".join(f"{moment - first:.3f} s  {text}" for moment, text in group[:12]),
        )
        for group in groups
    ]
    gaps = [
        Tick(x=round((left[0][0] + right[0][0] - 2 * first) / 2 * scale, 1), label=f"{right[0][0] - left[0][0]:.3f} s")
        for left, right in pairwise(groups)
        if (right[0][0] - left[0][0]) * scale >= 52
    ]
    return PrintPlot(width=width, dots=dots, gaps=gaps, ticks=axis(span, width / 1.04))


def axis(span: float, width: float) -> list[Tick]:
    """Round times for an axis: some 6 to 10 marks."""
    step = next((step for step in _STEPS if span / step <= 10), _STEPS[-1])
    count = int(span / step + 1e-9)
    return [
        Tick(x=round(number * step * width / max(span, 0.001), 1), label=_clock(number * step)) for number in range(count + 1)
    ]


def _clock(value: float) -> str:
    if value < 60:
        return f"{value:g} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02d}"


def _test_bar(test: TestView, begin: float, scale: float) -> Bar:
    entry = test.entry
    verdict: Verdict = entry.verdict
    title = f"{entry.nodeid}\n{verdict}, {seconds(test.own_s)}" + (f"\n{entry.reason}" if entry.reason else "")
    return Bar(
        x=round((entry.started + test.prepared_s - begin) * scale, 2),
        width=round(max(test.own_s * scale, _MIN_BAR), 2),
        kind=verdict,
        title=title,
        anchor=test.anchor,
    )


def _guest_bars(guests: Sequence[GuestEntry], begin: float, end: float, scale: float) -> list[Bar]:
    """For each guest: boot, copy and load as they followed each other, then its life until the next guest."""
    bars = []
    for number, guest in enumerate(guests):
        at = guest.started
        until = guests[number + 1].started if number + 1 < len(guests) else end
        start = ("boot", "boot", guest.boot_s) if guest.boot_s else ("boot", "waited for, as a fork,", guest.wait_s)
        for kind, words, length in (start, ("copy", "copy", guest.copy_s), ("load", "load", guest.load_s)):
            if length:
                bars.append(_piece(kind, at, at + length, begin, scale, f"{guest.guest_id}: {words} {seconds(length)}"))
                at += length
        if until > at:
            kind = "ended" if guest.ended.startswith(("crash", "exited", "its worker")) else "life"
            bars.append(_piece(kind, at, until, begin, scale, f"{guest.guest_id}: {guest.ended or 'running'}"))
    return bars


def _piece(kind: str, start: float, stop: float, begin: float, scale: float, title: str) -> Bar:
    return Bar(x=round((start - begin) * scale, 2), width=round(max((stop - start) * scale, 0.5), 2), kind=kind, title=title)


def _ready(guest: GuestEntry) -> float:
    return guest.started + (guest.boot_s or guest.wait_s or 0) + (guest.copy_s or 0) + (guest.load_s or 0)


def _natural(worker: str) -> tuple[str, int, str]:
    digits = worker.lstrip("abcdefghijklmnopqrstuvwxyz")
    return (worker[: len(worker) - len(digits)], int(digits) if digits.isdigit() else -1, worker)
