"""A lease: the right of a worker to use one guest for some tests, and what its tests did to that guest."""

from __future__ import annotations

import enum

from lab.lease.life import GuestLife
from lab.live.guest import LiveGuest
from lab.prints.window import PrintLedger


class Rank(enum.IntEnum):
    """How well a reason explains that a guest is replaced.

    A test whose guest crashes first sees a broken connection, and condemns the guest for that. When its window is
    closed, the guest's own account of its end arrives. The report must name the end and not the broken connection.
    """

    #: Something did not work as it should; the cause may still be found.
    SYMPTOM = 1
    #: The guest or its VM ended. This explains all symptoms.
    END = 2


class Lease:
    """A guest in use by a worker.

    Its state changes by its own methods only; other modules only read it.

    Args:
        guest: The guest.
        ledger: Assigns its prints.
        life: For the report.
        scope: What it was taken for, by the isolation; a fork is used for nothing else.

    Attributes:
        guest: As above.
        ledger: As above.
        life: As above.
        scope: As above.
    """

    def __init__(self, guest: LiveGuest, ledger: PrintLedger, life: GuestLife, *, scope: str = "") -> None:
        self.guest = guest
        self.ledger = ledger
        self.life = life
        self.scope = scope
        self._loaded = set(guest.loaded)
        self._condemned = ""
        self._rank: Rank | None = None
        self._failures = 0
        self._last_test = ""
        self._first_test = ""
        self._loaded_in: dict[str, str] = {}
        self._last_unload = ""

    @property
    def loaded(self) -> frozenset[str]:
        """Names of the drivers that the lab has started and not stopped."""
        return frozenset(self._loaded)

    @property
    def condemned(self) -> str:
        """Why the guest must not serve another test; empty while it is sound."""
        return self._condemned

    @property
    def failures(self) -> int:
        """How many failed phases of tests it has seen."""
        return self._failures

    @property
    def untouched(self) -> bool:
        """Only the present test has used it: drivers of a fork's template are as they were when loaded."""
        return self.ledger.windows <= 1

    def freshly_loaded(self, driver: str) -> bool:
        """Whether the driver is loaded and was not used since."""
        return self.untouched and driver in self.guest.loaded and driver in self._loaded

    def condemn(self, reason: str, rank: Rank = Rank.SYMPTOM) -> None:
        """Have the guest replaced before the next test. A reason of higher rank takes the place of one of lower rank.

        Of reasons of the same rank the first one stays: later ones are mostly its consequences.

        Args:
            reason: Why, in one line; it becomes the end of the guest's life in the report.
            rank: How much it explains.
        """
        if self._rank is None or rank > self._rank:
            self._condemned, self._rank = reason, rank

    def serve(self, nodeid: str) -> str:
        """A test begins on the guest; returns the id of the test before it, empty for the first."""
        before, self._last_test = self._last_test, nodeid
        self._first_test = self._first_test or nodeid
        # Where a test stops a driver's service itself, the lease learns nothing of that unload, which is no earlier one.
        self._last_unload = ""
        return before

    def note_failure(self) -> None:
        """A phase of a test failed on the guest."""
        self._failures += 1

    def note_loaded(self, driver: str, *, seconds: float) -> None:
        """The lab has loaded a driver, which took so many seconds."""
        self._loaded.add(driver)
        self._loaded_in[driver] = self._last_test
        self.life.note_load(seconds)

    def note_unloading(self, driver: str) -> None:
        """The lab is about to unload a driver: what it has left is found now."""
        self._last_unload = driver

    @property
    def unloaded_from(self) -> str:
        """The test in which the driver was loaded whose unload came last; empty before the first unload in the present test.

        A driver of a fork's template counts as loaded by the first test of the fork.
        """
        return self._loaded_in.get(self._last_unload, self._first_test) if self._last_unload else ""

    def note_unloaded(self, driver: str) -> None:
        """The lab has unloaded a driver, or found it unloaded."""
        self._loaded.discard(driver)
