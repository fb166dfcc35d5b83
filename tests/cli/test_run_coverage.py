"""`lab run --coverage`: the option for pytest, and the limit of covered lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.cli.child import ChildEnd
from lab.errors import ConfigError
from lab.report import assemble
from lab.report.model import CoverageEntry, DriverCoverage
from tests.cli.running import FakeChild, lab, read


def covered(monkeypatch: pytest.MonkeyPatch, percent: float, /, **more: Any) -> None:
    """Runs of which so many lines of 100 ran."""
    lines = round(percent)
    boiler = DriverCoverage(name="boiler", lines=100, covered=lines)
    values: dict[str, Any] = {"lines": 100, "covered": lines, "percent": percent, "drivers": [boiler], **more}
    entry = CoverageEntry(**values)
    monkeypatch.setattr(assemble, "make_coverage", lambda *_args, **_options: entry)


@pytest.mark.parametrize(("limit", "code"), [("80", 0), ("80.5", 5)])
def test_a_run_below_its_limit_ends_with_5(
    child: Callable[..., FakeChild], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, code: int
) -> None:
    fake = child(ChildEnd(0), ["passed"])
    covered(monkeypatch, 80.0)

    done = lab("run", "--coverage", "--coverage-fail-under", limit, "--out", str(tmp_path / "out"))

    assert done.exit_code == code, done.output
    assert "--lab-coverage=lines" in fake.argv
    assert "80% of the lines ran, 80 of 100" in done.output
    assert ("is below the limit of 80.5%" in done.output) == bool(code)
    report = read(tmp_path / "out")
    assert report.exit_code == code
    assert report.coverage is not None


_NOTHING: dict[str, Any] = {"lines": 0, "covered": 0, "percent": None, "drivers": []}


@pytest.mark.parametrize("counted", [_NOTHING, None])
def test_a_limit_is_not_reached_where_nothing_was_counted(
    child: Callable[..., FakeChild], monkeypatch: pytest.MonkeyPatch, counted: dict[str, Any] | None
) -> None:
    child(ChildEnd(0), ["passed"])
    if counted is not None:
        covered(monkeypatch, 0.0, **counted)

    done = lab("run", "--coverage", "--coverage-fail-under", "90")

    assert done.exit_code == 5, done.output
    assert "no line of a driver was counted, so the limit of 90% is not reached" in done.output


@pytest.mark.parametrize(("words", "code"), [((), 5), (("-k", "test_0"), 0)])
def test_lines_of_a_driver_that_no_test_used_count_unless_tests_were_left_out(
    child: Callable[..., FakeChild], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int
) -> None:
    child(ChildEnd(0), ["passed"])
    covered(monkeypatch, 95.0, unused_lines=20)

    done = lab("run", "--coverage", "--coverage-fail-under", "90", *words)

    assert done.exit_code == code, done.output
    assert ("coverage 79.2%, with the 20 lines of drivers that no test used, is below" in done.output) == bool(code)


def test_a_run_whose_lines_cannot_be_counted_ends_with_10(
    child: Callable[..., FakeChild], monkeypatch: pytest.MonkeyPatch
) -> None:
    child(ChildEnd(0), ["passed"])
    covered(monkeypatch, 0.0, **_NOTHING, failed=True, notes=["the lines cannot be counted: gcov failed"])

    done = lab("run", "--coverage")

    assert done.exit_code == 10, done.output
    assert "gcov failed" in done.output
    assert "0%" not in done.output


def test_a_red_test_counts_more_than_the_limit(child: Callable[..., FakeChild], monkeypatch: pytest.MonkeyPatch) -> None:
    child(ChildEnd(1), ["product"])
    covered(monkeypatch, 10.0)

    assert lab("run", "--coverage", "--coverage-fail-under", "90").exit_code == 1


def test_a_limit_without_coverage_is_wrong_usage(child: Callable[..., FakeChild], tmp_path: Path) -> None:
    child(ChildEnd(0), ["passed"])

    refused = lab("run", "--coverage-fail-under", "90").exception

    assert isinstance(refused, ConfigError)
    assert refused.hint == "add --coverage"
    # A lab file has the limit for the runs that count lines.
    (tmp_path / "lab.yaml").write_text("coverage_fail_under: 90\n", encoding="utf-8")
    assert lab("run").exit_code == 0
