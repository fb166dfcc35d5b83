"""From an image folder to a live guest: one function, each step of which is somebody else's module."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import SecretStr, ValidationError

from lab.errors import ImageError, LabError, TransportError
from lab.guest.protocol import Transport
from lab.guest.readiness import wait_ready
from lab.guest.ssh import open_ssh
from lab.guest.winrm import open_winrm
from lab.image.manifest import Credentials, ImageManifest, load_credentials, load_manifest
from lab.pool.live import LiveGuest, TransportName
from lab.prints.record import PrintSource
from lab.prints.resume import PrintsState
from lab.prints.wine import WinePrintSource
from lab.vm.argv import serial_name
from lab.vm.machine import VirtualMachine
from lab.vm.spec import Actions, Disk, KernelBoot, MemoryFile, Nic, SerialPort, VmSpec

_LOOPBACK = "127.0.0.1"
#: A Windows service may restart once more at the end of a boot; the free guest's does not.
_CONFIRMATIONS = {True: 2, False: 1}


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
    detached: bool = False,
    memory: MemoryFile | None = None,
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
        detached: It lives on when this process ends.
        memory: Its RAM, for a guest that is to be frozen.
        progress: Told what is waited for.
        on_close: Called when the guest is closed, with whether it was kept.

    Raises:
        ImageError: The image cannot be used.
        HostToolError: QEMU could not be started.
        GuestExited: QEMU ended during the boot.
        BootTimeout: No answer in time.
    """
    begin = time.monotonic()
    manifest = read_manifest(image_dir)
    credentials = read_credentials(image_dir)
    spec = machine_spec(manifest, image_dir, name=guest_id, accelerator=accelerator, smp=smp)
    if memory is not None:
        spec = replace(spec, memory=memory)
    machine = VirtualMachine(spec, run_dir)
    with contextlib.ExitStack() as undo:
        machine.start(detached=detached)
        undo.callback(_end, machine)
        prints = print_source(manifest, machine, encoding or manifest.prints.encoding)
        undo.callback(prints.close)
        prints.start()

        def open_transport(name: TransportName) -> Transport:
            return connect(name, manifest, credentials, machine)

        ready = wait_ready(
            lambda: open_transport(transport),
            deadline=begin + (timeout or manifest.boot_timeout_s),
            alive=lambda: machine.alive,
            confirmations=_CONFIRMATIONS[manifest.is_windows],
            progress=progress,
            console=machine.console_tail,
        )
        undo.pop_all()
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
        on_close=on_close,
    )


def read_manifest(image_dir: Path) -> ImageManifest:
    """The manifest of an image folder.

    Raises:
        ImageError: There is none, or this version of the lab cannot use it.
    """
    try:
        return load_manifest(image_dir)
    except (OSError, ValueError) as error:
        raise ImageError(f"{image_dir} holds no usable image: {error}", hint="`lab image build` makes one") from error


def read_credentials(image_dir: Path) -> Credentials:
    """What the guests of an image are entered with.

    Raises:
        ImageError: There is no such file, it may not be read, or it is damaged. No value of the file is in the message.
    """
    try:
        return load_credentials(image_dir)
    except (OSError, ValidationError) as error:
        # Without its cause: pydantic's frames hold the file's text.
        raise ImageError(
            f"the credentials of the image in {image_dir} cannot be used: {error}",
            hint="`lab image build --force` makes the image once more, with new ones",
        ) from None


def machine_spec(
    manifest: ImageManifest, image_dir: Path, *, name: str, accelerator: Literal["kvm", "tcg"], smp: int | None = None
) -> VmSpec:
    """The virtual machine that an image asks for."""
    machine = manifest.machine
    if machine.firmware == "uefi":
        raise ImageError(f"image {manifest.name} needs UEFI firmware, which this boot does not set up", hint="use its recipe")
    ports = [manifest.ports.winrm, manifest.ports.winrm_tls, manifest.ports.ssh, manifest.prints.mark_port]
    boot = None
    if machine.kernel is not None:
        initrd = image_dir / machine.initrd if machine.initrd else None
        boot = KernelBoot(image_dir / machine.kernel, initrd, machine.append)
    return VmSpec(
        name=name,
        accelerator=accelerator,
        machine=machine.machine,
        cpu=machine.cpu_kvm if accelerator == "kvm" else machine.cpu_tcg,
        smp=smp or machine.smp,
        memory_mb=machine.memory_mb,
        boot=boot,
        disks=(Disk(image_dir / machine.disk, interface=machine.disk_interface),),
        nic=Nic(device=machine.nic, forwards=tuple(port for port in ports if port is not None)),
        serials=(SerialPort(), SerialPort()),
        console=1 - manifest.prints.serial,
        rng=True,
        # A guest that resets itself in the middle of a test has lost its state: its machine ends instead of coming back.
        actions=Actions(reboot="shutdown"),
    )


def print_source(
    manifest: ImageManifest, machine: VirtualMachine, encoding: str, *, resume: PrintsState | None = None
) -> PrintSource:
    """The source of an image's prints, not started yet.

    Args:
        manifest: The image.
        machine: Its virtual machine.
        encoding: Encoding of the drivers' strings.
        resume: Where the stream of a frozen guest had stopped; None after a boot.
    """
    if manifest.prints.source != "wine" or manifest.prints.mark_port is None:
        raise ImageError(f"image {manifest.name} prints by {manifest.prints.source}, which is no source of this boot")
    path = machine.run_dir / f"{serial_name(manifest.prints.serial)}.log"
    agent = (_LOOPBACK, machine.ports[manifest.prints.mark_port])
    return WinePrintSource(path, agent, encoding=encoding, resume=resume)


def can_resume(manifest: ImageManifest) -> bool:
    """Whether the prints of this image can be followed from a fork: its source is a ResumableSource."""
    return manifest.prints.source == "wine"


def connect(name: TransportName, manifest: ImageManifest, credentials: Credentials, machine: VirtualMachine) -> Transport:
    """Make a transport to a guest; nothing is sent yet.

    Raises:
        TransportError: The image does not offer it.
    """
    guest_port = manifest.ports.winrm if name == "winrm" else manifest.ports.ssh
    if guest_port is None:
        raise TransportError(f"image {manifest.name} offers no {name}", hint="choose the other transport")
    port = machine.ports[guest_port]
    if name == "winrm":
        password = SecretStr(credentials.password)
        return open_winrm(_LOOPBACK, port, credentials.username, password, tools_dir=manifest.tools_dir)
    return open_ssh(
        _LOOPBACK,
        port,
        credentials.username,
        private_key=SecretStr(credentials.ssh_private_key) if credentials.ssh_private_key else None,
        host_key=credentials.ssh_host_key,
        tools_dir=manifest.tools_dir,
    )


def _end(machine: VirtualMachine) -> None:
    """A boot that failed leaves no machine, a detached one neither."""
    with contextlib.suppress(LabError):
        if machine.alive:
            machine.kill()
    machine.close()
