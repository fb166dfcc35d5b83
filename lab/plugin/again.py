"""Runs a test again in a fresh guest, once, if the gate asks for it: it failed because of time, and its guest was starved.

pytest's own protocol reports each phase at once. Here the report of a phase that may not be final is held back; if the test is
run again, the held reports are dropped, and pytest sees only the second run. ``run.json`` has both runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from _pytest.runner import call_and_report  # pytest-rerunfailures and others use this module in the same way

if TYPE_CHECKING:
    from lab.plugin.session import LabSession

_LOG = logging.getLogger(__name__)


class Again:
    """Replaces pytest's protocol for tests that use a guest; a plugin of pytest.

    Args:
        session_of: The lab's session, if there is one.
    """

    def __init__(self, session_of: Callable[[pytest.Config], LabSession | None]) -> None:
        self._session_of = session_of
        self._second: pytest.Item | None = None

    @pytest.hookimpl
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run a test, and once more if its first run decides nothing."""
        session = self._session_of(item.config)
        if session is None or item.nodeid not in session.users or not session.second_runs.possible or _is_left_to_others(item):
            return None
        if item is self._second:
            _run(item, nextitem, hold=lambda: False)
            return True
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        before = list(item.user_properties)
        held = _run(item, nextitem, hold=lambda: session.second_runs.holds_back)
        if session.second_runs.give_back(item.nodeid):
            item.user_properties[:] = before
            item._report_sections.clear()
            self._run_again(item, nextitem)
        else:
            for report in held:
                item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _run_again(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Call the whole hook again, so that the wrappers of other plugins apply to this run, too."""
        if hasattr(item.config.hook, "pytest_timeout_cancel_timer"):
            item.ihook.pytest_timeout_cancel_timer(item=item)  # otherwise pytest-timeout's clock would count both runs
        self._second = item
        try:
            item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        finally:
            self._second = None


def _run(item: pytest.Item, nextitem: pytest.Item | None, *, hold: Callable[[], bool]) -> list[pytest.TestReport]:
    """Setup, call and teardown, as in :func:`_pytest.runner.runtestprotocol`.

    Args:
        item: The test.
        nextitem: The one after it.
        hold: Whether reports are held back, from the present one on.

    Returns:
        The reports that were held back.
    """
    held: list[pytest.TestReport] = []

    def phase(when: str, **more: object) -> pytest.TestReport:
        report = call_and_report(item, when, log=False, **more)  # type: ignore[arg-type]
        held.append(report)
        if not hold():
            for one in held:
                item.ihook.pytest_runtest_logreport(report=one)
            held.clear()
        return report

    if not getattr(item, "_request", True):
        item._initrequest()  # type: ignore[attr-defined]  # it was run before
    try:
        if phase("setup").passed:
            phase("call")
        if item.session.shouldfail or item.session.shouldstop:
            nextitem = None  # the last test: errors in the teardown of all fixtures belong to it
        phase("teardown", nextitem=nextitem)
    finally:
        if hasattr(item, "_request"):
            item._request = False
            item.funcargs = None  # type: ignore[attr-defined]
    return held


def _is_left_to_others(item: pytest.Item) -> bool:
    """Whether another plugin runs the test again by its own rules, or pytest shows how fixtures are set up."""
    config = item.config
    return bool(
        item.get_closest_marker("flaky")
        or config.getoption("reruns", None)
        or config.getoption("setuponly", False)
        or config.getoption("setupshow", False)
    )
