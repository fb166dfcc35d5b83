"""What a test requires of its guest, completed by the settings of all guests of the run."""

from __future__ import annotations

from collections.abc import Collection

from lab.lease.protocol import GuestSource
from lab.live.guest_clock import clock_with
from lab.snapshot.fork_request import ForkWish


def guest_wish(
    source: GuestSource, *, smp: int | None = None, real_clock: bool = False, drivers: Collection[str] = ()
) -> ForkWish:
    """The guest that a test needs.

    Args:
        source: Where the run's guests come from.
        smp: Virtual CPUs; None for the image's own number.
        real_clock: Its time must be the host's.
        drivers: Names of the drivers that will be used in it.
    """
    cpus = smp or source.manifest.machine.smp
    clock = "real" if real_clock else clock_with(source.clock, cpus)
    return ForkWish(cpus, tuple(sorted(drivers)), clock)
