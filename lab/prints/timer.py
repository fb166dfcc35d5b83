"""A timer in the guest: by it the host can wait for the guest's time instead of its own."""

from __future__ import annotations

from typing import Protocol


class GuestTimer(Protocol):
    """What a print source can do whose agent in the guest has a clock."""

    def sleep(self, seconds: float, *, timeout: float) -> None:
        """Return when so many seconds have passed in the guest.

        Args:
            seconds: By the guest's monotonic clock.
            timeout: Seconds of the host that the answer may take.

        Raises:
            EvidenceLost: The guest did not answer in time.
        """
