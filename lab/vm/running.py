"""Lets a VM with a virtual clock run exactly as long as a caller waits for its guest.

Such a guest jumps over the time in which it has nothing to do: it was seen to count 60 seconds for each second of the host.
Without this, it would run through its own time-outs while the host works, and use a whole core. Stopped, it uses no processor
time, and its clock does not advance. QEMU's ``stop`` and ``cont`` take 0.6 ms each (QEMU 7.2, TCG).
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

from lab.errors import GuestExited, TransportError
from lab.host.passed import passed_over
from lab.vm.qmp import CommandRefused

_LOG = logging.getLogger(__name__)


class RunGate:
    """Counts the callers that wait for a guest.

    The first one lets its VM run, the last one stops it. Safe to use from several threads.

    Args:
        name: The VM's, for messages.
        cont: Lets the virtual CPUs run; also called while they run.
        stop: Stops them; also called while they are stopped.
    """

    def __init__(self, name: str, cont: Callable[[], None], stop: Callable[[], None]) -> None:
        self._name = name
        self._cont = cont
        self._stop = stop
        self._lock = threading.Lock()
        self._waiting = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The guest runs inside of the ``with``.

        A VM that has ended, or that QEMU does not let run, raises nothing here: the wait inside notices that, and raises its
        own error.

        Raises:
            TransportError: The monitor did not answer. The guest may be stopped, and its silence would accuse the driver.
        """
        self._enter()
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                if self._waiting == 0:
                    what = f"{self._name}: stopping it"
                    with passed_over(_LOG, what, GuestExited, level=logging.DEBUG), passed_over(_LOG, what, TransportError):
                        self._stop()

    def _enter(self) -> None:
        with self._lock:
            if self._waiting == 0:
                with passed_over(_LOG, f"{self._name}: letting it run", GuestExited, CommandRefused, level=logging.DEBUG):
                    self._cont()
            # Last: an interruption while the monitor is asked must not leave one that waits and never leaves.
            self._waiting += 1
