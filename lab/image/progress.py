"""Progress of long steps: what is being done, and how long each step took."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.status import Status

from lab.host.console import is_animated, open_console


class Progress(Protocol):
    """Where a recipe says what it does. One stage follows the other."""

    def stage(self, text: str) -> None:
        """A new stage begins; the one before it is done."""

    def detail(self, text: str) -> None:
        """What happens within the stage right now; may be shown or not."""

    def done(self, text: str) -> None:
        """Everything is done; ``text`` says what came of it."""


class PlainProgress:
    """One line a stage, written when it begins and again, with its duration, when it ends: for logs and CI."""

    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._began = clock()
        self._current: tuple[str, float] | None = None

    def stage(self, text: str) -> None:
        """See :class:`Progress`."""
        self._finish()
        self._current = (text, self._clock())
        self._write(f"{text} …")

    def detail(self, text: str) -> None:
        """Details would only make a log longer."""

    def done(self, text: str) -> None:
        """See :class:`Progress`."""
        self._finish()
        self._write(f"{text} ({self._clock() - self._began:.1f} s)")

    def _finish(self) -> None:
        if self._current:
            text, started = self._current
            self._write(f"{text}: {self._clock() - started:.1f} s")
        self._current = None

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class RichProgress:
    """A line that moves while a stage runs, and stays with its duration when the stage is done: for a terminal."""

    def __init__(self, console: Console, status: Status, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._status = status
        self._clock = clock
        self._began = clock()
        self._current: tuple[str, float] | None = None

    def stage(self, text: str) -> None:
        """See :class:`Progress`."""
        self._finish()
        self._current = (text, self._clock())
        self._status.update(text)

    def detail(self, text: str) -> None:
        """See :class:`Progress`."""
        if self._current:
            self._status.update(f"{self._current[0]}: {text[: max(20, self._console.width - 40)]}", spinner="dots")

    def done(self, text: str) -> None:
        """See :class:`Progress`."""
        self._finish()
        self._console.print(f"{text} ({self._clock() - self._began:.1f} s)", markup=False, highlight=False)

    def _finish(self) -> None:
        if self._current:
            text, started = self._current
            self._console.print(f"✓ {text}: {self._clock() - started:.1f} s", markup=False, highlight=False)
        self._current = None


@contextmanager
def open_progress(stream: TextIO | None = None) -> Iterator[Progress]:
    """The progress display that suits the stream (standard error): moving on a terminal, plain lines anywhere else."""
    target = stream or sys.stderr
    if not is_animated(target):
        yield PlainProgress(target)
        return
    console = open_console(target)
    with console.status("starting") as status:
        yield RichProgress(console, status)
