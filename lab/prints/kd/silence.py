"""Decides when a silent target gets a break-in, which shows it that it has a debugger."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial

from lab.prints.kd.collector import Collector
from lab.prints.kd.session import Session

#: After so many seconds without a byte the user gets a line about it.
_QUIET_S = 10.0
#: After so many seconds without a byte, the target is assumed to be running already.
_SILENT_S = 15.0
#: Seconds between two break-ins with --break-in: for the first ones, and for the later ones.
_BREAK_IN_S = 2.0
_RARE_BREAK_IN_S = 30.0
_OFTEN = 10


class BreakIn(StrEnum):
    """When a silent target gets a break-in."""

    NEVER = "never"
    WHEN_SILENT = "when silent"
    AT_ONCE = "at once"


class SilenceWatch:
    """Sends break-ins to a target that was running before its host connected: it is silent until it notices the debugger.

    Args:
        when: When it gets a break-in.
        complain: Gets the line about the silence, for the user.
    """

    def __init__(self, when: BreakIn, complain: Callable[[str], None]) -> None:
        self._when = when
        self._complain = complain
        self._tries = 0
        self._said = False

    def check(self, collector: Collector, silent: float) -> None:
        """Called repeatedly while nothing comes.

        Args:
            collector: The host.
            silent: Seconds since the start.
        """
        if self._when is not BreakIn.NEVER and silent >= self._due:
            # A running target checks for a break-in byte; a stopped one answers only a reset.
            what, do = ("reset", _reset) if self._tries % 2 else ("break-in", _break_in)
            self._tries += 1
            text = f"nothing heard for {silent:.0f} s: sent a {what}, for a kernel that is running or stopped"
            collector.ask(partial(_do_and_say, do, text))
        if not self._said and silent >= _QUIET_S:
            self._said = True
            self._complain(f"nothing heard for {_QUIET_S:.0f} s{self._hint}")

    @property
    def _due(self) -> float:
        if self._when is BreakIn.WHEN_SILENT:
            return _SILENT_S * (1 + self._tries)
        return 1.0 + min(self._tries, _OFTEN) * _BREAK_IN_S + max(self._tries - _OFTEN, 0) * _RARE_BREAK_IN_S

    @property
    def _hint(self) -> str:
        if self._when is BreakIn.NEVER:
            return "; for a kernel that is already running, use --break-in"
        when_silent = self._when is BreakIn.WHEN_SILENT
        return f"; a kernel that is already running gets a break-in after {_SILENT_S:.0f} s" if when_silent else ""


def _break_in(session: Session, _now: float) -> None:
    session.break_in()


def _reset(session: Session, now: float) -> None:
    session.reset(now)


def _do_and_say(do: Callable[[Session, float], None], text: str, session: Session, now: float) -> None:
    do(session, now)
    session.remark(text, time.time())
