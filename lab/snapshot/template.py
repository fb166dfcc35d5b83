"""A template: the snapshot of a booted guest with the payload copied, services created and perhaps drivers loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from lab.config.machine import Machine
from lab.errors import HostToolError, SnapshotFailed
from lab.guest.probeserve import standing_probe
from lab.guest.standing import StandingProgram
from lab.guest.transport_kind import TransportName
from lab.host.process import find_program
from lab.image.key import content_key
from lab.image.manifest import ImageManifest
from lab.live.delivery import FilesBy
from lab.live.machine_spec import machine_spec
from lab.live.payload import Payload
from lab.live.verifier import InForce, VerifierWish
from lab.prints.resume import PrintsState
from lab.toolchain.files import sha256_of
from lab.toolchain.select import DriverPackage
from lab.vm.snapshot import Snapshot, load_snapshot
from lab.vm.spec import Clock

TEMPLATE_FILE = "template.json"
#: The prints of the drivers' load, as raw data of the print channel.
REPLAY_FILE = "loaded.prints"
#: Part of every key: raised when the contents of templates change.
FORMAT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateWish:
    """A request for a template.

    Attributes:
        image_dir: Folder of the image.
        manifest: Its image record.
        payload: The files that are copied in.
        accelerator: ``kvm`` or ``tcg``.
        qemu: The QEMU binary and its version, as text.
        transport: How commands reach its forks.
        smp: Virtual CPUs.
        clock: ``virtual`` or ``real``; with several CPUs it is real.
        drivers: Names of the drivers that are loaded in it, sorted.
        files_by: How files are copied into its forks; not part of the key.
        hardware: What a lab file adds to the VM.
        disk_sums: SHA-256 of the files of its disks, in their order.
        file_sums: The other files that the hardware names, and the SHA-256 of each.
        verifier: What Driver Verifier is to check in its guests; None: it stays off.
    """

    image_dir: Path
    manifest: ImageManifest
    payload: Payload
    accelerator: Literal["kvm", "tcg"]
    qemu: str
    transport: TransportName
    smp: int
    clock: Clock = "real"
    drivers: tuple[str, ...] = ()
    files_by: FilesBy = "media"
    hardware: Machine = field(default_factory=Machine)
    disk_sums: tuple[str, ...] = ()
    file_sums: tuple[tuple[Path, str], ...] = ()
    verifier: VerifierWish | None = None

    def of(self, *, smp: int, drivers: tuple[str, ...], clock: Clock = "real") -> TemplateWish:
        """The same request with another number of CPUs, another clock and other drivers loaded."""
        return replace(self, smp=smp, drivers=drivers, clock=clock)

    def base(self) -> TemplateWish:
        """The request for the base template: the same VM without any file of the run."""
        return replace(self, payload=Payload(), drivers=())

    @property
    def is_base(self) -> bool:
        """Whether it is a request for a base template."""
        return not self.payload.drivers and not self.payload.clients

    @property
    def standing(self) -> StandingProgram | None:
        """The program that forks mostly need, if it is among the files of the run: its process may be part of the snapshot."""
        return standing_probe(self.payload.probe) if self.payload.probe else None

    @property
    def key(self) -> str:
        """Hash of everything that a template depends on, except where files lie on the disk."""
        machine = self.manifest.machine
        spec = machine_spec(
            self.manifest,
            self.image_dir,
            name="",
            accelerator=self.accelerator,
            smp=self.smp,
            clock=self.clock,
            hardware=self.hardware,
        )
        inputs = {
            "format": str(FORMAT).encode(),
            "image": self.manifest.model_dump_json().encode(),
            # Guests of two builds of one recipe differ, for example in their credentials.
            "disk": _identity(self.image_dir / machine.disk).encode(),
            "machine": repr(replace(spec, disks=(), boot=None, firmware=None)).encode(),
            "qemu": self.qemu.encode(),
            # With KVM the guest has the features of this processor that the host's kernel supports.
            "processor": (_host_processor() if self.accelerator == "kvm" else "").encode(),
            "transport": self.transport.encode(),
            "drivers": json.dumps(self.drivers).encode(),
        }
        if self.hardware.disks:
            # A fork's overlay lies on these very files, so where they lie counts, too.
            inputs["disks"] = (self.hardware.model_dump_json(include={"disks"}) + " ".join(self.disk_sums)).encode()
        if self.file_sums:
            inputs["named files"] = json.dumps([(str(path), digest) for path, digest in self.file_sums]).encode()
        if self.verifier is not None:
            inputs["verifier"] = self.verifier.key.encode()
        for driver in self.payload.packages:
            inputs[f"driver {driver.name}"] = _facts(driver).encode()
        inputs |= {f"client {name}": file.read_bytes() for name, file in self.payload.clients.items()}
        return content_key(inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A finished template.

    Attributes:
        folder: Its folder.
        key: See :attr:`TemplateWish.key`.
        image: Name of the image.
        image_key: Key of the image.
        guest: The image's one-line description.
        drivers: Drivers that are loaded in it.
        smp: Virtual CPUs.
        clock: ``virtual`` or ``real``.
        transport: How commands reach its forks.
        created: When its snapshot was taken, seconds since the epoch.
        boot_s: Host seconds of the boot that it comes from.
        made_s: Host seconds that making it took, in all.
        prints: Position of the stream of prints, in the source's own fields; the ``replay`` is in :data:`REPLAY_FILE`.
        parked: State of what the transport left in the guest; empty if nothing.
        files: File name → SHA-256 of the copied files, as computed in the guest before the snapshot.
        base: No file of a run was copied in: each fork gets those of its run.
        verifier: What Driver Verifier checks in it; None: it is off.
    """

    folder: Path = field(compare=False)
    key: str
    image: str
    image_key: str
    guest: str
    drivers: tuple[str, ...]
    smp: int
    transport: TransportName
    created: float
    boot_s: float
    made_s: float
    prints: PrintsState
    parked: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    base: bool = False
    clock: Clock = "real"
    verifier: InForce | None = None

    @property
    def name(self) -> str:
        """For people: image, CPUs, clock, drivers."""
        loaded = f" with {', '.join(self.drivers)} loaded" if self.drivers else " without drivers" if self.base else ""
        clock = ", virtual clock" if self.clock == "virtual" else ""
        verifier = f", Driver Verifier {self.verifier.profile}" if self.verifier is not None else ""
        return f"{self.image}, {self.smp} CPU{'s' if self.smp > 1 else ''}{clock}{verifier}{loaded}"

    def snapshot(self) -> Snapshot:
        """The VM.

        Raises:
            SnapshotFailed: It is damaged.
        """
        return load_snapshot(self.folder)

    def prints_state(self) -> PrintsState:
        """Where a fork's print source begins."""
        replay = self.folder / REPLAY_FILE
        return replace(self.prints, replay=replay.read_bytes() if replay.exists() else b"")

    @property
    def exists(self) -> bool:
        """Whether it still exists: another process may have removed it."""
        return (self.folder / TEMPLATE_FILE).is_file()

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(file.lstat().st_blocks * 512 for file in self.folder.iterdir())


