"""Whose turn the machine is: ordinary tests share it, a test about races between CPUs has it to itself.

Two guests of two virtual CPUs on two cores slow each other down three to five times under TCG, because a virtual CPU that
holds a guest's lock loses its core. So such a test waits until nobody else runs, and nobody else starts before it has ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class MachineTurn:
    """A shared and an exclusive lock between the workers of one run.

    Whoever wants to be alone lets the others go on: to stop them in the middle of a run would leave all but one core idle
    twice, while they end their tests and while the one runs. A run ends, so everybody's turn comes. The kernel lets go of the
    lock when a process dies, so a killed worker blocks nobody.

    Args:
        folder: A folder that all workers of the run share.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Run beside others."""
        with self._lock(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Run while nobody else does; waits as long as that takes."""
        with self._lock(fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        turn = os.open(self._folder / "turn.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(turn, kind)
            yield
        finally:
            os.close(turn)
