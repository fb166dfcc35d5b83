"""One worker's guests: booted when first needed, kept as long as they are sound, replaced when they are not."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from lab.errors import (
    BootTimeout,
    ConfigError,
    EvidenceLost,
    GuestClockWrong,
    GuestCrashed,
    GuestError,
    GuestExited,
    GuestHung,
    LabError,
    TransportError,
)
from lab.image.manifest import ImageManifest
from lab.lease.print_file import print_file
from lab.live.deploy import Deployed, deploy
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.prints.live import PrintFile
from lab.prints.window import Attribution, PrintLedger
from lab.snapshot.fork_request import ForkSource, ForkWish

_LOG = logging.getLogger(__name__)
#: Failures of a boot that another try may not meet again.
_WORTH_A_RETRY = (BootTimeout, GuestClockWrong, GuestExited, TransportError, GuestHung, EvidenceLost, GuestCrashed)


#: How the life of a sound guest ends.
END_OF_RUN = "end of run"
TESTS_OVER = "its tests are over"
REPLACED = "replaced: "


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
    """What a report says about one guest; see :class:`lab.report.model.GuestEntry`. Times are host seconds."""

    guest_id: str
    started: float
    boot_s: float | None = None
    fork_s: float | None = None
    wait_s: float | None = None
    template: str = ""
    copy_s: float | None = None
    copied_by: str = ""
    copy_note: str = ""
    load_s: float | None = None
    ended: str = ""
    kept_as: str = ""
    prints_in: PrintFile | None = None
    attribution: Attribution = field(default_factory=Attribution)

    def note_copy(self, deployed: Deployed) -> None:
        """Take down how the run's files got in."""
        self.copy_s, self.copied_by, self.copy_note = deployed.copy_s, deployed.copied_by, deployed.copy_note


@dataclass(slots=True, kw_only=True)
class Lease:
    """A guest at work: the guest, the ledger of its prints, its life, and what is loaded.

    Attributes:
        guest: The guest.
        ledger: Credits its prints.
        life: For the report.
        loaded: Names of the drivers that the lab has started and not stopped.
        condemned: Why the guest must not serve another test; empty while it is sound.
        scope: What it was taken for, as the isolation has it; it serves nothing else.
        failed_tests: How many failures it has seen.
        last_test: Id of the last test that it served.
    """

    guest: LiveGuest
    ledger: PrintLedger
    life: GuestLife
    loaded: set[str] = field(default_factory=set)
    condemned: str = ""
    scope: str = ""
    failed_tests: int = 0
    last_test: str = ""

    @property
    def untouched(self) -> bool:
        """No test but the one that has it now has used it: drivers of a fork's template are as they were when loaded."""
        return self.ledger.windows <= 1

    def freshly_loaded(self, driver: str) -> bool:
        """The driver is loaded, and nobody has used it since."""
        return self.untouched and driver in self.guest.loaded and driver in self.loaded

    def condemn(self, reason: str) -> None:
        """Have the guest replaced before the next test; the first reason stays."""
        self.condemned = self.condemned or reason


