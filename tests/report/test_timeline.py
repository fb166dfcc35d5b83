"""The geometry of the pictures."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lab.report.model import RunReport
from lab.report.timeline import WIDTH, axis, print_plot, timeline
from lab.report.view import printable, seconds, view_tests
from tests.report.invented import print_at, tick_prints


def test_every_test_and_guest_is_inside_of_the_picture(run: RunReport) -> None:
    picture = timeline(run, view_tests(run))
    assert picture is not None
    assert [lane.worker for lane in picture.lanes] == ["gw0", "gw1"]
    bars = [bar for lane in picture.lanes for bar in (*lane.tests, *lane.guests)]
    assert sum(len(lane.tests) for lane in picture.lanes) == len(run.tests)
    # A bar may be drawn wider than it is, so that it can be seen.
    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH + 2 for bar in bars)


def test_boot_copy_and_load_follow_each_other(run: RunReport) -> None:
    picture = timeline(run, view_tests(run))
    assert picture is not None
    first = picture.lanes[0].guests[:4]
    assert [bar.kind for bar in first] == ["boot", "copy", "load", "ended"]
    for left, right in pairwise(first):
        assert right.x == pytest.approx(left.x + left.width, abs=0.1)


def test_the_boot_of_its_guest_is_not_the_first_tests_time(run: RunReport) -> None:
    [guest] = [guest for guest in run.guests if guest.guest_id == "gw0-1"]
    test = run.tests[0].model_copy(
        update={"guest_id": "gw0-1", "worker": "gw0", "started": guest.started - 0.5, "duration_s": 30.0}
    )
    report = run.model_copy(update={"tests": [test], "guests": [guest]})
    [view] = view_tests(report)
    assert view.prepared_s == pytest.approx(0.5 + (guest.boot_s or 0) + (guest.copy_s or 0))
    assert view.own_s == pytest.approx(30.0 - view.prepared_s)
    picture = timeline(report, [view])
    assert picture is not None
    [bar] = picture.lanes[0].tests
    assert bar.x + bar.width == pytest.approx(WIDTH, abs=0.1)
    later = test.model_copy(update={"started": guest.started + 30})
    assert view_tests(report.model_copy(update={"tests": [later]}))[0].prepared_s == 0


def test_workers_are_sorted_as_numbers(run: RunReport) -> None:
    tests = [run.tests[0].model_copy(update={"worker": worker}) for worker in ("gw10", "gw2", "master", "gw1")]
    report = run.model_copy(update={"tests": tests, "guests": []})
    picture = timeline(report, view_tests(report))
    assert picture is not None
    assert [lane.worker for lane in picture.lanes] == ["gw1", "gw2", "gw10", "master"]


def test_ticks_of_the_async_driver_are_dots_with_pauses() -> None:
    plot = print_plot(tick_prints(0, 100.0, 3))
    assert plot is not None
    assert [dot.count for dot in plot.dots] == [2, 2, 2]
    assert [gap.label for gap in plot.gaps] == ["1.000 s", "1.000 s"]
    assert plot.dots[0].x == 0
    assert plot.dots[1].x == pytest.approx(plot.dots[2].x / 2, abs=0.2)


def test_prints_at_one_time_or_without_time_give_no_picture() -> None:
    assert print_plot([]) is None
    assert print_plot([print_at(n, 1.0 + n / 1000, "x") for n in range(9)]) is None
    assert print_plot([print_at(n, n, "x").model_copy(update={"guest_time": None}) for n in range(9)]) is None


@pytest.mark.parametrize("span", [0.0, 0.3, 1.0, 3.3, 59.0, 61.0, 1000.0, 90000.0])
def test_the_axis_has_a_handful_of_round_marks(span: float) -> None:
    ticks = axis(span, 1000.0)
    assert 1 <= len(ticks) <= 13
    assert ticks[0].label == "0 s"
    assert all(0 <= tick.x <= 1000.1 for tick in ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0 ms"),
        (0.083, "83 ms"),
        (0.0996, "0.1 s"),
        (4.24, "4.2 s"),
        (99.96, "1 min 40 s"),
        (185.2, "3 min 05 s"),
    ],
)
def test_durations_for_people(value: float | None, text: str) -> None:
    assert seconds(value) == text


def test_characters_without_shape_become_escapes() -> None:
    assert printable("读取DPC长度: 13\n") == "读取DPC长度: 13"
    assert printable("a\tb\nc") == "a\tb\nc"
    assert printable("a\x07\x1b[0m\u202e\u2028\r\n") == "a\\x07\\x1b[0m\\u202e\\u2028"
