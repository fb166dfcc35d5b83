"""Lines for people while tests run: pytest captures what is printed, and a worker of pytest-xdist has no terminal."""

from __future__ import annotations

import logging
import os

_LOG = logging.getLogger(__name__)


class Terminal:
    """Standard error as it was before pytest began to capture it; a plugin of pytest.

    A worker inherits it from the controller. Made when the lab's plugin is registered, which is before the capture.
    """

    def __init__(self) -> None:
        try:
            self._fd = os.dup(2)
        except OSError as error:
            _LOG.info("there is no standard error: %s", error)
            self._fd = -1

    def say(self, text: str) -> None:
        """Write a line; a line that cannot be written is in the log."""
        if self._fd < 0:
            return
        try:
            # The dots of pytest may be on the same line.
            os.write(self._fd, f"\nlab: {text}\n".encode("utf-8", "backslashreplace"))
        except OSError as error:
            _LOG.info("not shown: %r: %s", text, error)

    def pytest_unconfigure(self) -> None:
        """The end of the session."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def say(plugin: object, worker: str, text: str) -> None:
    """Show a line of a worker, if there is a terminal."""
    if isinstance(plugin, Terminal):
        plugin.say(text if worker == "master" else f"{worker} {text}")
