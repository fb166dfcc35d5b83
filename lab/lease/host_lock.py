"""The host lock: ordinary tests share the host, a test about races between CPUs has it without other guests.

Two guests of two virtual CPUs on two cores slow each other down three to five times under TCG, because a virtual CPU that
holds a guest's lock loses its core. So such a test waits until no other test runs, and none starts before it has ended, in
this run and in the others on this host.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from lab.host.locks import locked
from lab.lease.waiting import Patience

_RUN = "turn.lock"
_GATE = "turn.gate"
_MACHINE = "turn"


class HostLock:
    """A shared and an exclusive lock between all workers on this host.

    A worker that wants the host alone lets the others of its own run continue: to stop them in the middle of a run would leave
    all but one core idle twice, while they end their tests and while the one runs. A run ends, so each worker gets the lock.
    Other runs may not end soon: for those, the waiting worker holds a gate, and they begin no further test.

    The locks are always taken in one order (run, gate, host) and the kernel releases them when a process dies, so there is no
    deadlock, and a killed worker blocks no other.

    Args:
        folder: A folder that all workers of the run share.
        host: A folder that all runs share, see :func:`lab.host.locks.locks_dir`.
        patience: Reports a wait for other runs.
        own: Reports a wait for this run's own workers.
    """

    def __init__(self, folder: Path, host: Path, *, patience: Patience | None = None, own: Patience | None = None) -> None:
        self._folder = folder
        self._host = host
        self._patience = patience or Patience()
        self._own = own or Patience()

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Run beside others."""
        with self._lock(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Run while no other test runs; waits as long as that takes."""
        with self._lock(fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            with self._own.waiting(
                "the host lock: this worker's test, or that of another worker, needs the host without other guests"
            ):
                held.enter_context(locked(self._folder, _RUN, kind))
            others = "the host lock: a test of another run uses the host without other guests"
            where = f"{others} (fuser -v {self._host}/* shows which)"
            with self._patience.waiting(where), locked(self._host, _GATE, kind):
                held.enter_context(locked(self._host, _MACHINE, kind))
            yield
