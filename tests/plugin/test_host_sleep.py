"""A test that sleeps on the host, with a guest that has a virtual clock, gets a note about what to do instead."""

from __future__ import annotations

from typing import Any

import pytest

import lab.plugin
from lab.plugin import hooks

pytest_plugins = ("pytester",)

CONFTEST = """
import pytest
from lab.plugin.host_sleep import HostSleep

WATCH = HostSleep(lambda: {virtual})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    WATCH.begin()
    with WATCH.watched(item):
        return (yield)
"""
TESTS = """
import time
from time import sleep

import helper


def test_by_module():
    time.sleep(0.001)
    time.sleep(0.001)


def test_by_name():
    time.sleep(0)
    sleep(0.001)


def test_by_a_helper():
    helper.poll()
"""


@pytest.mark.parametrize(
    ("virtual", "selected", "warnings"),
    [
        (True, "", 3),
        (True, "test_by_module", 1),
        (True, "test_by_name", 1),
        (True, "test_by_a_helper", 1),
        (False, "", 0),
    ],
)
def test_the_note_is_shown_once_for_each_test(pytester: pytest.Pytester, virtual: bool, selected: str, warnings: int) -> None:
    pytester.makeconftest(CONFTEST.replace("{virtual}", str(virtual)))
    pytester.makepyfile(helper="import time\n\n\ndef poll():\n    time.sleep(0.001)\n")
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "0", "-k", selected or "test")
    result.assert_outcomes(passed=1 if selected else 3, warnings=warnings)
    if warnings:
        result.stdout.fnmatch_lines(["*time.sleep(0.001) on the host lets no time pass in a guest with a virtual clock*"])


def test_the_real_function_is_back_afterwards(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        CONFTEST.replace("{virtual}", "True")
        + "\n\ndef pytest_sessionfinish():\n    import time\n\n    assert time.sleep.__module__ == 'time', time.sleep\n"
    )
    pytester.makepyfile(TESTS.replace("import helper", "").replace("helper.poll()", "pass"))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "0")
    assert result.ret == 0


#: The driver's timer prints nothing while the test sleeps: the guest stands still.
TOO_EARLY = """
import time
import pytest

@pytest.fixture
def settled(reader):
    time.sleep({setup})

@pytest.mark.lab_driver("sync")
def test_timer(settled, reader, prints):
    time.sleep({call})
    assert len(prints.records()) == 20
"""


@pytest.mark.parametrize(("setup", "call", "line"), [("0", "0.001", 12), ("0.001", "0", 8)])
def test_a_driver_is_not_accused_of_what_a_guest_that_stands_still_did_not_do(
    inner: Any, setup: str, call: str, line: int
) -> None:
    inner.prepare("source.clock = 'virtual'")
    result = inner.run(TOO_EARLY.format(setup=setup, call=call), "-W", "default")
    result.assert_outcomes(failed=1, warnings=1)
    entry = inner.test("test_timer")
    assert (entry.verdict, entry.clock) == ("test", "virtual")
    assert entry.reason.startswith(f"time.sleep(0.001) in test_inner.py:{line} let no time pass in the guest")


def test_with_a_real_clock_its_sleeps_are_its_own_business(inner: Any) -> None:
    inner.run(TOO_EARLY.format(setup="0.001", call="0.001"))
    assert inner.test("test_timer").verdict == "product"


def test_where_warnings_are_errors_the_test_is_wrong_and_not_the_lab(inner: Any) -> None:
    inner.prepare("source.clock = 'virtual'")
    inner.run(TOO_EARLY.format(setup="0", call="0.001"), "-W", "error")
    entry = inner.test("test_timer")
    assert entry.verdict == "test"
    assert "time.sleep(0.001) on the host lets no time pass" in entry.reason
    assert "report it" not in entry.reason


def test_each_hook_is_among_the_names_that_pytest_sees() -> None:
    assert {name for name in vars(hooks) if name.startswith("pytest_")} <= set(lab.plugin.__all__)