_ADAPTER = TypeAdapter(Template)


def write_template(template: Template) -> None:
    """Write ``template.json``, and the prints that its forks read first."""
    stored = _ADAPTER.dump_json(template, indent=1, exclude={"folder": True, "prints": {"replay"}})
    (template.folder / TEMPLATE_FILE).write_bytes(stored)
    if template.prints.replay:
        (template.folder / REPLAY_FILE).write_bytes(template.prints.replay)


def read_template(folder: Path) -> Template:
    """Read a template and check its files.

    Raises:
        SnapshotFailed: There is none, or it is damaged.
    """
    try:
        values = dict(json.loads((folder / TEMPLATE_FILE).read_bytes()))
        template = _ADAPTER.validate_python(values | {"folder": folder})
    except (OSError, TypeError, ValueError, ValidationError) as error:
        raise SnapshotFailed(f"{folder} is not a template: {str(error).splitlines()[0]}") from None
    template.snapshot()
    return template


def qemu_identity(qemu: str, version: str) -> str:
    """Identifies a QEMU binary by a text: another binary may not understand the snapshot's state.

    Raises:
        HostToolError: There is no such binary.
    """
    path = find_program(qemu)
    if not path:
        raise HostToolError([qemu], None, message=f"{qemu} is not installed", hint="`lab doctor` names the package")
    return f"{version} {_identity(Path(path).resolve())}"


def _identity(file: Path) -> str:
    status = file.stat()
    return f"{file.name} {status.st_size} {status.st_mtime_ns}"


def _facts(driver: DriverPackage) -> str:
    links = " ".join(driver.links)
    files = " ".join(f"{file.path.name}>{file.to}={file.sha256}" for file in driver.files)
    registry = sha256_of(driver.registry) if driver.registry else ""
    said = f"{driver.name} {driver.service} {driver.image.name} {driver.sha256} {driver.load_order_group} {links}"
    more = (files, registry, " ".join(driver.needs), driver.inf)
    return "\n".join((said, *more)) if any(more) else said


def _host_processor() -> str:
    """The host's processor model, its features, and the kernel that decides which of them a KVM guest can have."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    wanted = ("model name", "stepping", "microcode", "flags", "Features")
    return os.linesep.join([*(line for line in lines if line.startswith(wanted)), os.uname().release])
