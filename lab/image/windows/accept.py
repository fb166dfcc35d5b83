"""The acceptance boot: does the new disk start without its CDs, answer over WinRM, and hold what was asked for?

It boots an overlay, so that the disk stays as Setup left it. When all is well, and the image has a boot entry for the kernel
debugger, that entry is made the overlay's default, and the overlay becomes the image's second disk.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from lab.errors import GuestExited, ImageError, LabError, TransportError
from lab.guest.protocol import Transport
from lab.guest.readiness import wait_ready
from lab.guest.winrm.transport import open_winrm
from lab.host.process import run
from lab.image.manifest import Credentials, ImageManifest
from lab.image.progress import Progress
from lab.image.windows.facts import gather, select_kd_entry
from lab.image.windows.guest_machine import guest_machine
from lab.image.windows.image_record import AcceptanceRecord, CheckRecord
from lab.image.windows.recipe import WindowsRecipeFile
from lab.vm.argv import overlay_name
from lab.vm.machine import VirtualMachine
from lab.vm.protocol import StartableMachine
from lab.vm.spec import Accelerator, VmSpec

_SHUTDOWN_S = 600.0
_COMMAND_S = 60.0
#: Makes a transport of the host's port and the guest's credentials.
Connect = Callable[[int, Credentials], Transport]


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptancePlan:
    """What to boot and what to expect.

    Attributes:
        recipe: What the image was made from.
        manifest: The manifest that it would get; its disk may have another name yet.
        credentials: How to enter the guest.
        folder: Folder of disk and firmware.
        run_dir: Folder for the overlay and the logs, on the same file system; made when it is missing.
        accelerator: One that works.
        thumbprints: SHA-1 of the certificates that the guest must trust.
        kd_disk: Where the overlay with the kernel debugger's entry goes.
        final_disk: File name that the disk will have, beside ``kd_disk``.
    """

    recipe: WindowsRecipeFile
    manifest: ImageManifest
    credentials: Credentials
    folder: Path
    run_dir: Path
    accelerator: Accelerator
    thumbprints: tuple[str, ...]
    kd_disk: Path
    final_disk: str


class Acceptor(Protocol):
    """How an image is accepted: :func:`accept`, or a stand-in for it where the guest is one."""

    def __call__(self, plan: AcceptancePlan, progress: Progress) -> AcceptanceRecord:
        """Accept it, or raise an ImageError."""


def accept(
    plan: AcceptancePlan,
    progress: Progress,
    *,
    connect: Connect | None = None,
    open_machine: Callable[[VmSpec, Path], StartableMachine] = VirtualMachine,
    shutdown_s: float = _SHUTDOWN_S,
    gap_s: float = 5.0,
) -> AcceptanceRecord:
    """Boot, ask, judge.

    Args:
        plan: What and where.
        progress: Gets a line for each step.
        connect: Makes the transport; None: WinRM.
        open_machine: Makes the VM.
        shutdown_s: Seconds for the guest to power itself off.
        gap_s: Seconds between the two answers that count as ready.

    Raises:
        ImageError: The image is not as it must be; the message lists what, and where the logs are.
    """
    spec = guest_machine(
        plan.manifest, plan.folder, name=f"accept-{plan.recipe.name}", accelerator=plan.accelerator, reboot="reset"
    )
    progress.stage("acceptance boot")
    began = time.monotonic()
    with contextlib.closing(open_machine(spec, plan.run_dir)) as machine:
        transport: Transport | None = None
        try:
            machine.start()
            transport = _ready(plan, machine, connect or _winrm, progress, gap_s)
            boot_s = time.monotonic() - began
            progress.stage("check that everything is in force")
            facts = gather(transport, plan.recipe, thumbprints=plan.thumbprints)
            if facts.failed:
                raise ImageError(_list(facts.failed), hint="a stage's own log says more; see serial1.log in the log folder")
            checks = list(facts.checks)
            if facts.kd_entry:
                checks.append(_prepare_kd(plan, machine, transport, facts.kd_entry, progress, shutdown_s))
        except LabError as error:
            raise _with_evidence(error, machine, plan.run_dir) from error
        finally:
            if transport is not None:
                with contextlib.suppress(TransportError):
                    transport.close()
    return AcceptanceRecord(
        when=datetime.datetime.now(datetime.UTC),
        boot_s=round(boot_s, 1),
        windows=facts.windows,
        kd_entry=facts.kd_entry,
        licence=facts.licence,
        driver_policy=facts.driver_policy,
        checks=tuple(checks),
    )


def _ready(plan: AcceptancePlan, machine: StartableMachine, connect: Connect, progress: Progress, gap_s: float) -> Transport:
    port = plan.manifest.port_of("winrm")
    if port is None:
        raise ImageError(f"image {plan.recipe.name} has no WinRM")
    return wait_ready(
        lambda: connect(machine.ports[port], plan.credentials),
        deadline=time.monotonic() + plan.manifest.boot_timeout_s,
        alive=lambda: machine.alive,
        # Its service may restart once more at the end of the first boot.
        confirmations=2,
        gap_s=gap_s,
        progress=progress.detail,
        console=machine.console_tail,
    )


def _prepare_kd(
    plan: AcceptancePlan, machine: StartableMachine, transport: Transport, entry: str, progress: Progress, shutdown_s: float
) -> CheckRecord:
    """Let the overlay start with the kernel debugger, power the guest off, and keep the overlay."""
    progress.stage("make the disk that starts with the kernel debugger")
    check = select_kd_entry(transport, entry)
    if not check.ok:
        raise ImageError(_list((check,)))
    # Its answer may be lost with the guest.
    with contextlib.suppress(TransportError):
        transport.run("shutdown.exe /s /t 5 /f", timeout=_COMMAND_S)
    # A guest that is killed may not have written its boot configuration.
    try:
        machine.wait_exit(shutdown_s)
    except TransportError as error:
        raise ImageError(f"the guest did not power itself off: {error.message}") from None
    (plan.run_dir / overlay_name(0)).replace(plan.kd_disk)
    # By the name that the disk will have beside it: the folder is renamed when it is published.
    run(["qemu-img", "rebase", "-u", "-F", "qcow2", "-b", plan.final_disk, plan.kd_disk], _COMMAND_S)
    return check


def _winrm(port: int, credentials: Credentials) -> Transport:
    return open_winrm("127.0.0.1", port, credentials.username, SecretStr(credentials.password))


def _list(checks: tuple[CheckRecord, ...]) -> str:
    lines = "".join(f"\n    {check.name}: {check.value or 'nothing'}, wanted {check.wanted}" for check in checks)
    return f"the new image has these problems:{lines}"


def _with_evidence(error: LabError, machine: StartableMachine, folder: Path) -> ImageError:
    """The error, with a picture of what the guest shows."""
    text = f"the acceptance boot failed: {error.message}"
    with contextlib.suppress(TransportError, GuestExited):
        text += f"\n  screen shot: {machine.screendump(folder / 'acceptance.png').name} in the log folder"
    return ImageError(text, hint=error.hint or "the screen shot and serial0.log in the log folder show how far it got")
