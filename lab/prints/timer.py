"""A timer in the guest, with which the host can wait for guest time instead of its own."""

from __future__ import annotations

from typing import Protocol


class GuestTimer(Protocol):
    """The ability of a print source whose agent in the guest has a clock."""

    def sleep(self, seconds: float, *, timeout: float) -> None:
        """Return when so many seconds have passed in the guest.

        Args:
            seconds: By the guest's monotonic clock.
            timeout: Seconds of the host until the answer must arrive.

        Raises:
            EvidenceLost: The guest did not answer in time.
        """