class GuestPool:
    """The guests of one worker, one at a time.

    Args:
        source: Where they come from.
        forks: Where forks come from; None boots every guest.
        worker: ``gw0``, …; part of the guests' names.
        on_change: Told whenever more is known about a guest.
        boots: How often a boot is tried before its error is raised. After that none is tried any more.
        keep: Which guests are left running behind the last test or their replacement: ``failed``: the first one that saw
            a test fail, ``always``: the last one.
        mark_timeout: Seconds that a marker in the prints may take.
        kernel_prints: Patterns of what the guests' kernel itself prints, beside those of their manifest.
        wall: Wall clock in seconds.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        source: GuestSource,
        worker: str,
        *,
        forks: ForkSource | None = None,
        on_change: Callable[[GuestLife], None] = lambda _life: None,
        boots: int = 2,
        keep: Literal["never", "failed", "always"] = "never",
        mark_timeout: float = 30.0,
        kernel_prints: Sequence[str] = (),
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._forks = forks
        self._worker = worker
        self._on_change = on_change
        self._boots = boots
        self._keep = keep
        self._mark_timeout = mark_timeout
        self._kernel_prints = tuple(kernel_prints)
        self._wall = wall
        self._clock = clock
        self._numbers = itertools.count(1)
        self._lease: Lease | None = None
        self._broken: LabError | None = None
        self._next_id = ""
        self.failed_boots = 0
        self.kept: LiveGuest | None = None

    @property
    def source(self) -> GuestSource:
        """Where the guests come from."""
        return self._source

    @property
    def current(self) -> Lease | None:
        """The guest at work, if there is one. It may be dead: that is for :meth:`acquire` to act on."""
        return self._lease

    def acquire(self, *, smp: int | None = None, fresh: bool = False, drivers: Collection[str] = (), scope: str = "") -> Lease:
        """A sound guest: the one at work, or a new one.

        Args:
            smp: Virtual CPUs that it must have; None for the image's own number.
            fresh: It must not have served a test yet.
            drivers: Names of the drivers that will be used in it: a fork has them loaded.
            scope: What it is for, by the isolation; one that was taken for something else does not serve.

        Raises:
            GuestError: No guest could be had, in two tries.
        """
        wanted = smp or self._source.manifest.machine.smp
        if self._lease is not None:
            reason = self._unfit(self._lease, wanted, fresh, scope)
            if not reason:
                return self._lease
            self.release(reason)
        lease = self._new_lease(ForkWish(wanted, tuple(sorted(drivers))))
        lease.scope = scope
        return lease

    def fits(self, *, smp: int | None = None, fresh: bool = False, scope: str = "") -> bool:
        """Whether :meth:`acquire` would return the guest at work."""
        wanted = smp or self._source.manifest.machine.smp
        return self._lease is not None and not self._unfit(self._lease, wanted, fresh, scope)

    def prepare(self, *, smp: int | None = None, drivers: Collection[str] = ()) -> None:
        """Have the next fork restored in the background; for a run without forks, nothing."""
        if self._forks is not None:
            wish = ForkWish(smp or self._source.manifest.machine.smp, tuple(sorted(drivers)))
            self._forks.prepare(self._reserve_id(), wish)

    def release(self, reason: str, *, last: bool = False) -> None:
        """End the guest at work, if there is one, and say why in its life.

        Args:
            reason: Why.
            last: No other guest follows.
        """
        lease, self._lease = self._lease, None
        if lease is None:
            return
        wanted = (self._keep == "failed" and lease.failed_tests > 0) or (self._keep == "always" and last)
        keep = wanted and self.kept is None and lease.guest.alive
        try:
            lease.guest.close(keep=keep, as_it_is=keep and lease.failed_tests > 0)
        finally:
            # Closed first: whatever the guest printed to its end has been read by then.
            lease.life.attribution = lease.ledger.finish()
            lease.life.ended = reason
            if keep:
                name = lease.life.kept_as = lease.guest.kept_as or lease.life.guest_id
                lease.life.ended = f"{reason}; it runs on: `lab shell {name}` looks in, `lab down {name}` ends it"
            self.kept = lease.guest if keep else self.kept
            _LOG.info("%s ends: %s", lease.life.guest_id, lease.life.ended)
            self._on_change(lease.life)

    def close(self) -> None:
        """End of the run. Safe to call twice."""
        condemned = self._lease.condemned if self._lease else ""
        try:
            self.release(condemned or END_OF_RUN, last=True)
        finally:
            if self._forks is not None:
                self._forks.close()

    def _unfit(self, lease: Lease, smp: int, fresh: bool, scope: str) -> str:
        """Why a guest cannot serve the next test; empty when it can."""
        if lease.condemned:
            return lease.condemned
        if not lease.guest.alive:
            return f"exited: {lease.guest.machine.exited_error().message.splitlines()[0]}"
        if lease.guest.smp != smp:
            return f"{REPLACED}a test needs {smp} virtual CPU(s)"
        if fresh and lease.ledger.windows:
            return f"{REPLACED}a test needs a fresh guest"
        if lease.guest.template and lease.scope != scope:
            # A booted guest is too expensive to be given up for this.
            return f"{REPLACED}isolation"
        return ""

    def _new_lease(self, wish: ForkWish) -> Lease:
        if isinstance(self._broken, ConfigError):
            raise self._broken.anew()
        if self._broken is not None:
            raise GuestError(f"no guest: an earlier boot failed for good: {self._broken.message}", hint=self._broken.hint)
        forked = self._fork(wish) if self._forks is not None else None
        if forked is not None:
            return forked
        left = self._boots
        while True:
            left -= 1
            try:
                return self._start_once(lambda guest_id: self._source.boot(guest_id, smp=wish.smp))
            except LabError as error:
                self.failed_boots += 1
                if left <= 0 or not isinstance(error, _WORTH_A_RETRY):
                    # The same would cost every test of the run the same minutes.
                    self._broken = error
                    raise

    def _fork(self, wish: ForkWish) -> Lease | None:
        """A fork, in two tries; None when a guest must be booted instead."""
        assert self._forks is not None
        for last_try in (False, True):
            try:
                return self._start_once(lambda guest_id: self._forks_guest(guest_id, wish))
            except _NoTemplate:
                return None
            except ConfigError as error:
                # What the user wrote is wrong: no other guest would get ready with it.
                self._broken = error
                raise
            except LabError as error:
                if last_try:
                    self._forks.distrust(wish, error.message.splitlines()[0])
        return None

    def _forks_guest(self, guest_id: str, wish: ForkWish) -> LiveGuest:
        assert self._forks is not None
        guest = self._forks.fork(guest_id, wish)
        if guest is None:
            raise _NoTemplate
        return guest

    def _reserve_id(self) -> str:
        """The name of the next guest, also when it is prepared before it is needed."""
        self._next_id = self._next_id or f"{self._worker}-{next(self._numbers)}"
        return self._next_id

    def _start_once(self, start: Callable[[str], LiveGuest]) -> Lease:
        life = GuestLife(guest_id=self._reserve_id(), started=self._wall())
        guest: LiveGuest | None = None
        ledger: PrintLedger | None = None
        begin = self._clock()
        try:
            guest = start(life.guest_id)
            life.wait_s = self._clock() - begin
            ledger = PrintLedger(
                guest.prints,
                life.guest_id,
                mark_timeout=self._mark_timeout,
                kernel_prints=(*guest.manifest.prints.kernel_prints, *self._kernel_prints),
            )
            if guest.template:
                life.fork_s, life.template = guest.boot_s, guest.template
                if guest.deployed is not None:
                    life.note_copy(guest.deployed)
            else:
                self._deploy(guest, ledger, life)
        except _NoTemplate:
            raise
        except BaseException as error:
            self._next_id = ""
            said = error.message.splitlines()[0] if isinstance(error, LabError) else repr(error)
            life.ended = f"did not get ready: {said}"
            _LOG.warning("%s %s", life.guest_id, life.ended, exc_info=_LOG.isEnabledFor(logging.DEBUG))
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
        self._next_id = ""
        if guest.run_dir is not None:
            encoding = self._source.payload.encoding(guest.manifest.prints.encoding)
            life.prints_in = print_file(guest.manifest, guest.run_dir, guest=life.guest_id, encoding=encoding)
        how = f"a fork of {life.template}" if life.template else "it was up" if guest.prepared else "booted"
        _LOG.info("%s is ready after %.2f s: %s", life.guest_id, life.wait_s, how)
        self._on_change(life)
        self._lease = Lease(guest=guest, ledger=ledger, life=life, loaded=set(guest.loaded))
        return self._lease

    def _deploy(self, guest: LiveGuest, ledger: PrintLedger, life: GuestLife) -> None:
        """Make a booted guest ready for tests."""
        life.boot_s = guest.boot_s
        deployed: Deployed = deploy(guest, self._source.payload, clock=self._clock)
        life.note_copy(deployed)
        ledger.end_boot()
        life.attribution = ledger.finish()
        if life.attribution.faults:
            fault = life.attribution.faults[0]
            message = f"a driver crashed during the boot: 0x{fault.code:08X}: {fault.text}"
            raise GuestCrashed(fault.code, fault.parameters, message=message)


class _NoTemplate(Exception):
    """There is no template to fork from."""
