"""Guests of one image for proofs: one that is up, one with its kernel debugger on, and VMs that a proof may damage."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from lab.errors import GuestError, ImageError, LabError
from lab.guest.protocol import Transport
from lab.guest.readiness import wait_ready
from lab.host.passed import passed_over
from lab.host.paths import runs_dir
from lab.image.folder import read_credentials
from lab.image.manifest import ImageManifest
from lab.image.windows.guest_machine import guest_machine
from lab.live.boot import boot_guest
from lab.live.connect import connect
from lab.live.print_wiring import booted_as
from lab.vm.argv import VARS_FILE, overlay_name
from lab.vm.cleanup import RunFolder
from lab.vm.machine import VirtualMachine
from lab.vm.protocol import StartableMachine
from lab.vm.spec import Accelerator, VmSpec

_LOG = logging.getLogger(__name__)
_TRANSPORT = "winrm"
#: Makes a transport of its name and the VM that it reaches.
Connect = Callable[[str, StartableMachine], Transport]
OpenMachine = Callable[[VmSpec, Path], StartableMachine]


class UpGuest(Protocol):
    """A guest that is up."""

    @property
    def alive(self) -> bool:
        """Its VM runs."""

    @property
    def transport(self) -> Transport:
        """The connection to it."""

    def open(self, transport: str) -> Transport:
        """Another connection to it."""

    def close(self) -> None:
        """End it."""


class GuestMaker(Protocol):
    """Boots guests of the image under proof."""

    def up(self) -> UpGuest:
        """Boot a guest as the image boots by itself; raises a LabError when it does not get ready."""

    def debugged(self) -> UpGuest:
        """Boot a guest with its kernel debugger on, and a collector at its port."""

    def own(self, *, debugger_entry: bool = False) -> OwnVm:
        """Boot a VM for one proof; see :class:`lab.proofs.statement.OwnMachine`."""


class OwnVm:
    """A VM of the image whose guest may restart, crash and be killed; a :class:`lab.proofs.statement.OwnMachine`.

    Args:
        spec: The VM; its disk is an overlay.
        manifest: The image's.
        open_machine: Makes the VM.
        connect: Reaches its guest.
        gap_s: Seconds between two answers that count as ready.
        progress: Gets a line for each step of a boot.
    """

    def __init__(
        self,
        spec: VmSpec,
        manifest: ImageManifest,
        *,
        open_machine: OpenMachine = VirtualMachine,
        connect: Connect,
        gap_s: float = 5.0,
        progress: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._spec = spec
        self._manifest = manifest
        self._open_machine = open_machine
        self._connect = connect
        self._gap_s = gap_s
        self._progress = progress
        self._folders: list[RunFolder] = []
        self._machine: StartableMachine | None = None
        self._transport: Transport | None = None

    def boot(self) -> Transport:
        """Start the VM for the first time, and wait until its guest answers."""
        return self._boot(self._spec)

    @property
    def machine(self) -> StartableMachine:
        """See :class:`lab.proofs.statement.OwnMachine`."""
        if self._machine is None:
            raise GuestError(f"{self._spec.name} was not started")
        return self._machine

    @property
    def alive(self) -> bool:
        """Its VM runs."""
        return self._machine is not None and self._machine.alive

    @property
    def transport(self) -> Transport:
        """See :class:`lab.proofs.statement.OwnMachine`."""
        if self._transport is None:
            raise GuestError(f"{self._spec.name} is not ready")
        return self._transport

    def open(self, transport: str) -> Transport:
        """Another connection to its guest."""
        return self._connect(transport, self.machine)

    def wait_ready(self) -> Transport:
        """See :class:`lab.proofs.statement.OwnMachine`."""
        machine = self.machine
        self._disconnect()
        self._transport = wait_ready(
            lambda: self._connect(_TRANSPORT, machine),
            deadline=time.monotonic() + self._manifest.boot_timeout_s,
            alive=lambda: machine.alive,
            confirmations=2,
            gap_s=self._gap_s,
            progress=self._progress,
            console=machine.console_tail,
        )
        return self._transport

    def boot_again(self) -> Transport:
        """See :class:`lab.proofs.statement.OwnMachine`."""
        self._disconnect()
        disk = self.machine.run_dir / overlay_name(0)
        firmware = self._spec.firmware
        if firmware is not None:
            # What the guest wrote into its variables belongs to the disk.
            firmware = replace(firmware, vars=self.machine.run_dir / VARS_FILE)
        self.machine.close()
        first, *rest = self._spec.disks
        return self._boot(replace(self._spec, disks=(replace(first, path=disk), *rest), firmware=firmware))

    def close(self) -> None:
        """End the VM and remove its folders. Idempotent."""
        self._disconnect()
        if self._machine is not None:
            with passed_over(_LOG, f"ending {self._spec.name}", LabError):
                if self._machine.alive:
                    self._machine.kill()
            self._machine.close()
            self._machine = None
        while self._folders:
            self._folders.pop().remove()

    def _boot(self, spec: VmSpec) -> Transport:
        folder = RunFolder.create(runs_dir(), self._spec.name)
        self._folders.append(folder)
        machine = self._open_machine(spec, folder.path / "vm")
        self._machine = machine
        machine.start()
        return self.wait_ready()

    def _disconnect(self) -> None:
        if self._transport is not None:
            with passed_over(_LOG, f"closing the connection to {self._spec.name}", GuestError):
                self._transport.close()
            self._transport = None


class DebuggedGuest:
    """A guest with its kernel debugger on, and the lab's collector at its port; an :class:`UpGuest`.

    Args:
        image_dir: Folder of the image.
        accelerator: One that works.
        progress: Gets a line for each step of the boot.
    """

    def __init__(self, image_dir: Path, accelerator: Accelerator, progress: Callable[[str], None]) -> None:
        with ExitStack() as undo:
            folder = RunFolder.create(runs_dir(), "prove-kd")
            undo.callback(folder.remove)
            self._live = boot_guest(
                image_dir,
                guest_id="prove-kd",
                run_dir=folder.path,
                accelerator=accelerator,
                debug="kd",
                progress=progress,
                on_close=lambda _kept: folder.remove(),
            )
            undo.pop_all()

    @property
    def alive(self) -> bool:
        """See :class:`UpGuest`."""
        return self._live.machine.alive

    @property
    def transport(self) -> Transport:
        """See :class:`UpGuest`."""
        return self._live.transport

    def open(self, transport: str) -> Transport:
        """See :class:`UpGuest`."""
        return self._live.open_transport(transport)

    def close(self) -> None:
        """See :class:`UpGuest`."""
        self._live.close()


class ImageGuests:
    """Boots guests of an image; a :class:`GuestMaker`.

    Args:
        image_dir: Folder of the image.
        manifest: Its manifest.
        accelerator: One that works.
        progress: Gets a line for each step of a boot.
        open_machine: Makes VMs.
        connect: Reaches their guests; None: by the transports of the image.
        gap_s: Seconds between two answers that count as ready.
    """

    def __init__(
        self,
        image_dir: Path,
        manifest: ImageManifest,
        accelerator: Accelerator,
        *,
        progress: Callable[[str], None] = lambda _text: None,
        open_machine: OpenMachine = VirtualMachine,
        connect: Connect | None = None,
        gap_s: float = 5.0,
    ) -> None:
        self._image_dir = image_dir
        self._manifest = manifest
        self._accelerator = accelerator
        self._progress = progress
        self._open_machine = open_machine
        self._connect = connect
        self._gap_s = gap_s

    def up(self) -> UpGuest:
        """See :class:`GuestMaker`."""
        return self.own()

    def debugged(self) -> UpGuest:
        """See :class:`GuestMaker`."""
        if self._manifest.debug is None:
            raise ImageError(f"image {self._manifest.name} has no boot with a kernel debugger")
        return DebuggedGuest(self._image_dir, self._accelerator, self._progress)

    def own(self, *, debugger_entry: bool = False) -> OwnVm:
        """See :class:`GuestMaker`."""
        manifest = self._manifest
        if debugger_entry:
            disk = booted_as(manifest, "kd").machine.disk
            manifest = manifest.model_copy(update={"machine": manifest.machine.model_copy(update={"disk": disk})})
        name = f"prove-{manifest.name}"
        spec = guest_machine(manifest, self._image_dir, name=name, accelerator=self._accelerator, reboot="reset")
        vm = OwnVm(
            spec,
            manifest,
            open_machine=self._open_machine,
            connect=self._connect or self._by_image,
            gap_s=self._gap_s,
            progress=self._progress,
        )
        try:
            vm.boot()
        except BaseException:
            vm.close()
            raise
        return vm

    def _by_image(self, transport: str, machine: StartableMachine) -> Transport:
        return connect(transport, self._manifest, read_credentials(self._image_dir), machine)
