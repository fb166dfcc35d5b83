"""The terminal's table and the picture: what they must show, with any text from outside."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree

import pytest
from rich.console import Console

from lab.bench.format import figure, one_line, times
from lab.bench.model import BenchReport
from lab.bench.plot import goal_marks, plot
from lab.bench.protocol import NotHere
from lab.bench.table import print_report
from lab.errors import HostToolError, LabError, TransportError
from tests.bench.fakes import FakeContext, FakeMeasure, samples, series
from tests.bench.test_runner import report_of, run

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert(1)</script> & \x1b[31m\x00"


@pytest.fixture
def report(context: FakeContext) -> BenchReport:
    boots = samples(
        series("boot.cold", 13.0, 14.0, 15.0, label="cold boot", baseline=True),
        series("boot.fork", *[0.2 + n / 1000 for n in range(20)], label="fork", reference="boot.cold"),
        notes=("the template was ready after 20 s",),
    )
    prints = samples(
        series("prints.wine.rate.1", 800.0, 810.0, unit="prints/s", higher_is_better=True),
        series("prints.wine.lost", 0.0, 0.0, unit="prints"),
    )
    return report_of(
        *run(
            context,
            FakeMeasure("boot", boots),
            FakeMeasure("prints", prints),
            FakeMeasure("peer", NotHere("no labgrid")),
            FakeMeasure("winrm", TransportError(HOSTILE)),
        )
    )


def words(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_picture_says_guest_accelerator_figures_and_what_is_missing(report: BenchReport) -> None:
    said = words(plot(report))
    assert any("simulated guest" in text and "not Windows" in text and "tcg" in text for text in said)
    assert any("valid for this host" in text for text in said)
    assert "14.0 s" in said
    assert "66.8 ×" in said
    assert "not here: no labgrid" in said
    assert any("✓ met" in text for text in said)


def dots(svg: str) -> dict[str, list[float]]:
    """Series, by the label of its row -> horizontal places of the readings' dots."""
    rows = [row for row in ElementTree.fromstring(svg).iter(f"{SVG}g") if row.find(f"{SVG}title") is not None]
    found = {}
    for row in rows:
        label = (row.findtext(f"{SVG}title") or "").partition(":")[0]
        found[label] = [float(dot.attrib["cx"]) for dot in row.iter(f"{SVG}circle")]
    return found


def test_readings_are_shown_to_the_scale_of_their_measure(report: BenchReport) -> None:
    """A second is as long in the row of the cold boots as in that of the forks, and all begin at the same line."""
    places = dots(plot(report))
    readings = {one.label: one.values for measure in report.measures for one in measure.series if one.unit == "s"}
    assert set(readings) == {"cold boot", "fork"}
    pairs = [pair for label, values in readings.items() for pair in zip(values, places[label], strict=True)]
    (low, left), (high, right) = min(pairs), max(pairs)
    scale = (right - left) / (high - low)
    assert scale > 0
    for value, place in pairs:
        assert place == pytest.approx(left + (value - low) * scale, abs=0.1)


def test_a_count_of_losses_has_no_dots(report: BenchReport) -> None:
    labels = {one.key: one.label for measure in report.measures for one in measure.series}
    assert dots(plot(report))[labels["prints.wine.lost"]] == []


def test_every_text_lies_in_the_picture(report: BenchReport) -> None:
    root = ElementTree.fromstring(plot(report))
    _, _, width, height = (float(part) for part in root.attrib["viewBox"].split())
    for group in root.findall(f"{SVG}g"):
        top = float(re.findall(r"[\d.]+", group.attrib["transform"])[1])
        for text in group.iter(f"{SVG}text"):
            assert 0 < float(text.attrib["x"]) < width
            assert 0 < top + float(text.attrib["y"]) < height


def test_nothing_from_outside_becomes_markup(report: BenchReport) -> None:
    root = ElementTree.fromstring(plot(report))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {"svg", "title", "rect", "g", "text", "line", "circle"}
    assert any("<script>" in text for text in words(plot(report)))


def test_a_goal_mark_is_where_the_fast_series_would_just_meet_it(report: BenchReport) -> None:
    value, met = goal_marks(report)["boot.fork"]
    assert value == pytest.approx(14.0 / 50)
    assert met


def test_the_terminal_shows_the_same(report: BenchReport) -> None:
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=140))
    said = stream.getvalue()
    assert "simulated guest: no operating system at all (not Windows); tcg, QEMU 7.2" in said
    assert "valid for this host" in said
    assert re.search(r"fork\s+210 ms\s+218 ms\s+20\s+66\.8 ×", said)
    assert "not here: no labgrid" in said
    assert "failed: </text>" in said
    assert re.search(r"met\s+66\.8 ×\s+fork to first guest command answered", said)
    assert "KD decoder" not in said, "budgets of measures that were not asked for are no news"


def test_a_terminal_of_eighty_columns_breaks_no_figure(report: BenchReport) -> None:
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=80))
    assert re.search(r"fork\s+210 ms\s+218 ms", stream.getvalue())


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.0123, "s", "12.3 ms"),
        (0.4123, "s", "412 ms"),
        (13.21, "s", "13.2 s"),
        (1234.0, "prints/s", "1 234 prints/s"),
        (1.94, "MB/s", "1.94 MB/s"),
        (60.0, "MiB", "60.0 MiB"),
    ],
)
def test_figures_for_people(value: float, unit: str, said: str) -> None:
    assert figure(value, unit) == said  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotHere("no labgrid", hint="bash ci/peer.sh"), "no labgrid; try: bash ci/peer.sh"),
        (HostToolError(["lab"], 1, "much\nto read", hint="read lab.log"), "lab ended with 1; try: read lab.log"),
        (HostToolError(["lab"], 1, "much\nto read"), "lab ended with 1"),
    ],
)
def test_an_error_in_one_line_keeps_its_hint(error: LabError, said: str) -> None:
    assert one_line(str(error)) == said


def test_ratios_for_people() -> None:
    assert [times(54.21), times(1.8), times(123.4)] == ["54.2 ×", "1.80 ×", "123 ×"]
