"""Slots for guests: workers wait, without a deadline, when the host has as many guests as it can run.

The slots belong to the host and serve all runs on it. A guest takes its share: one of six if the host can run six of
its kind, half of them if it can run two. A share is a number of bytes of one lock file, which may be anywhere in it.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from lab.errors import LabError
from lab.host.capacity import Capacity, measure
from lab.host.locks import free_ranges, lock_range, open_lock
from lab.lease.protocol import GuestSource
from lab.lease.waiting import Patience

_POLL_S = 0.02
#: The whole host: the least common multiple of 1 to 10, so that small numbers of guests divide it evenly.
_WHOLE = 2520
_FILE = "guests"
_GATE = "guests.gate"


class Slots:
    """One slot of a worker; the kernel frees it when its holder dies.

    Fair: the first that waits holds the gate, and all others wait for the gate.

    Args:
        folder: A folder that all runs share, see :func:`lab.host.locks.locks_dir`.
        count: How many guests of this kind the host can run.
        patience: Reports a wait.
    """

    def __init__(self, folder: Path, count: int, *, patience: Patience | None = None) -> None:
        self._folder = folder
        self._share = max(1, _WHOLE // max(1, count))
        self._fd = -1
        self._patience = patience or Patience()

    def take(self) -> None:
        """Take a slot, unless this worker has one; waits as long as that takes."""
        if self._fd >= 0:
            return
        where = f"a slot for its guest: other runs on this host have all slots (fuser -v {self._folder}/* shows which)"
        with self._patience.waiting(where):
            self._take()

    def _take(self) -> None:
        gate = open_lock(self._folder, _GATE)
        try:
            fcntl.flock(gate, fcntl.LOCK_EX)
            fd = open_lock(self._folder, _FILE)
            try:
                while not self._try(fd):
                    # No deadline: every holder ends or dies, and the kernel frees its slot.
                    time.sleep(_POLL_S)
            except BaseException:
                os.close(fd)
                raise
            self._fd = fd
        finally:
            os.close(gate)

    def give_back(self) -> None:
        """Free the slot. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _try(self, fd: int) -> bool:
        """Lock a share, if enough is free. No other worker locks one meanwhile, because this one has the gate."""
        left = self._share
        found = []
        for start, length in free_ranges(fd, 0, _WHOLE):
            found.append((start, min(length, left)))
            left -= found[-1][1]
            if not left:
                for place, size in found:
                    lock_range(fd, place, size)
                return True
        return False


def slot_count(source: GuestSource, *, forks: bool, capacity: Capacity | None = None) -> int:
    """How many guests of a source this host can run at once.

    Args:
        source: Where guests come from.
        forks: They are forks.
        capacity: What the host has; measured when None.
    """
    try:
        machine = source.manifest.machine
    except LabError:
        return 1
    found = capacity or measure()
    return found.forks(machine.memory_mb, smp=machine.smp) if forks else found.guests(machine.memory_mb, smp=machine.smp)
