"""The guests of one worker: booted when first needed, used as long as they are sound, replaced when they are not."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Literal

from lab.lease.lease import Lease
from lab.lease.life import END_OF_RUN, REPLACED
from lab.lease.protocol import GuestSource
from lab.lease.starter import GuestStarter
from lab.lease.wish import guest_wish
from lab.live.guest import LiveGuest
from lab.snapshot.fork_request import ForkWish

_LOG = logging.getLogger(__name__)


class GuestPool:
    """The guests of one worker, one at a time.

    Args:
        starter: Starts them.
        keep: Which guests are left running after the last test or their replacement: ``failed``: the first one that saw
            a test fail, ``always``: the last one.
    """

    def __init__(self, starter: GuestStarter, *, keep: Literal["never", "failed", "always"] = "never") -> None:
        self._starter = starter
        self._source = starter.source
        self._keep = keep
        self._lease: Lease | None = None
        self.kept: LiveGuest | None = None

    @property
    def source(self) -> GuestSource:
        """Where the guests come from."""
        return self._source

    @property
    def failed_boots(self) -> int:
        """How many boots have failed so far."""
        return self._starter.failed_boots

    @property
    def current(self) -> Lease | None:
        """The current guest, if there is one. It may be dead: :meth:`acquire` replaces it then."""
        return self._lease

    def acquire(
        self,
        *,
        smp: int | None = None,
        fresh: bool = False,
        real_clock: bool = False,
        drivers: Collection[str] = (),
        scope: str = "",
    ) -> Lease:
        """A sound guest: the current one, or a new one.

        Args:
            smp: Virtual CPUs that it must have; None for the image's own number.
            fresh: It must not have served a test yet.
            real_clock: Its time must be the host's.
            drivers: Names of the drivers that will be used in it: a fork has them loaded.
            scope: What it is for, by the isolation; a guest with another scope is not used.

        Raises:
            GuestError: No guest could be started, in two tries.
        """
        wish = guest_wish(self._source, smp=smp, real_clock=real_clock, drivers=drivers)
        if self._lease is not None:
            reason = self._unfit(self._lease, wish, fresh, scope)
            if not reason:
                return self._lease
            self.release(reason)
        self._lease = self._starter.lease(wish, scope)
        return self._lease

    def fits(self, *, smp: int | None = None, fresh: bool = False, real_clock: bool = False, scope: str = "") -> bool:
        """Whether :meth:`acquire` would return the current guest."""
        wish = guest_wish(self._source, smp=smp, real_clock=real_clock)
        return self._lease is not None and not self._unfit(self._lease, wish, fresh, scope)

    def prepare(self, *, smp: int | None = None, real_clock: bool = False, drivers: Collection[str] = ()) -> None:
        """Have the next fork restored in the background; for a run without forks, nothing."""
        self._starter.prepare(guest_wish(self._source, smp=smp, real_clock=real_clock, drivers=drivers))

    def release(self, reason: str, *, last: bool = False, keep: bool = True) -> None:
        """End the current guest, if there is one, and record why.

        Args:
            reason: Why.
            last: No other guest follows.
            keep: It may be left running, if the pool keeps such guests.
        """
        lease, self._lease = self._lease, None
        if lease is None:
            return
        failed = lease.failures > 0
        wanted = (self._keep == "failed" and failed) or (self._keep == "always" and last)
        keep = keep and wanted and self.kept is None and lease.guest.alive
        try:
            lease.guest.close(keep=keep, as_it_is=keep and failed)
        finally:
            # Closed first: after that, all prints of the guest have been read.
            kept_as = (lease.guest.kept_as or lease.life.guest_id) if keep else ""
            lease.life.end(reason, lease.ledger.finish(), kept_as=kept_as)
            self.kept = lease.guest if keep else self.kept
            _LOG.info("%s ends: %s", lease.life.guest_id, lease.life.ended)
            self._starter.on_change(lease.life)

    def close(self) -> None:
        """End of the run. Safe to call twice."""
        condemned = self._lease.condemned if self._lease else ""
        try:
            self.release(condemned or END_OF_RUN, last=True)
        finally:
            self._starter.close()

    def _unfit(self, lease: Lease, wish: ForkWish, fresh: bool, scope: str) -> str:
        """Why a guest cannot serve the next test; empty when it can."""
        if lease.condemned:
            return lease.condemned
        if not lease.guest.alive:
            return f"exited: {lease.guest.machine.exited_error().message.splitlines()[0]}"
        if lease.guest.smp != wish.smp:
            return f"{REPLACED}a test needs {wish.smp} virtual CPU(s)"
        if lease.guest.clock != wish.clock:
            return f"{REPLACED}a test needs a {wish.clock} clock"
        if fresh and lease.ledger.windows:
            return f"{REPLACED}a test needs a fresh guest"
        if lease.guest.template and lease.scope != scope:
            # A booted guest is too expensive to be replaced for this.
            return f"{REPLACED}isolation"
        return ""
