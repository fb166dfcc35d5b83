"""How long the threads of a virtual machine waited for a processor of the host, over a window of time.

A guest whose virtual processor gets no time is late, and so is everything that its drivers do by the clock. Linux counts for
each thread the nanoseconds that it was ready to run and did not (``/proc/PID/task/TID/schedstat``: time on a processor, time of
waiting for one, number of times it ran; Documentation/scheduler/sched-stats.rst). These threads of QEMU matter: one for each
virtual CPU, or one for all of them, and the main loop, which fires the guest's timers under TCG. Each of them can make a guest
late, so the one that waited longest counts. Time in which a control group's CPU limit, as that of a container, held a thread
back counts as waiting, too (seen with Linux 6.18 and a quota of 20 %: 0.61 s run and 2.40 s waited, of 3 s).

Two more figures are for readers only, because neither says whom it was taken from: the time that a host which is itself a
virtual machine lost to its own host (``steal`` in ``/proc/stat``), and the time that any thread of the host waited
(``/proc/pressure/cpu``, ``some``).
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.host.passed import said

_LOG = logging.getLogger(__name__)

#: Names that QEMU gives its threads with ``-name …,debug-threads=on``: one thread for each virtual CPU, or one for all.
_VCPU = re.compile(r"(?:CPU \d+|ALL CPUs)/\w+")
_SCHEDSTAT = re.compile(r"(\d+) (\d+) (\d+)")
_PRESSURE = re.compile(r"some .*\btotal=(\d+)")
#: Place of ``steal`` among the columns of a line ``cpu …`` of /proc/stat, the name not counted.
_STEAL = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorReading:
    """What the host had counted at one moment.

    Attributes:
        at: Monotonic seconds.
        waited: Thread id → seconds that the thread has waited for a processor in its life.
        stolen_s: Seconds that were taken from an average processor of the host; None if unknown.
        pressure_s: Seconds in which some thread of the host waited for a processor; None if unknown.
    """

    at: float
    waited: Mapping[int, float] = field(default_factory=dict)
    stolen_s: float | None = None
    pressure_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorTime:
    """How a virtual machine fared over a window of time.

    Attributes:
        wall_s: Length of the window in seconds of the host.
        waited_s: Seconds in which its thread that waited longest was ready to run and had no processor.
        stolen_s: Seconds that were taken from an average processor of the host; None if unknown.
        pressure_s: Seconds in which some thread of the host waited for a processor; None if unknown.
    """

    wall_s: float
    waited_s: float
    stolen_s: float | None = None
    pressure_s: float | None = None

    @property
    def share(self) -> float:
        """The part of the window in which it waited, 0 to 1."""
        return min(self.waited_s / self.wall_s, 1.0) if self.wall_s > 0 else 0.0

    @property
    def text(self) -> str:
        """The figures in words."""
        more = []
        if self.stolen_s and self.wall_s > 0:
            more.append(f"the host's own host took {self.stolen_s / self.wall_s:.0%}")
        if self.pressure_s is not None and self.wall_s > 0:
            more.append(f"some process of the host waited {min(self.pressure_s / self.wall_s, 1.0):.0%} of the time")
        waited = f"waited {self.waited_s:.1f} of {self.wall_s:.1f} s ({self.share:.0%}) for a processor"
        return f"{waited}; {', '.join(more)}" if more else waited


def read_processor(
    pid: int, *, proc: Path = Path("/proc"), clock: Callable[[], float] = time.monotonic
) -> ProcessorReading | None:
    """What the host has counted for the threads of a QEMU until now.

    Args:
        pid: QEMU's process id.
        proc: The proc file system.
        clock: Monotonic clock in seconds.

    Returns:
        None if it is not known: the process is gone, it has no thread with the name of a virtual CPU, or this kernel keeps no
        such account (there is no file schedstat, or it shows zeroes).
    """
    waited: dict[int, float] = {}
    found = False
    for task in _tasks(proc / str(pid) / "task"):
        vcpu = _VCPU.fullmatch(_text(task / "comm").strip()) is not None
        if not vcpu and int(task.name) != pid:
            continue
        delay = parse_schedstat(_text(task / "schedstat"))
        if delay is not None:
            waited[int(task.name)] = delay
            found = found or vcpu
    if not found:
        return None
    return ProcessorReading(
        at=clock(),
        waited=waited,
        stolen_s=parse_steal(_text(proc / "stat"), hertz=os.sysconf("SC_CLK_TCK")),
        pressure_s=parse_pressure(_text(proc / "pressure" / "cpu")),
    )


def between(first: ProcessorReading | None, last: ProcessorReading | None) -> ProcessorTime | None:
    """The window from one reading to a later one; None if it is not known."""
    if first is None or last is None:
        return None
    waits = [last.waited[thread] - before for thread, before in first.waited.items() if thread in last.waited]
    if not waits or last.at <= first.at:
        return None
    return ProcessorTime(
        wall_s=last.at - first.at,
        waited_s=max(0.0, *waits),
        stolen_s=_more(first.stolen_s, last.stolen_s),
        pressure_s=_more(first.pressure_s, last.pressure_s),
    )


def parse_schedstat(text: str) -> float | None:
    """Seconds that a thread has waited for a processor; None for a text that does not say it.

    Zeroes mean unknown, because a thread whose file can be read has run at least once: a kernel with CONFIG_TASK_DELAY_ACCT
    alone shows ``0 0 0`` until it is started with ``delayacct`` (``sched_info_on()`` in the kernel's kernel/sched/stats.h).
    """
    found = _SCHEDSTAT.match(text)
    if found is None or not int(found[3]):
        return None
    return int(found[2]) / 1e9


def parse_steal(text: str, *, hertz: int) -> float | None:
    """Seconds that were stolen from an average processor, from the text of /proc/stat; None if it does not say it.

    Args:
        text: The file.
        hertz: Its ticks per second (``getconf CLK_TCK``).
    """
    lines = [line.split() for line in text.splitlines()]
    # The line `cpu` is the sum; the lines `cpu0`, `cpu1`, … are the processors.
    processors = [words[1:] for words in lines if words and re.fullmatch(r"cpu\d+", words[0])]
    try:
        stolen = [int(columns[_STEAL]) for columns in processors]
    except (IndexError, ValueError):
        return None
    return sum(stolen) / len(stolen) / hertz if stolen else None


def parse_pressure(text: str) -> float | None:
    """Seconds in which some thread waited for a processor, from the text of /proc/pressure/cpu; None if it does not say it."""
    found = _PRESSURE.search(text)
    return int(found[1]) / 1e6 if found else None


def _more(first: float | None, last: float | None) -> float | None:
    return max(0.0, last - first) if first is not None and last is not None else None


def _tasks(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.name.isdecimal()]
    except OSError as error:
        _LOG.debug("the threads of %s cannot be listed: %s", folder.parent.name, said(error))
        return []


def _text(path: Path) -> str:
    """A file's text; empty if it cannot be read, as that of a thread that has just ended."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        _LOG.debug("%s cannot be read: %s", path, said(error))
        return ""
