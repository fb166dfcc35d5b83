"""Places for guests: more workers than the machine carries wait until one is free, however long that takes."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from lab.errors import LabError
from lab.host.capacity import Capacity, measure
from lab.pool.pool import GuestSource

_POLL_S = 0.02


class Slots:
    """One place of a run's workers; the kernel frees it when its holder dies.

    Fair: whoever waits holds the gate, so that all others wait behind.

    Args:
        folder: A folder that all workers of the run share.
        count: How many places there are.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._fd = -1

    def take(self) -> None:
        """Take a place, unless this worker has one; waits as long as that takes."""
        if self._fd >= 0:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        gate = self._open("slot.gate")
        try:
            fcntl.flock(gate, fcntl.LOCK_EX)
            while self._fd < 0:
                for number in range(self._count):
                    fd = self._open(f"slot.{number}")
                    try:
                        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        os.close(fd)
                        continue
                    self._fd = fd
                    break
                else:
                    # No deadline: a holder ends, or dies, and the kernel frees its place.
                    time.sleep(_POLL_S)
        finally:
            os.close(gate)

    def give_back(self) -> None:
        """Let others have the place. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self, name: str) -> int:
        return os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def slot_count(source: GuestSource, *, forks: bool, capacity: Capacity | None = None) -> int:
    """How many guests of a source this machine carries at once.

    Args:
        source: Where guests come from.
        forks: They are forks.
        capacity: What the machine has; measured when None.
    """
    try:
        machine = source.manifest.machine
    except LabError:
        return 1
    found = capacity or measure()
    return found.forks(machine.memory_mb, smp=machine.smp) if forks else found.guests(machine.memory_mb, smp=machine.smp)
