"""What is known about a run before its first test, written down once for the report."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

import lab
from lab.config import KnownIssue
from lab.config.machine import Machine
from lab.host.paths import cache_dir
from lab.image.manifest import ImageManifest
from lab.lease.protocol import GuestSource
from lab.live.hardware import disk_sums
from lab.live.named_files import file_sums
from lab.report.elsewhere import find
from lab.report.entries import wanted_verifier
from lab.report.model import DiskEntry, DriverEntry, ImageEntry, MachineEntry, NamedFileEntry, kind_entry
from lab.report.runfiles import META_FILE, RunMeta, write_meta
from lab.toolchain.trust import driver_note


def describe_run(
    source: GuestSource,
    out: Path,
    *,
    command: Sequence[str],
    root: Path,
    workers: int,
    named: Sequence[Sequence[str]] = (),
    repeat: int = 1,
    known: Sequence[KnownIssue] = (),
    project: Path | None = None,
) -> None:
    """Write the run's description, unless another worker, or ``lab run``, already has.

    Args:
        source: Where the guests come from.
        out: Folder of the run.
        command: The command line of the controller.
        root: pytest's root folder.
        workers: How many workers there are.
        named: For each path that the user named, the names of the drivers that it means.
        repeat: How often each test is run.
        known: The lab file's known issues.
        project: The user's project.
    """
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".meta.lock"):
        if find(out, META_FILE).exists():
            return
        manifest = source.manifest
        now = time.time()
        image = ImageEntry(
            name=manifest.name,
            key=manifest.key,
            guest=manifest.guest,
            kind=kind_entry(manifest.kind),
            capabilities=sorted(manifest.capabilities),
            versions=dict(manifest.versions),
        )
        # A guest that enforces signatures reports that itself.
        told = "enforces_signatures" not in manifest.capabilities
        drivers = [
            DriverEntry(
                name=driver.name,
                path=str(driver.path),
                sha256=driver.sha256,
                arch=driver.arch,
                **dataclasses.asdict(driver.provenance),
                windows=driver_note(driver.image) if told else "",
            )
            for driver in source.payload.drivers.values()
        ]
        hardware: Machine | None = getattr(source, "hardware", None)  # a source of a hook may have none
        meta = RunMeta(
            lab_version=lab.__version__,
            started=datetime.datetime.fromtimestamp(now, tz=datetime.UTC).isoformat(timespec="seconds"),
            started_at=now,
            command=list(command),
            root=str(root),
            guest=manifest.guest,
            image=image,
            accelerator=source.accelerator,
            clock=source.clock,
            qemu=source.qemu,
            machine=machine_entry(manifest, source.accelerator, hardware) if hardware is not None else None,
            verifier=wanted_verifier(getattr(source, "verifier", None)),  # a source of a hook may have none
            workers=workers,
            repeat=repeat,
            known=list(known),
            project=str(project or ""),
            drivers=drivers,
            driver_paths=[list(names) for names in named],
        )
        write_meta(out, meta)


def machine_entry(manifest: ImageManifest, accelerator: str, hardware: Machine) -> MachineEntry:
    """The guests' virtual machine for the report.

    Args:
        manifest: As the guests are booted, with the lab file's figures.
        accelerator: ``kvm`` or ``tcg``.
        hardware: What the lab file adds.
    """
    machine = manifest.machine
    sums = disk_sums(hardware, cache_dir())
    return MachineEntry(
        memory_mb=machine.memory_mb,
        cpus=machine.smp,
        cpu=machine.cpu_kvm if accelerator == "kvm" else machine.cpu_tcg,
        added=hardware.parts(),
        devices=[device.text() for device in hardware.devices],
        disks=[
            DiskEntry(file=disk.file, access=disk.access, format=str(disk.format), sha256=digest)
            for disk, digest in zip(hardware.disks, sums, strict=True)
        ],
        arguments=list(hardware.arguments),
        files=[NamedFileEntry(file=str(path), sha256=digest) for path, digest in file_sums(hardware, cache_dir())],
    )
