"""Waits until a guest is idle: work that is unfinished when the snapshot is taken has to be done in every fork.

Seen in the free guest with a snapshot right after the last command: init collected the ended process and looked for it in
utmp, and the kernel freed the process's memory. That was 3500 of the 10,900 blocks of code that QEMU translated until
a fork had set its clock, 20 ms of each fork.

The measure is processor time, in ticks of 10 ms. It misses shorter work, and it takes a QEMU for idle that gets almost no time
on a loaded host. Only the speed of forks depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

#: Seconds for which a guest must be idle.
QUIET_S = 0.5
#: Share of processor time that still counts as idle; an idle free guest takes 0.03 to 0.08 of an emulated core. Between two
#: polls that is one tick or none; three ticks are work.
QUIET_SHARE = 0.25
#: Seconds after which the wait is given up: such a guest is never idle.
PATIENCE_S = 5.0
_POLL_S = 0.1


def wait_until_idle(
    processor_s: Callable[[], float],
    *,
    quiet_s: float = QUIET_S,
    share: float = QUIET_SHARE,
    patience_s: float = PATIENCE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until the guest has been idle for a while.

    Args:
        processor_s: Processor time in seconds that its QEMU has taken so far.
        quiet_s: Seconds for which it must have been idle.
        share: Share of processor time between two polls that still counts as idle.
        patience_s: Seconds after which the wait is given up.
        clock: Monotonic clock in seconds.
        sleep: Sleeps for some seconds.

    Returns:
        Whether the guest became idle.
    """
    last, taken = clock(), processor_s()
    since, deadline = last, last + patience_s
    while True:
        sleep(_POLL_S)
        now, total = clock(), processor_s()
        if total - taken > share * (now - last):
            since = now
        last, taken = now, total
        if now - since >= quiet_s:
            return True
        if now >= deadline:
            return False


def processor_time(pid: int) -> Callable[[], float]:
    """The processor time of a QEMU in seconds, for :func:`wait_until_idle`; 0 once it has ended."""

    def taken() -> float:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system)

    return taken
