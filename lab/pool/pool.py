"""One worker's guests: booted when first needed, kept as long as they are sound, replaced when they are not."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from lab.errors import BootTimeout, EvidenceLost, GuestCrashed, GuestError, GuestExited, GuestHung, LabError, TransportError
from lab.image.manifest import ImageManifest
from lab.pool.deploy import Deployed, deploy
from lab.pool.live import LiveGuest
from lab.pool.payload import Payload
from lab.prints.window import Attribution, PrintLedger

#: Failures of a boot that another try may not meet again.
_WORTH_A_RETRY = (BootTimeout, GuestExited, TransportError, GuestHung, EvidenceLost, GuestCrashed)


class GuestSource(Protocol):
    """Where guests come from: one image on one machine."""

    @property
    def manifest(self) -> ImageManifest:
        """The image of all its guests."""

    @property
    def payload(self) -> Payload:
        """What every guest gets copied in."""

    @property
    def accelerator(self) -> str:
        """``kvm`` or ``tcg``."""

    @property
    def qemu(self) -> str:
        """QEMU's version, for the report."""

    def boot(self, guest_id: str, *, smp: int | None = None) -> LiveGuest:
        """Boot a fresh guest and wait until it answers.

        Args:
            guest_id: Its name in reports.
            smp: Virtual CPUs; None for the image's own number.
        """


@dataclass(slots=True, kw_only=True)
class GuestLife:
    """What a report says about one boot; see :class:`lab.report.model.GuestEntry`. Times are host seconds."""

    guest_id: str
    started: float
    boot_s: float | None = None
    copy_s: float | None = None
    copied_by: str = ""
    copy_note: str = ""
    load_s: float | None = None
    ended: str = ""
    attribution: Attribution = field(default_factory=Attribution)


@dataclass(slots=True, kw_only=True)
class Seat:
    """A guest at work: the guest, the ledger of its prints, its life, and what is loaded.

    Attributes:
        guest: The guest.
        ledger: Credits its prints.
        life: For the report.
        loaded: Names of the drivers that the lab has started and not stopped.
        condemned: Why the guest must not serve another test; empty while it is sound.
        failed_tests: How many failures it has seen.
        last_test: Id of the last test that it served.
    """

    guest: LiveGuest
    ledger: PrintLedger
    life: GuestLife
    loaded: set[str] = field(default_factory=set)
    condemned: str = ""
    failed_tests: int = 0
    last_test: str = ""

    def condemn(self, reason: str) -> None:
        """Have the guest replaced before the next test; the first reason stays."""
        self.condemned = self.condemned or reason


