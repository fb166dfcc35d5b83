"""What `lab bisect` shows: a line for each step that is over, and on a terminal also what is going on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

from lab.bisect.screen import Screen
from lab.host.console import is_animated, open_console


class _Lines:
    """Lines alone, for a log."""

    def __init__(self, console: Console, status: Status | None = None) -> None:
        self._console = console
        self._status = status

    def say(self, text: str) -> None:
        """See :class:`lab.bisect.screen.Screen`."""
        self._console.print(text, soft_wrap=True)

    def doing(self, text: str) -> None:
        """See :class:`lab.bisect.screen.Screen`."""
        if self._status is not None:
            # A status of more than one line would leave parts of it on the screen.
            self._status.update(text[: max(1, self._console.width - 4)])


@contextmanager
def open_screen() -> Iterator[Screen]:
    """The screen that suits standard output."""
    console = open_console()
    if not is_animated(sys.stdout):
        yield _Lines(console)
        return
    with console.status("starting") as status:
        yield _Lines(console, status)
