"""Waits until a guest is idle: work that is left when its snapshot is taken has to be done in each of its forks.

Seen in the free guest, with a snapshot right after its last command: init collected the ended process and looked for it in
utmp, and the kernel freed what had been that process'. That was 3500 of the 10,900 blocks of code that QEMU translated until
a fork had set its clock, 20 ms of each fork.

What is seen is processor time, in ticks of 10 ms. Work of less than that passes, and so does a QEMU that a loaded host gives
next to none. Only the speed of forks depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

#: Seconds that a guest must be quiet for.
QUIET_S = 0.5
#: Processor time for each second that still counts as quiet; an idle free guest takes 0.03 to 0.08 of an emulated core. Between
#: two looks that is one tick or none, and three are work.
QUIET_SHARE = 0.25
#: A guest that is busy for longer is busy by nature.
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
    """Wait until the guest was quiet for a while.

    Args:
        processor_s: Processor time in seconds that its QEMU has taken so far.
        quiet_s: How long it must have been quiet.
        share: Processor time for each second, between one look and the next, that is still quiet.
        patience_s: Seconds after which it is taken as it is.
        clock: Monotonic clock in seconds.
        sleep: Sleeps for some seconds.

    Returns:
        Whether it got quiet.
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
