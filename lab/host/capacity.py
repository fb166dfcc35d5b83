"""How many guests this machine carries at once: by the cores and the memory that this process may use.

A container sees the whole machine in /proc; what it may use stands in its control groups.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: QEMU itself, its translated code and its devices, beside the guest's RAM; 150 to 190 MiB were seen under TCG.
GUEST_OVERHEAD_MB = 200
#: Left to the test processes and to the rest of the machine.
RESERVE_MB = 512
#: Forks of one virtual CPU that share a core. With two of them, the suites of the free guest left a third of two emulating
#: cores idle, and took 45 s; with three, an eighth, and 38 s.
FORKS_PER_CORE = 3
_UNLIMITED = 1 << 60  # version 1 groups say "no limit" by a number near 2**63


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

    def forks(self, memory_mb: int, *, smp: int = 1) -> int:
        """How many forks of a guest of this size may serve tests at the same time; at least 1.

        Forks share what they do not change, so each counts half of its RAM, and the template once. There may be three
        for each core: a test of a driver waits for timers and for clients most of the time, and a guest that waits takes none.
        Forks of several CPUs get a core for each, because of their locks, see :meth:`guests`.

        Args:
            memory_mb: RAM of one guest in MiB.
            smp: Virtual CPUs of one guest.
        """
        per_core = FORKS_PER_CORE if smp == 1 else 1
        by_cores = int(per_core * self.cores / smp + 1e-6)
        by_memory = (self.memory_mb - RESERVE_MB - memory_mb) // (memory_mb // 2 + GUEST_OVERHEAD_MB)
        return max(1, min(by_cores, by_memory))


def measure(root: Path = Path("/"), affinity: int | None = None) -> Capacity:
    """Measure this machine.

    Args:
        root: Where ``proc`` and ``sys`` are.
        affinity: Number of CPUs that this process may run on; asked of the kernel when None.
    """
    cores: float = affinity if affinity is not None else len(os.sched_getaffinity(0))
    memory = _available(root / "proc/meminfo")
    for group in _groups(root):
        cores = min(cores, _quota(group))
        memory = min(memory, _headroom(group))
    return Capacity(cores=cores, memory_mb=memory >> 20)


def _available(meminfo: Path) -> int:
    for line in meminfo.read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return _UNLIMITED


def _groups(root: Path) -> Iterator[Path]:
    """Folders of all control groups that this process is in, up to the top: a limit of any of them holds.

    In a container the path may be the host's and not exist here; the container's own top folder then is the group.
    """
    base = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if controllers and not {"cpu", "memory"} & set(names):
            continue
        # Version 2 has no controller names; version 1 mounts each one, or each set, under its own name.
        for top in {base, base / "unified"} if not controllers else {base / name for name in (controllers, *names)}:
            group = top / path.lstrip("/")
            while True:
                if group.is_dir():
                    yield group
                if group == top:
                    break
                group = group.parent


def _quota(group: Path) -> float:
    """CPUs that a group may use."""
    words = _words(group / "cpu.max") or [*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")]
    if len(words) != 2 or not words[0].isdigit() or not int(words[1]):
        return float("inf")
    return int(words[0]) / int(words[1])


def _headroom(group: Path) -> int:
    """Bytes until a group's memory limit, its page cache counted as free."""
    limit = _words(group / "memory.max") or _words(group / "memory.limit_in_bytes")
    used = _words(group / "memory.current") or _words(group / "memory.usage_in_bytes")
    if not limit or not used or not limit[0].isdigit() or int(limit[0]) >= _UNLIMITED:
        return _UNLIMITED
    stat = dict(line.split(None, 1) for line in _lines(group / "memory.stat") if " " in line)
    cache = int(stat.get("total_inactive_file", stat.get("inactive_file", "0")))
    return max(0, int(limit[0]) - int(used[0]) + cache)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").splitlines()
    except OSError:
        return []


def _words(file: Path) -> list[str]:
    return " ".join(_lines(file)).split()
