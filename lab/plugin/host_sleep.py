"""Warns of a test that sleeps on the host: that does not advance the time of a guest with a virtual clock.

What the test expects after the sleep may not have happened yet, so its sleep is recorded for the verdict, too.
"""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from lab.errors import SuiteError
from lab.gate.blame import kind_of


class HostSleepWarning(UserWarning):
    """A test has slept on the host, where its guest's time does not pass."""


class HostSleep:
    """Watches for ``time.sleep`` in the code of a suite: its tests, fixtures and helpers.

    Args:
        virtual: Whether the present guest has a virtual clock.
        note: Called with the first sleep of a test, as ``time.sleep(2) in test_it.py:12``.
    """

    def __init__(self, virtual: Callable[[], bool], note: Callable[[str], None] = lambda _what: None) -> None:
        self._virtual = virtual
        self._note = note
        self._warned = False

    def begin(self) -> None:
        """A test begins, perhaps for a second time."""
        self._warned = False

    @contextlib.contextmanager
    def watched(self, item: pytest.Item) -> Iterator[None]:
        """Watch during the ``with``: one phase of a test.

        Args:
            item: The test, whose module may have imported ``sleep`` by name.

        Raises:
            SuiteError: From the ``sleep`` of the test, if it has made warnings errors.
        """
        original = time.sleep
        names = vars(getattr(item, "module", None) or time)

        def sleep(seconds: float, /) -> None:
            caller = sys._getframe(1)
            # The lab and its libraries sleep in polls. A sleep of no length only lets other threads run.
            if not self._warned and seconds and kind_of(caller) == "suite" and self._virtual():
                self._warned = True
                self._warn(seconds, caller)
            original(seconds)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "sleep", sleep)
            for name in [name for name, value in names.items() if value is original]:
                patch.setitem(names, name, sleep)
            yield

    def _warn(self, seconds: float, caller: FrameType) -> None:
        self._note(f"time.sleep({seconds}) in {Path(caller.f_code.co_filename).name}:{caller.f_lineno}")
        what = f"time.sleep({seconds}) on the host lets no time pass in a guest with a virtual clock"
        use = f"use guest.sleep({seconds}), or @pytest.mark.lab_clock('real') for a test that needs the host's time"
        try:
            warnings.warn(f"{what}; {use}", HostSleepWarning, stacklevel=3)
        except HostSleepWarning:  # with -W error
            raise SuiteError(what, hint=use) from None
