"""Fixtures of the suites on top of the lab's own."""

from __future__ import annotations

import pytest

from lab.prints.stream import PrintStream

pytest.register_assert_rewrite("suites.helpers")

from suites.helpers import Tick, Ticks, expect_ticks  # noqa: E402 - its assertions are rewritten only when asked for before


@pytest.fixture
def ticks(prints: PrintStream) -> Ticks:
    """Waits for the pairs of prints of the async driver's ticks: ``ticks(13, 13)``."""

    def run(*lengths: int, timeout: float = 20) -> list[Tick]:
        __tracebackhide__ = True
        return expect_ticks(prints, lengths, timeout=timeout)

    return run