class GuestPool:
    """The guests of one worker, one at a time.

    Args:
        source: Where they come from.
        worker: ``gw0``, …; part of the guests' names.
        on_change: Told whenever more is known about a guest.
        boots: How often a boot is tried before its error is raised. After that none is tried any more.
        keep: Which guests are left running behind the last test or their replacement: ``failed``: the first one that saw
            a test fail, ``always``: the last one.
        mark_timeout: Seconds that a marker in the prints may take.
        wall: Wall clock in seconds.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        source: GuestSource,
        worker: str,
        *,
        on_change: Callable[[GuestLife], None] = lambda _life: None,
        boots: int = 2,
        keep: Literal["never", "failed", "always"] = "never",
        mark_timeout: float = 30.0,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._worker = worker
        self._on_change = on_change
        self._boots = boots
        self._keep = keep
        self._mark_timeout = mark_timeout
        self._wall = wall
        self._clock = clock
        self._numbers = itertools.count(1)
        self._seat: Seat | None = None
        self._broken: LabError | None = None
        self.failed_boots = 0
        self.kept: LiveGuest | None = None

    @property
    def source(self) -> GuestSource:
        """Where the guests come from."""
        return self._source

    @property
    def current(self) -> Seat | None:
        """The guest at work, if there is one. It may be dead: that is for :meth:`acquire` to act on."""
        return self._seat

    def acquire(self, *, smp: int | None = None, fresh: bool = False) -> Seat:
        """A sound guest: the one at work, or a new one.

        Args:
            smp: Virtual CPUs that it must have; None for the image's own number.
            fresh: It must not have served a test yet.

        Raises:
            GuestError: No guest could be booted, in two tries.
        """
        wanted = smp or self._source.manifest.machine.smp
        if self._seat is not None:
            reason = self._unfit(self._seat, wanted, fresh)
            if not reason:
                return self._seat
            self.release(reason)
        return self._boot(wanted)

    def fits(self, *, smp: int | None = None, fresh: bool = False) -> bool:
        """Whether :meth:`acquire` would return the guest at work."""
        return self._seat is not None and not self._unfit(self._seat, smp or self._source.manifest.machine.smp, fresh)

    def release(self, reason: str, *, last: bool = False) -> None:
        """End the guest at work, if there is one, and say why in its life.

        Args:
            reason: Why.
            last: No other guest follows.
        """
        seat, self._seat = self._seat, None
        if seat is None:
            return
        wanted = (self._keep == "failed" and seat.failed_tests > 0) or (self._keep == "always" and last)
        keep = wanted and self.kept is None and seat.guest.alive
        try:
            seat.guest.close(keep=keep)
        finally:
            # Closed first: whatever the guest printed to its end has been read by then.
            seat.life.attribution = seat.ledger.finish()
            seat.life.ended = f"{reason}; kept running, `lab ps` lists it" if keep else reason
            self.kept = seat.guest if keep else self.kept
            self._on_change(seat.life)

    def close(self) -> None:
        """End of the run. Safe to call twice."""
        condemned = self._seat.condemned if self._seat else ""
        self.release(condemned or "end of run", last=True)

    @staticmethod
    def _unfit(seat: Seat, smp: int, fresh: bool) -> str:
        """Why a guest cannot serve the next test; empty when it can."""
        if seat.condemned:
            return seat.condemned
        if not seat.guest.alive:
            return f"exited: {seat.guest.machine.exited_error().message.splitlines()[0]}"
        if seat.guest.smp != smp:
            return f"replaced: a test needs {smp} virtual CPU(s)"
        if fresh and seat.ledger.windows:
            return "replaced: a test needs a fresh guest"
        return ""

    def _boot(self, smp: int) -> Seat:
        if self._broken is not None:
            raise GuestError(f"no guest: an earlier boot failed for good: {self._broken.message}", hint=self._broken.hint)
        left = self._boots
        while True:
            left -= 1
            try:
                return self._boot_once(smp)
            except LabError as error:
                self.failed_boots += 1
                if left <= 0 or not isinstance(error, _WORTH_A_RETRY):
                    # The same would cost every test of the run the same minutes.
                    self._broken = error
                    raise

    def _boot_once(self, smp: int) -> Seat:
        life = GuestLife(guest_id=f"{self._worker}-{next(self._numbers)}", started=self._wall())
        guest: LiveGuest | None = None
        ledger: PrintLedger | None = None
        try:
            guest = self._source.boot(life.guest_id, smp=smp)
            life.boot_s = guest.boot_s
            ledger = PrintLedger(guest.prints, life.guest_id, mark_timeout=self._mark_timeout)
            deployed: Deployed = deploy(guest, self._source.payload, clock=self._clock)
            life.copy_s, life.copied_by, life.copy_note = deployed.copy_s, deployed.copied_by, deployed.copy_note
            ledger.end_boot()
            life.attribution = ledger.finish()
            if life.attribution.faults:
                fault = life.attribution.faults[0]
                message = f"a driver crashed during the boot: 0x{fault.code:08X}: {fault.text}"
                raise GuestCrashed(fault.code, fault.parameters, message=message)
        except BaseException as error:
            said = error.message.splitlines()[0] if isinstance(error, LabError) else repr(error)
            life.ended = f"did not get ready: {said}"
            try:
                if guest is not None:
                    guest.close()
            finally:
                # Closed first: whatever the guest printed to its end has been read by then.
                if ledger is not None:
                    ledger.end_boot(alive=False)
                    life.attribution = ledger.finish()
                self._on_change(life)
            raise
        self._on_change(life)
        self._seat = Seat(guest=guest, ledger=ledger, life=life)
        return self._seat
