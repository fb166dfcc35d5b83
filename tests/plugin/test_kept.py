"""Which guest stays up after a failed test, and in which state."""

from __future__ import annotations

import json

import pytest

from tests.plugin.conftest import Inner

#: At the end of the run: for each guest the commands for its services, and how it was closed.
_WRITE_DOWN = """
def pytest_unconfigure(config):
    for source in SOURCES:
        told = [
            {"stops": sum("stop" in line for line in g.transport.commands), "killed": g.machine.killed, "id": g.guest_id,
             "abandoned": g.transport.abandoned}
            for g in source.guests
        ]
        pathlib.Path("guests.json").write_text(__import__("json").dumps(told))
"""
_TWO_TESTS = """
pytestmark = pytest.mark.lab_driver("sync")
def test_red(driver):
    assert False, "the driver misbehaves"
def test_green(driver):
    assert driver.state().name == "RUNNING"
"""


def guests_of(inner: Inner) -> list[dict[str, object]]:
    return list(json.loads((inner.pytester.path / "guests.json").read_text()))


@pytest.mark.parametrize("forks", ["None", "SimulatedForks()"])
def test_the_guest_of_a_failed_test_is_kept_as_the_test_left_it(inner: Inner, forks: str) -> None:
    inner.prepare(forks=forks, more=_WRITE_DOWN)
    result = inner.run(_TWO_TESTS, "--lab-keep", "failed")
    result.assert_outcomes(failed=1, passed=1)
    kept, other = guests_of(inner)
    # The driver stays loaded, and the connection's processes run on: no driver is unloaded, and no shell is deleted.
    assert kept == {"stops": 0, "killed": False, "id": "master-1", "abandoned": True}
    assert (other["killed"], other["id"]) == (True, "master-2")
    first, second = inner.report.guests
    assert first.kept_as == "master-1"
    assert first.ended.startswith("left running after test_inner.py::test_red; it runs on: `lab shell master-1` opens it")
    assert second.kept_as == ""
    result.stdout.fnmatch_lines(["guest master-1 ended: left running after test_inner.py::test_red; it runs on: `lab shell*"])


def test_only_the_first_guest_is_kept_and_later_ones_are_cleaned_up(inner: Inner) -> None:
    inner.prepare(more=_WRITE_DOWN)
    tests = _TWO_TESTS + "def test_red_again(driver):\n    assert False\n"
    inner.run(tests, "--lab-keep", "failed").assert_outcomes(failed=2, passed=1)
    kept, other = guests_of(inner)
    assert (kept["killed"], other["killed"]) == (False, True)
    assert other["stops"] == 2
    assert [guest.kept_as for guest in inner.report.guests] == ["master-1", ""]


@pytest.mark.parametrize("keep", ["never", "always"])
def test_without_the_option_a_failure_leaves_no_driver_loaded(inner: Inner, keep: str) -> None:
    inner.prepare(more=_WRITE_DOWN)
    inner.run(_TWO_TESTS, "--lab-keep", keep).assert_outcomes(failed=1, passed=1)
    [guest] = guests_of(inner)
    assert guest["stops"] == 2
    assert guest["killed"] == (keep == "never")


def test_a_driver_that_does_not_load_is_kept_too(inner: Inner) -> None:
    inner.prepare(changes="source.refuse_start = True", more=_WRITE_DOWN)
    inner.run(_TWO_TESTS, "--lab-keep", "failed").assert_outcomes(errors=2)
    assert inner.report.guests[0].ended.startswith("left running after test_inner.py::test_red; it runs on")
