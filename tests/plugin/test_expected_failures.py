"""Known issues, xfail, skip and failing fixtures in whole inner runs."""

from __future__ import annotations

from typing import Any

import pytest


def test_known_issues_of_the_lab_file(inner: Any) -> None:
    inner.pytester.makefile(
        ".yaml",
        lab="known:\n- {test: '*::test_wrong', driver: sync, reason: 'a bug of ours', until: 2999-01-01}\n",
    )
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_wrong(reader):
    assert reader.read(length=20)[0].text == "slot Z"
"""
    )
    assert inner.verdicts == {"test_wrong": "known"}
    assert inner.report.exit_code == 0


def test_a_run_that_stopped_at_a_known_issue_has_not_checked_everything(inner: Any) -> None:
    inner.pytester.makefile(".yaml", lab="known:\n- {test: '*', reason: 'a bug of ours', until: 2999-01-01}\n")
    inner.run("def test_wrong(guest): assert False\ndef test_after(guest): pass\n", "-x")
    assert inner.verdicts == {"test_wrong": "known"}
    assert len(inner.report.not_run) == 1
    assert inner.report.exit_code == 5


def test_an_assertion_of_a_test_without_the_lab_accuses_no_driver(inner: Any) -> None:
    inner.run(
        """
def test_plain(): assert 1 == 2
def test_fixture(guest): assert 1 == 2
def test_late(request):
    request.getfixturevalue("guest")
    assert 1 == 2
@pytest.mark.lab_driver("sync")
def test_marker(): assert 1 == 2
@pytest.mark.lab_fresh
def test_fresh(): assert 1 == 2
@pytest.fixture
def own(guest): return 1
def test_by_a_fixture(own): assert own == 2
@pytest.mark.xfail(reason="not yet")
def test_expected(): assert 1 == 2
"""
    )
    product = dict.fromkeys(["test_fixture", "test_late", "test_marker", "test_fresh", "test_by_a_fixture"], "product")
    assert inner.verdicts == product | {"test_plain": "test", "test_expected": "known"}


def test_xfail_skip_and_failing_fixtures(inner: Any) -> None:
    inner.run(
        """
@pytest.mark.xfail(reason="not yet")
def test_expected(guest):
    assert False

@pytest.mark.skip(reason="not today")
def test_skipped(guest):
    pass

@pytest.fixture
def broken(guest):
    raise RuntimeError("a bug in a fixture")

def test_fixture(broken):
    pass
"""
    )
    assert inner.verdicts == {"test_expected": "known", "test_skipped": "skipped", "test_fixture": "test"}
    assert inner.test("test_skipped").reason == "not today"


@pytest.mark.parametrize(
    ("length", "verdict"), [(66, "crash"), (77, "known"), (88, "infra"), (99, "infra")], ids=["fault", "hang", "gap", "end"]
)
def test_an_expected_failure_excuses_the_driver_alone(inner: Any, length: int, verdict: str) -> None:
    result = inner.run(
        f"""
pytestmark = pytest.mark.lab_driver("sync")

@pytest.mark.xfail(reason="not yet")
def test_expected(reader, prints):
    reader.read(length={length})
    prints.drain()
    assert False

def test_after(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""
    )
    assert inner.verdicts == {"test_expected": verdict, "test_after": "passed"}
    assert len(inner.report.guests) == 2
    assert (result.ret == 0) is (verdict == "known")


def test_an_expected_failure_leaves_no_spoilt_guest_in_use(inner: Any) -> None:
    result = inner.run(
        """
from lab.errors import TransportError

@pytest.mark.xfail(reason="not yet")
def test_expected(guest):
    raise TransportError("the connection was reset")

def test_after(guest):
    pass
"""
    )
    entry = inner.test("test_expected")
    assert (entry.verdict, entry.reason) == ("infra", "the connection was reset")
    assert "TransportError" in entry.details
    assert [guest.ended for guest in inner.report.guests] == ["TransportError: the connection was reset", "end of run"]
    assert result.ret == 1
