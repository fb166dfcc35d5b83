"""The end of a session whose other plugins cannot write any more: the lab's results are still written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator

import pytest

_LOG = logging.getLogger(__name__)


class FinishAnyway:
    """Calls the lab's end of the session if another plugin's failed before it, such as pytest's JUnit file on a full disk.

    Args:
        finish: The lab's own end; it is called last otherwise.
    """

    def __init__(self, finish: Callable[[pytest.Session], None]) -> None:
        self._finish = finish

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Wraps all others."""
        try:
            return (yield)
        except OSError as error:
            _LOG.warning("a pytest plugin could not write at the end of the session: %s", error)
            session.config.get_terminal_writer().line(f"\nlab: at the end of the session: {error}")
            self._finish(session)
            return None
