"""A test that sleeps on the host, with a guest that has a virtual clock, gets a note about what to do instead."""

from __future__ import annotations

import pytest

pytest_plugins = ("pytester",)

CONFTEST = """
import pytest
from lab.plugin.host_sleep import HostSleep

WATCH = HostSleep(lambda: {virtual})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    with WATCH.watched(item):
        return (yield)
"""
TESTS = """
import time
from time import sleep

import helper


def test_by_module():
    time.sleep(0)
    time.sleep(0)


def test_by_name():
    sleep(0)


def test_by_a_helper():
    helper.poll()
"""


@pytest.mark.parametrize(
    ("virtual", "selected", "warnings"),
    [
        (True, "", 1),
        (True, "test_by_name", 1),
        (True, "test_by_a_helper", 0),  # polls of libraries do not count as sleeps of the test
        (False, "", 0),
    ],
)
def test_the_note_is_shown_once(pytester: pytest.Pytester, virtual: bool, selected: str, warnings: int) -> None:
    pytester.makeconftest(CONFTEST.replace("{virtual}", str(virtual)))
    pytester.makepyfile(helper="import time\n\n\ndef poll():\n    time.sleep(0)\n")
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "0", "-k", selected or "test")
    result.assert_outcomes(passed=1 if selected else 3, warnings=warnings)
    if warnings:
        result.stdout.fnmatch_lines(["*time.sleep(0) on the host lets no time pass in a guest with a virtual clock*"])


def test_the_real_function_is_back_afterwards(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        CONFTEST.replace("{virtual}", "True")
        + "\n\ndef pytest_sessionfinish():\n    import time\n\n    assert time.sleep.__module__ == 'time', time.sleep\n"
    )
    pytester.makepyfile(TESTS.replace("import helper", "").replace("helper.poll()", "pass"))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "0")
    assert result.ret == 0
