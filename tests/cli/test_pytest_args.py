"""What `lab run` adds to pytest's arguments by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.cli.pytest_args import without_hypothesis

LEFT_OUT = ["-p", "no:hypothesispytest"]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "test_reads.py").write_text("def test_one(): ...\n", encoding="utf-8")
    return tmp_path / "suite"


def test_hypothesis_is_left_out_of_suites_that_do_not_name_it(suite: Path) -> None:
    assert without_hypothesis([str(suite)], []) == LEFT_OUT
    assert without_hypothesis([f"{suite / 'test_reads.py'}::test_one"], ["-k", "one"]) == LEFT_OUT


def test_suites_that_use_hypothesis_keep_its_plugin(suite: Path) -> None:
    (suite / "helpers.py").write_text("from hypothesis import given\n", encoding="utf-8")
    assert without_hypothesis([str(suite)], []) == []
    assert without_hypothesis([str(suite / "helpers.py")], []) == []


def test_an_option_of_hypothesis_keeps_its_plugin(suite: Path) -> None:
    assert without_hypothesis([str(suite)], ["--hypothesis-show-statistics"]) == []


def test_a_suite_that_cannot_be_read_is_left_to_pytest(tmp_path: Path) -> None:
    assert without_hypothesis([str(tmp_path / "missing.py")], []) == LEFT_OUT
