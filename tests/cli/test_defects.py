"""`lab selftest defects`: its command line, and the order of its runs."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from lab.cli.defect_runs import next_stage
from lab.cli.defects import exit_code
from lab.cli.main import app
from lab.defects.model import Outcome
from lab.errors import ConfigError
from tests.defects.test_show import report


@pytest.mark.parametrize(
    ("done", "caught", "lost", "everything", "following"),
    [
        (["first"], True, False, False, ""),
        (["first"], True, False, True, "rest"),
        (["first"], False, False, False, "rest"),
        (["first"], False, True, False, "again"),
        (["first"], True, True, False, ""),
        (["first", "again"], False, True, False, "rest"),
        (["first", "again"], True, False, False, ""),
        (["first", "rest"], False, True, True, ""),
    ],
)
def test_what_is_run_next(done: list[str], caught: bool, lost: bool, everything: bool, following: str) -> None:
    assert next_stage(done, caught=caught, lost=lost, everything=everything) == following


@pytest.mark.parametrize(
    ("outcomes", "red", "code"),
    [
        (["caught", "not on this guest"], [], 0),
        (["caught", "survived"], [], 1),
        (["caught", "another verdict", "not judged"], [], 1),
        (["caught", "another test"], [], 1),
        (["caught", "not judged"], [], 10),
        (["caught"], ["suites/test_ring.py::test_a"], 10),
    ],
)
def test_exit_codes(outcomes: list[Outcome], red: list[str], code: int) -> None:
    [one, *_] = report().defects
    entries = [one.model_copy(update={"outcome": outcome}) for outcome in outcomes]
    assert exit_code(report().model_copy(update={"defects": entries, "red_without": red})) == code


def test_defects_are_listed() -> None:
    result = CliRunner().invoke(app, ["selftest", "defects", "--list"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 50
    assert "sync-slots-come-again" in result.output
    assert "(needs direct_io)" in result.output


def test_a_defect_is_shown_as_a_change_of_the_source() -> None:
    result = CliRunner().invoke(app, ["selftest", "defects", "--list", "sync-cap-off-by-one"])
    assert "\n-#define READ_CAP 20\n+#define READ_CAP 21\n" in result.output


def test_an_unknown_defect_is_an_error() -> None:
    result = CliRunner().invoke(app, ["selftest", "defects", "sync-lifo"])
    assert isinstance(result.exception, ConfigError)
    assert "there is no defect sync-lifo" in result.exception.message
