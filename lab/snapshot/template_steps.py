"""What is done to the VM and the guest of which a template is made; another caller, or a test, can give its own steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from lab.config.machine import Machine as Hardware
from lab.guest.transport_kind import TransportKind, TransportName, transport_kind
from lab.host.qemu import QemuFeatures
from lab.live.boot import boot_guest
from lab.live.delivery import FilesBy
from lab.live.deploy import deploy
from lab.live.deployment import Deployed
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.live.print_wiring import Debug
from lab.live.verifier import VerifierWish
from lab.snapshot.idle import wait_until_idle
from lab.snapshot.machine_check import check_machine
from lab.snapshot.resume import resume_guest
from lab.snapshot.template import Template, TemplateWish
from lab.vm.protocol import Machine
from lab.vm.ramfile import RamFile
from lab.vm.snapshot import Snapshot, resume_copy, take_snapshot
from lab.vm.spec import Clock, MemoryFile


class CheckMachine(Protocol):
    """Checks whether guests of a VM can be forked; see :func:`lab.snapshot.machine_check.check_machine`."""

    def __call__(self, wish: TemplateWish, run_dir: Path, /, *, features: QemuFeatures) -> None:
        """Return if they can."""


class Boot(Protocol):
    """Boots a guest and waits until it answers; see :func:`lab.live.boot.boot_guest`."""

    def __call__(
        self,
        image_dir: Path,
        /,
        *,
        guest_id: str,
        run_dir: Path,
        accelerator: Literal["kvm", "tcg"],
        smp: int | None,
        clock: Clock,
        transport: TransportName,
        timeout: float | None,
        encoding: str | None,
        debug: Debug,
        memory: MemoryFile | None,
        hardware: Hardware,
        files_by: FilesBy,
        verifier: VerifierWish | None,
        progress: Callable[[str], None],
    ) -> LiveGuest:
        """Return the guest."""


class ResumeCopy(Protocol):
    """Starts a VM from a copy of a snapshot; see :func:`lab.vm.snapshot.resume_copy`."""

    def __call__(self, snapshot: Snapshot, folder: Path, run_dir: Path, /, *, name: str) -> tuple[Machine, RamFile | None]:
        """Return the VM, with its virtual CPUs stopped, and its RAM."""


class ResumeGuest(Protocol):
    """Lets that VM run and waits until its guest answers; see :func:`lab.snapshot.resume.resume_guest`."""

    def __call__(self, machine: Machine, template: Template, wish: TemplateWish, /, *, guest_id: str) -> LiveGuest:
        """Return the guest."""


class DeployOnce(Protocol):
    """Copies the run's files into the guest and creates the services; see :func:`lab.live.deploy.deploy`."""

    def __call__(self, guest: LiveGuest, payload: Payload, /, *, clock: Callable[[], float]) -> Deployed:
        """Return what was copied."""


class TakeSnapshot(Protocol):
    """Writes the snapshot, which ends the VM; see :func:`lab.vm.snapshot.take_snapshot`."""

    def __call__(self, machine: Machine, folder: Path, /, *, ram: RamFile | None, features: QemuFeatures) -> Snapshot:
        """Return what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSteps:
    """What is done to VM and guest.

    Attributes:
        check: For a base template, before it is booted.
        boot: For a base template.
        resume_copy: For a template that is made from a base, instead of the boot.
        resume: The same.
        deploy: The same, before the wanted drivers are loaded.
        transport: The kind of transport of a name, which may leave something in the guest.
        until_idle: Waits until the QEMU with this processor time is idle; returns whether it got idle.
        take_snapshot: Last.
    """

    check: CheckMachine = check_machine
    boot: Boot = boot_guest
    resume_copy: ResumeCopy = resume_copy
    resume: ResumeGuest = resume_guest
    deploy: DeployOnce = deploy
    transport: Callable[[TransportName], TransportKind] = transport_kind
    until_idle: Callable[[Callable[[], float]], bool] = wait_until_idle
    take_snapshot: TakeSnapshot = take_snapshot


#: Those of real VMs and guests.
TEMPLATE_STEPS = TemplateSteps()
