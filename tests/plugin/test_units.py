"""No more workers are started than there is work for."""

from __future__ import annotations

import re

import pytest

from lab.plugin.units import unit_of
from tests.plugin.conftest import Inner

_TESTS = """
def test_one(guest): pass
def test_two(guest): pass
def test_three(guest): pass
class TestSeveral:
    def test_four(self, guest): pass
    def test_five(self, guest): pass
"""


@pytest.mark.parametrize(
    ("arguments", "workers"),
    [
        (("-k", "one or two", "--dist", "load"), 2),
        (("-k", "one", "--dist", "load"), 1),
        (("--dist", "loadfile"), 1),
        # The class, and the module's tests outside of classes.
        (("--dist", "loadscope"), 2),
        (("--dist", "loadscope", "-k", "Several"), 1),
        # Without tests there is one unit, for one worker.
        (("-k", "none_of_that_name"), 1),
    ],
)
def test_a_thousand_workers_are_wanted(
    inner: Inner, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], workers: int
) -> None:
    monkeypatch.setenv("LAB_CACHE", str(inner.pytester.path / "cache"))
    result = inner.run(_TESTS, "-n", "1000", *arguments)
    created = re.search(r"created: (\d+)/(\d+) worker", result.stdout.str())
    assert created is not None
    assert created.groups() == (str(workers), str(workers))
    if "none_of_that_name" not in arguments:
        assert inner.report.workers == workers


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("file", "a/test_b.py"), ("class", "a/test_b.py::TestC"), ("test", "a/test_b.py::TestC::test_d[x::y]")],
)
def test_which_tests_go_to_a_worker_in_one_piece(unit: str, expected: str) -> None:
    assert unit_of("a/test_b.py::TestC::test_d[x::y]", unit) == expected  # type: ignore[arg-type]
