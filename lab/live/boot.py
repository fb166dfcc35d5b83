"""From an image folder to a live guest: one function, whose steps are in other modules."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from lab.config.machine import Machine
from lab.errors import LabError
from lab.guest.protocol import Transport
from lab.guest.readiness import wait_ready
from lab.guest.transport_kind import TransportName
from lab.host.passed import passed_over
from lab.image.folder import read_credentials, read_manifest
from lab.image.manifest import ImageManifest
from lab.image.registry import kind_of
from lab.live.cd_drive import CdCopy
from lab.live.clock_check import require_sound_clock
from lab.live.connect import connect
from lab.live.delivery import Delivery, FilesBy
from lab.live.guest import LiveGuest
from lab.live.hardware import fit
from lab.live.machine_spec import AS_IT_IS, machine_spec
from lab.live.print_wiring import Debug, booted_as, has_guest_time, open_prints, start_helper
from lab.live.restart import restart_guest
from lab.live.verifier import InForce, VerifierWish, bring_into_force
from lab.vm import protocol
from lab.vm.machine import VirtualMachine
from lab.vm.spec import Clock, MemoryFile

_LOG = logging.getLogger(__name__)


def boot_guest(
    image_dir: Path,
    *,
    guest_id: str,
    run_dir: Path,
    accelerator: Literal["kvm", "tcg"],
    smp: int | None = None,
    transport: TransportName = "winrm",
    timeout: float | None = None,
    encoding: str | None = None,
    debug: Debug = "none",
    clock: Clock = "real",
    files_by: FilesBy = "media",
    medium: Mapping[str, Path] | None = None,
    detached: bool = False,
    memory: MemoryFile | None = None,
    hardware: Machine = AS_IT_IS,
    verifier: VerifierWish | None = None,
    progress: Callable[[str], None] = lambda _text: None,
    on_close: Callable[[bool], None] = lambda _kept: None,
) -> LiveGuest:
    """Boot a guest and wait until it answers a command.

    Args:
        image_dir: Folder of the image.
        guest_id: Its name in reports.
        run_dir: Folder for its overlay, sockets and logs; made when it is missing.
        accelerator: One that works, see :mod:`lab.host.accel`.
        smp: Virtual CPUs; None for the image's own number.
        transport: How commands reach it.
        timeout: Seconds until it must answer; None for the image's own figure.
        encoding: Encoding of its drivers' prints; None for the image's own.
        clock: ``virtual``, where its kind and this host allow it: see :func:`lab.live.guest_clock.choose_clock`.
        debug: ``kd``: with its kernel debugger on; ``none``: as the image boots by itself.
        files_by: How files are copied in.
        medium: Files in its CD drive from the start, if it has one: path with ``/`` → file of the host.
        detached: It is to survive the end of this process. The caller must call the VM's ``detach`` once the guest is
            registered: until then the VM ends with this process, so that no unregistered VM is left.
        memory: Its RAM, for a guest whose snapshot will be taken.
        hardware: What its VM has in addition to that of the image.
        verifier: What Driver Verifier is to check; None: it stays off.
        progress: Gets a line for each step.
        on_close: Called when the guest is closed, with whether it was kept.

    Raises:
        ImageError: The image cannot be used.
        HostToolError: QEMU could not be started.
        GuestExited: QEMU ended during the boot.
        BootTimeout: No answer in time.
        GuestClockWrong: Its clock runs at a wrong rate.
        VerifierNotInForce: Driver Verifier does not check what is asked for.
    """
    begin = time.monotonic()
    manifest = fit(booted_as(read_manifest(image_dir), debug), hardware)
    credentials = read_credentials(image_dir)
    # No process watches a detached guest: none would save its evidence and end its VM.
    spec = machine_spec(
        manifest,
        image_dir,
        name=guest_id,
        accelerator=accelerator,
        smp=smp,
        clock=clock,
        hold=not detached,
        hardware=hardware,
    )
    if memory is not None:
        spec = replace(spec, memory=memory)
    machine = VirtualMachine(spec, run_dir)
    with contextlib.ExitStack() as undo:

        def open_transport(name: TransportName) -> Transport:
            return connect(name, manifest, credentials, machine)

        # It starts while QEMU does.
        if (helper := start_helper(manifest)) is not None:
            undo.callback(helper.close)
        machine.start()
        undo.callback(_end, machine)
        # A virtual clock's guest boots in one go, and stands still as soon as this function returns.
        boots = contextlib.ExitStack()
        boots.enter_context(machine.running())
        undo.push(boots)
        drive = cd_drive(machine, manifest)
        if drive and medium and files_by == "media":
            _insert(drive, medium, progress)
        prints = open_prints(
            manifest, machine, encoding or manifest.prints.encoding, lambda: open_transport(transport), helper=helper
        )
        undo.callback(prints.close)
        prints.start()
        ready = wait_ready(
            lambda: open_transport(transport),
            deadline=begin + (timeout or manifest.boot_timeout_s),
            alive=lambda: machine.alive and not machine.guest_ended,
            confirmations=kind_of(manifest).confirmations,
            progress=progress,
            console=machine.console_tail,
        )
        if clock == "real" and ("guest_timestamps" in manifest.capabilities or has_guest_time(manifest)):
            undo.callback(ready.close)
            require_sound_clock(prints, lambda: time.monotonic() - begin)
        in_force: InForce | None = None
        if verifier is not None:
            ready, in_force = _verify(
                verifier,
                ready,
                machine,
                lambda: open_transport(transport),
                timeout=timeout or manifest.boot_timeout_s,
                progress=progress,
            )
        undo.pop_all()
        boots.close()
    return LiveGuest(
        guest_id=guest_id,
        manifest=manifest,
        machine=machine,
        transport=ready,
        prints=prints,
        smp=spec.smp,
        boot_s=time.monotonic() - begin,
        run_dir=machine.run_dir,
        open_transport=open_transport,
        delivery=Delivery(files_by, ready, open_transport, media=drive, tools_dir=manifest.tools_dir),
        verifier=in_force,
        on_close=on_close,
    )


def _verify(
    wish: VerifierWish,
    transport: Transport,
    machine: VirtualMachine,
    open_transport: Callable[[], Transport],
    *,
    timeout: float,
    progress: Callable[[str], None],
) -> tuple[Transport, InForce]:
    """Bring Driver Verifier into force in a guest that has answered; its connection may be another one afterwards."""

    def restart(old: Transport) -> Transport:
        return restart_guest(machine, old, open_transport, timeout=timeout, progress=progress)

    return bring_into_force(
        wish,
        transport,
        restart=restart,
        alive=lambda: machine.alive,
        progress=progress,
    )


def cd_drive(machine: protocol.Machine, manifest: ImageManifest) -> CdCopy | None:
    """Copies files through the guest's CD drive; None if its VM has none."""
    return CdCopy(lambda: machine.qmp, machine.run_dir, tools_dir=manifest.tools_dir) if machine.spec.cds else None


def _insert(drive: CdCopy, files: Mapping[str, Path], progress: Callable[[str], None]) -> None:
    """Put a medium into the drive before the guest looks; if that fails, the later copy reports it."""
    try:
        drive.insert(files)
    except LabError as error:
        progress(f"no ISO at the start: {error.message.splitlines()[0]}")


def _end(machine: VirtualMachine) -> None:
    """A boot that failed leaves no VM."""
    with passed_over(_LOG, f"{machine.spec.name}: ending the VM of a failed boot", LabError):
        if machine.alive:
            machine.kill()
    machine.close()
