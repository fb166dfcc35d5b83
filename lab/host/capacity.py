"""How many guests this host can run at once, by the cores and the memory that this process may use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lab.host.cgroups import group_limits

#: QEMU itself, its translated code and its devices, beside the guest's RAM; 150 to 190 MiB were seen under TCG.
GUEST_OVERHEAD_MB = 200
#: Left to the test processes and to the rest of the host.
RESERVE_MB = 512
#: Forks of one virtual CPU that share a core. With two of them, the suites of the free guest left a third of two emulating
#: cores idle, and took 45 s; with three, an eighth, and 38 s.
FORKS_PER_CORE = 3
#: Assumed where the kernel does not report what is available.
_UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class Capacity:
    """What this process may use.

    Attributes:
        cores: CPUs by affinity and quota; a quota may be a fraction.
        memory_mb: MiB that can still be taken without swapping.
    """

    cores: float
    memory_mb: int

    def guests(self, memory_mb: int, *, smp: int = 1) -> int:
        """How many guests of this size run at full speed side by side; at least 1.

        More virtual CPUs than cores are never worth it: under TCG a virtual CPU that is preempted while it holds a
        lock of its guest makes the others wait (two guests of two each on two cores were 3 to 5 times slower).

        Args:
            memory_mb: RAM of one guest in MiB.
            smp: Virtual CPUs of one guest.
        """
        by_cores = int(self.cores / smp + 1e-6)
        by_memory = (self.memory_mb - RESERVE_MB) // (memory_mb + GUEST_OVERHEAD_MB)
        return max(1, min(by_cores, by_memory))

    def forks(self, memory_mb: int, *, smp: int = 1, virtual_clock: bool = False) -> int:
        """How many forks of a guest of this size may serve tests at the same time; at least 1.

        Forks share what they do not change, so each counts half of its RAM, and the template once. There may be three
        for each core: a test of a driver waits for timers and for clients most of the time, and a guest that waits takes none.
        Forks of several CPUs get a core for each, because of their locks, see :meth:`guests`. So do those with a virtual
        clock: they jump over the time that they would wait, and compute whenever they run.

        Args:
            memory_mb: RAM of one guest in MiB.
            smp: Virtual CPUs of one guest.
            virtual_clock: They have one.
        """
        per_core = FORKS_PER_CORE if smp == 1 and not virtual_clock else 1
        by_cores = int(per_core * self.cores / smp + 1e-6)
        by_memory = (self.memory_mb - RESERVE_MB - memory_mb) // (memory_mb // 2 + GUEST_OVERHEAD_MB)
        return max(1, min(by_cores, by_memory))


def measure(root: Path = Path("/"), affinity: int | None = None) -> Capacity:
    """Measure this host.

    Args:
        root: Where ``proc`` and ``sys`` are.
        affinity: Number of CPUs that this process may run on; asked of the kernel when None.
    """
    cores: float = affinity if affinity is not None else len(os.sched_getaffinity(0))
    memory = _available(root / "proc/meminfo")
    limits = group_limits(root)
    return Capacity(
        cores=cores if limits.cores is None else min(cores, limits.cores),
        memory_mb=(memory if limits.memory is None else min(memory, limits.memory)) >> 20,
    )


def _available(meminfo: Path) -> int:
    for line in meminfo.read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return _UNLIMITED
