"""Warns, once, of a test that sleeps on the host: that does not advance the time of a guest with a virtual clock."""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator

import pytest


class HostSleep:
    """Watches for ``time.sleep`` while tests run.

    Args:
        virtual: Whether the present guest has a virtual clock.
    """

    def __init__(self, virtual: Callable[[], bool]) -> None:
        self._virtual = virtual
        self._told = False

    @contextlib.contextmanager
    def watched(self, item: pytest.Item) -> Iterator[None]:
        """Watch during the ``with``.

        Args:
            item: The test, whose module may have imported ``sleep`` by name.
        """
        original = time.sleep
        names = vars(getattr(item, "module", None) or time)

        def sleep(seconds: float, /) -> None:
            # Only the test module's own: the lab and its libraries sleep in polls.
            if not self._told and sys._getframe(1).f_globals is names and self._virtual():
                self._told = True
                warnings.warn(
                    f"time.sleep({seconds:g}) on the host lets no time pass in a guest with a virtual clock; use"
                    f" guest.sleep({seconds:g}), or @pytest.mark.lab_clock('real') for a test that needs the host's time",
                    stacklevel=2,
                )
            original(seconds)

        with pytest.MonkeyPatch.context() as patch:
            if not self._told:
                patch.setattr(time, "sleep", sleep)
                for name in [name for name, value in names.items() if value is original]:
                    patch.setitem(names, name, sleep)
            yield
