"""The CPUs and the memory that the control groups of this process allow, in version 1 and 2.

A container sees the whole host in /proc. Its limits are in the group of the process, or in any group above it, and in
different files: systemd's ``MemoryHigh=`` sets ``memory.high`` alone, Docker sets ``memory.max``, and version 1 shows in
``memory.stat`` the limits of groups that the process cannot see. The files are those of the kernel's documents on cgroup v1 and
v2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_WHERE = "sys/fs/cgroup"
_CONTROLLERS = frozenset({"cpu", "cpuset", "memory"})
_MEMORY_LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")
_MEMORY_USED = ("memory.current", "memory.usage_in_bytes")
#: Limits of the groups above, which a container does not see; version 1 only.
_LIMIT_ABOVE = "hierarchical_memory_limit"
#: Memory that the kernel reclaims before it makes a process wait; version 1 has the sum with the groups below as ``total_…``.
_CACHE = ("inactive_file", "active_file", "slab_reclaimable")
_CPUSETS = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")
#: Version 1 says "no limit" by a number near 2**63.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """What all groups of this process together allow.

    Attributes:
        cores: CPUs, by quota and by set; a quota may be a fraction. None: no limit.
        memory: Bytes that can still be taken before the kernel refuses them or slows the process down, the group's page
            cache counted as free. None: no limit.
    """

    cores: float | None
    memory: int | None


def group_limits(root: Path = Path("/")) -> GroupLimits:
    """Read the limits of this process.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    groups = list(dict.fromkeys(_groups(root)))
    cores = [value for group in groups for value in (_quota(group), _set_size(group)) if value is not None]
    memory = [value for group in groups if (value := _headroom(group)) is not None]
    return GroupLimits(cores=min(cores, default=None), memory=min(memory, default=None))


def _groups(root: Path) -> Iterator[Path]:
    """Folders of all groups that this process is in, up to the top: a limit of any of them holds."""
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        names = controllers.split(",")
        if controllers and not _CONTROLLERS & set(names):
            continue
        for top, below in _tops(root, controllers, names, path):
            group = top / below.lstrip("/")
            while True:
                if group.is_dir():
                    yield group
                if group == top:
                    break
                group = group.parent


def _tops(root: Path, controllers: str, names: list[str], path: str) -> Iterator[tuple[Path, str]]:
    """Where a hierarchy is mounted, and the group's path below that.

    In a container the mount may begin at the container's own group, while ``/proc/self/cgroup`` has the host's path: the common
    part is removed. Where there is no common part, the top folder itself is the container's group.
    """
    for line in _lines(root / "proc/self/mountinfo"):
        words = line.split()
        if "-" not in words[6:]:
            continue
        end = words.index("-", 6)
        kind, options = words[end + 1], words[-1].split(",")
        if kind == ("cgroup" if controllers else "cgroup2") and (not controllers or set(names) & set(options)):
            begin, place = (_unescaped(word) for word in words[3:5])
            whole = PurePosixPath(path)
            below = str(whole.relative_to(begin)) if whole.is_relative_to(begin) else path
            yield root / place.lstrip("/"), below
    # Version 2 has no controller names; version 1 is mounted by each one's name, or by each set's.
    base = root / _WHERE
    for top in (base, base / "unified") if not controllers else (base / name for name in (controllers, *names)):
        yield top, path


def _unescaped(word: str) -> str:
    """A path of mountinfo, which writes blanks and backslashes in octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)


def _quota(group: Path) -> float | None:
    words = _words(group / "cpu.max") or [*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")]
    if len(words) != 2 or not all(word.isdecimal() and int(word) for word in words):
        return None
    return int(words[0]) / int(words[1])


def _set_size(group: Path) -> int | None:
    """CPUs in a list such as ``0-1,4``."""
    for name in _CPUSETS:
        for text in _words(group / name):
            ends = [(first, last or first) for first, _, last in (part.partition("-") for part in text.split(","))]
            if all(first.isdecimal() and last.isdecimal() for first, last in ends):
                return max(1, sum(int(last) - int(first) + 1 for first, last in ends))
    return None


def _headroom(group: Path) -> int | None:
    stat = dict(line.split(None, 1) for line in _lines(group / "memory.stat") if len(line.split()) == 2)
    told = [word for name in _MEMORY_LIMITS for word in _words(group / name)[:1]] + [stat.get(_LIMIT_ABOVE, "")]
    limits = [int(word) for word in told if word.isdecimal() and int(word) < _NO_LIMIT]
    if not limits:
        return None
    used = next((int(word) for name in _MEMORY_USED for word in _words(group / name)[:1] if word.isdecimal()), 0)
    return max(0, min(limits) - used + min(used, sum(_number(stat, name) for name in _CACHE)))


def _number(stat: Mapping[str, str], name: str) -> int:
    text = stat.get(f"total_{name}", stat.get(name, ""))
    return int(text) if text.isdecimal() else 0


def _lines(file: Path) -> list[str]:
    """Lines of a file of the kernel; none when there is no such file in this version."""
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _words(file: Path) -> list[str]:
    return " ".join(_lines(file)).split()
