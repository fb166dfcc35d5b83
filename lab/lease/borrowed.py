"""A detached guest, used by a run: no boot, no fork, and it continues to run afterwards.

It may have printed, crashed and loaded drivers before: the run counts prints from a marker of its own on, and makes the
services of its drivers anew.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.errors import ConfigError, GuestError, GuestExited, GuestHung, ServiceError, TransportError
from lab.guest.protocol import Transport
from lab.guest.readiness import wait_ready
from lab.guest.transport_kind import TransportName
from lab.image.folder import read_credentials
from lab.image.manifest import ImageManifest
from lab.lease.detached import DetachedGuest
from lab.live.boot import cd_drive
from lab.live.connect import connect
from lab.live.delivery import Delivery, FilesBy
from lab.live.guest import LiveGuest
from lab.live.guest_logs import copy_logs
from lab.live.payload import Payload
from lab.live.print_wiring import join_prints
from lab.vm.machine import VirtualMachine
from lab.vm.spec import Clock
from lab.vm.started import read_started

_LOG = logging.getLogger(__name__)
_ANSWER_S = 60.0
_ATTACH_S = 10.0


class BorrowedMachine(VirtualMachine):
    """The VM of a guest that is up: nothing that a run does ends it."""

    def kill(self) -> None:
        """Leave it running: it belongs to the command that started it."""
        _LOG.warning("%s stays up: it does not belong to this run", self.spec.name)


@dataclass(slots=True, kw_only=True)
class BorrowedGuest(LiveGuest):
    """A guest that belongs to another command."""

    def close(self, *, keep: bool = False, as_it_is: bool = False) -> None:
        """Disconnect from it. Its VM continues to run, for any ``keep``."""
        LiveGuest.close(self, keep=True, as_it_is=as_it_is)


@dataclass(frozen=True, slots=True, kw_only=True)
class BorrowedSource:
    """The only guest of a run; a :class:`lab.lease.protocol.GuestSource`.

    Attributes:
        guest: The guest, as it is registered.
        manifest: Its image; its description says that it was up.
        payload: The files that are copied into it.
        accelerator: Of its VM.
        qemu: QEMU's version.
        transport: How commands reach it.
        files_by: How files get into it.
        smp: Its virtual CPUs.
        clock: Its clock.
        evidence_dir: Gets its logs.
        taken: Ids under which it was handed out; it is handed out once.
    """

    guest: DetachedGuest
    manifest: ImageManifest
    payload: Payload
    accelerator: Literal["kvm", "tcg"]
    qemu: str
    transport: TransportName
    files_by: FilesBy
    smp: int
    clock: Clock
    evidence_dir: Path
    taken: list[str]

    @property
    def only_guest(self) -> bool:
        """There is no other guest to run a test again in."""
        return True

    @property
    def image_dir(self) -> Path:
        """Folder of its image."""
        return self.guest.image_dir

    def boot(self, guest_id: str, *, smp: int | None = None, clock: Clock = "real") -> LiveGuest:
        """Attach to the guest.

        Raises:
            GuestError: It was handed out before, and is not sound any more; or a driver of an earlier run cannot be unloaded.
            GuestExited: It has ended.
            TransportError: It does not answer, or another run uses it.
        """
        if self.taken:
            raise GuestError(
                f"guest {self.guest.name} cannot be used any more, and --on has no other guest",
                hint=f"`lab run` without --on uses fresh guests; `lab down {self.guest.name}` ends this one",
            )
        self.taken.append(guest_id)
        begin = time.monotonic()
        machine = _attach(self.guest)
        try:
            live = self._live(machine, guest_id, begin)
        except BaseException:
            machine.close()
            raise
        try:
            self._clear(live)
        except BaseException:
            live.close()
            raise
        return live

    def _clear(self, live: LiveGuest) -> None:
        """Free the names of the run's services.

        Drivers of an earlier run that cannot be unloaded do not accuse this run's drivers.
        """
        drivers = self.payload.drivers
        services = [(name, drivers[name].service) for name in reversed(self.payload.load_order(drivers))]
        if self.payload.collector is not None:
            services.append((self.payload.collector.name, self.payload.collector.service))
        for name, service in services:
            try:
                live.services.clear(service)
            except (ServiceError, GuestHung) as error:
                raise GuestError(
                    f"guest {self.guest.name} has {name} of an earlier run loaded, and it cannot be unloaded: {error.message}",
                    hint=f"lab down {self.guest.name}, and lab up: a fresh guest has no driver loaded",
                ) from error

    def _live(self, machine: BorrowedMachine, guest_id: str, begin: float) -> LiveGuest:
        credentials = read_credentials(self.guest.image_dir)

        def open_transport(name: TransportName) -> Transport:
            return connect(name, self.manifest, credentials, machine)

        ready = wait_ready(
            lambda: open_transport(self.transport),
            deadline=begin + _ANSWER_S,
            alive=lambda: machine.alive,
            console=machine.console_tail,
        )
        try:
            encoding = self.payload.encoding(self.manifest.prints.encoding)
            prints = join_prints(self.manifest, machine, encoding, lambda: open_transport(self.transport), guest_id=guest_id)
        except BaseException:
            ready.close()
            raise
        drive = cd_drive(machine, self.manifest)
        return BorrowedGuest(
            guest_id=guest_id,
            manifest=self.manifest,
            machine=machine,
            transport=ready,
            prints=prints,
            smp=self.smp,
            boot_s=time.monotonic() - begin,
            run_dir=machine.run_dir,
            open_transport=open_transport,
            delivery=Delivery(self.files_by, ready, open_transport, media=drive, tools_dir=self.manifest.tools_dir),
            prepared=True,
            on_close=lambda _kept: copy_logs(machine.run_dir, self.manifest, self.evidence_dir / guest_id),
        )


def borrowed_lacks(source: object, *, fresh: bool, smp: int | None, real_clock: bool = False) -> tuple[str, ...]:
    """Why a borrowed guest does not suit a test; empty for every other source.

    Args:
        source: Where the run's guests come from.
        fresh: The test needs a guest that no other test has used.
        smp: Virtual CPUs that it needs.
        real_clock: It wants a guest whose time is the host's.
    """
    if not isinstance(source, BorrowedSource):
        return ()
    cpus = smp is not None and smp != source.smp
    wanted = {"a_fresh_guest": fresh, f"{smp}_cpus": cpus, "a_real_clock": real_clock and source.clock != "real"}
    return tuple(name for name, lacking in wanted.items() if lacking)


def borrow(
    guest: DetachedGuest,
    manifest: ImageManifest,
    payload: Payload,
    *,
    qemu: str,
    transport: TransportName | None,
    files_by: FilesBy,
    evidence_dir: Path,
) -> BorrowedSource:
    """A source of this one guest.

    Args:
        guest: The guest.
        manifest: Its image's.
        payload: Built for its processor.
        qemu: QEMU's version.
        transport: How commands reach it; None: as it was booted.
        files_by: How files get into it.
        evidence_dir: Gets its logs.

    Raises:
        GuestExited: It has ended.
    """
    spec, _ = read_started(guest.run_dir)
    return BorrowedSource(
        guest=guest,
        manifest=manifest.model_copy(
            update={
                "guest": f"{guest.guest} (guest {guest.name}, used by --on)",
                "machine": manifest.machine.model_copy(update={"smp": spec.smp}),
            }
        ),
        payload=payload,
        accelerator=spec.accelerator,
        qemu=qemu,
        transport=transport or guest.transport,
        files_by=files_by,
        smp=spec.smp,
        clock="real" if spec.virtual_clock is None else "virtual",
        evidence_dir=evidence_dir,
        taken=[],
    )


def check_image(guest: DetachedGuest, wanted: Path) -> None:
    """Refuse a guest of another image than the one that the user named.

    Raises:
        ConfigError: It is of another image.
    """
    if guest.image_dir.resolve() != wanted.resolve():
        raise ConfigError(
            f"guest {guest.name} is of the image {guest.image_dir.name}, not of {wanted.name}",
            hint="leave out --guest, or use another guest with --on; `lab ps` lists them",
        )


def _attach(guest: DetachedGuest) -> BorrowedMachine:
    try:
        machine = BorrowedMachine.attach(guest.run_dir, timeout=_ATTACH_S)
    except TransportError as error:
        raise TransportError(
            f"the VM of guest {guest.name} does not answer: {error.message}",
            hint="its monitor serves one client at a time: is another `lab run --on` or `lab debug` using it?",
        ) from error
    if not machine.alive:
        machine.close()
        raise GuestExited(f"guest {guest.name} has ended", hint="`lab ps` lists the guests that are up")
    return machine
