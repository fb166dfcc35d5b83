"""Starts the guests of one worker: a fork of a template if there is one, else a booted guest, each in two tries."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence

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
from lab.lease.lease import Lease
from lab.lease.life import GuestLife
from lab.lease.print_file import print_file
from lab.lease.protocol import GuestSource
from lab.live.deploy import deploy
from lab.live.guest import LiveGuest
from lab.prints.window import PrintLedger
from lab.snapshot.fork_request import ForkSource, ForkWish

_LOG = logging.getLogger(__name__)
#: Failures of a boot that another try may not meet again.
_WORTH_A_RETRY = (BootTimeout, GuestClockWrong, GuestExited, TransportError, GuestHung, EvidenceLost, GuestCrashed)


class GuestStarter:
    """Starts guests, and remembers when none can be started.

    Args:
        source: Boots them.
        worker: ``gw0``, …; part of the guests' names.
        forks: Makes forks; None boots every guest.
        on_change: Called whenever more is known about a guest.
        boots: How often a boot is tried before its error is raised. After that none is tried any more.
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
        mark_timeout: float = 30.0,
        kernel_prints: Sequence[str] = (),
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._worker = worker
        self._forks = forks
        self.on_change = on_change
        self._boots = boots
        self._mark_timeout = mark_timeout
        self._kernel_prints = tuple(kernel_prints)
        self._wall = wall
        self._clock = clock
        self._numbers = itertools.count(1)
        self._broken: LabError | None = None
        self._next_id = ""
        self.failed_boots = 0

    @property
    def source(self) -> GuestSource:
        """Where the guests come from."""
        return self._source

    def lease(self, wish: ForkWish, scope: str) -> Lease:
        """A lease of a new guest.

        Args:
            wish: Virtual CPUs of the guest, and drivers that a fork has loaded.
            scope: What it is for, by the isolation.

        Raises:
            GuestError: No guest could be started, now or earlier in this run.
        """
        if isinstance(self._broken, ConfigError):
            raise self._broken.anew()
        if self._broken is not None:
            raise GuestError(f"no guest: an earlier boot failed: {self._broken.message}", hint=self._broken.hint)
        forked = self._fork(wish, scope)
        if forked is not None:
            return forked
        left = self._boots
        while True:
            left -= 1
            try:
                return self._start_once(lambda guest_id: self._source.boot(guest_id, smp=wish.smp, clock=wish.clock), scope)
            except LabError as error:
                self.failed_boots += 1
                if left <= 0 or not isinstance(error, _WORTH_A_RETRY):
                    # Otherwise every test of the run would wait for the same failure.
                    self._broken = error
                    raise

    def prepare(self, wish: ForkWish) -> None:
        """Have the next fork restored in the background; for a run without forks, nothing."""
        if self._forks is not None:
            self._forks.prepare(self._reserve_id(), wish)

    def close(self) -> None:
        """End what was prepared. Safe to call twice."""
        if self._forks is not None:
            self._forks.close()

    def _fork(self, wish: ForkWish, scope: str) -> Lease | None:
        """A fork, in two tries; None when a guest must be booted instead."""
        forks = self._forks
        if forks is None:
            return None

        def start(guest_id: str) -> LiveGuest:
            guest = forks.fork(guest_id, wish)
            if guest is None:
                raise _NoTemplate
            return guest

        for last_try in (False, True):
            try:
                return self._start_once(start, scope)
            except _NoTemplate:
                return None
            except ConfigError as error:
                # What the user wrote is wrong: no other guest would get ready with it.
                self._broken = error
                raise
            except LabError as error:
                if last_try:
                    forks.distrust(wish, error.message.splitlines()[0])
        return None

    def _reserve_id(self) -> str:
        """The name of the next guest, also when it is prepared before it is needed."""
        self._next_id = self._next_id or f"{self._worker}-{next(self._numbers)}"
        return self._next_id

    def _start_once(self, start: Callable[[str], LiveGuest], scope: str) -> Lease:
        life = GuestLife(guest_id=self._reserve_id(), started=self._wall())
        guest: LiveGuest | None = None
        ledger: PrintLedger | None = None
        begin = self._clock()
        try:
            guest = start(life.guest_id)
            life.wait_s, life.clock = self._clock() - begin, guest.clock
            life.verifier = guest.verifier
            ledger = PrintLedger(
                guest.prints,
                life.guest_id,
                mark_timeout=self._mark_timeout,
                kernel_prints=(*guest.manifest.prints.kernel_prints, *self._kernel_prints),
                rest=guest.sleep if guest.clock == "virtual" else None,
                moment=guest.machine.moment if guest.clock == "virtual" else None,
            )
            self._get_ready(guest, ledger, life)
        except _NoTemplate:
            raise
        except BaseException as error:
            self._next_id = ""
            self._give_up(life, guest, ledger, error)
            raise
        self._next_id = ""
        if guest.run_dir is not None:
            encoding = self._source.payload.encoding(guest.manifest.prints.encoding)
            life.prints_in = print_file(
                guest.manifest,
                guest.run_dir,
                guest=life.guest_id,
                encoding=encoding,
                template=guest.template,
                loaded=guest.loaded if guest.template else (),
            )
        how = f"a fork of {life.template}" if life.template else "used while it was up" if guest.prepared else "booted"
        _LOG.info("%s is ready after %.2f s: %s", life.guest_id, life.wait_s, how)
        self.on_change(life)
        return Lease(guest, ledger, life, scope=scope)

    def _get_ready(self, guest: LiveGuest, ledger: PrintLedger, life: GuestLife) -> None:
        """Copy the run's files into a booted guest; a fork has them already."""
        if guest.template:
            life.note_fork(guest.template, guest.boot_s)
            if guest.deployed is not None:
                life.note_copy(guest.deployed)
            return
        life.note_boot(guest.boot_s)
        life.note_copy(deploy(guest, self._source.payload, clock=self._clock))
        ledger.end_boot()
        life.attribution = ledger.finish()
        if life.attribution.faults:
            fault = life.attribution.faults[0]
            message = f"a driver crashed during the boot: 0x{fault.code:08X}: {fault.text}"
            raise GuestCrashed(fault.code, fault.parameters, message=message)

    def _give_up(self, life: GuestLife, guest: LiveGuest | None, ledger: PrintLedger | None, error: BaseException) -> None:
        """End a guest that did not get ready, and report why."""
        said = error.message.splitlines()[0] if isinstance(error, LabError) else repr(error)
        life.end(f"did not get ready: {said}")
        _LOG.warning("%s %s", life.guest_id, life.ended, exc_info=_LOG.isEnabledFor(logging.DEBUG))
        try:
            if guest is not None:
                guest.close()
        finally:
            # Closed first: all that the guest printed until its end has been read by then.
            if ledger is not None:
                ledger.end_boot(alive=False)
                life.attribution = ledger.finish()
            self.on_change(life)


class _NoTemplate(Exception):
    """There is no template to fork from."""
