"""Tries, before a boot, whether QEMU accepts what a lab file adds to a guest's VM, and whether such guests can be forked."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

from lab.config.labfile import read_lab_file
from lab.config.machine import Machine
from lab.config.yamlfile import KeyPath, dotted
from lab.errors import ConfigError, GuestExited
from lab.host.accel import QEMU
from lab.host.qemu import QemuFeatures, probe_features
from lab.image.manifest import ImageManifest
from lab.live.hardware import named_devices
from lab.live.machine_spec import machine_spec
from lab.live.print_wiring import can_resume
from lab.vm.cleanup import RunFolder
from lab.vm.obstacles import find_obstacles
from lab.vm.trial import try_machine

#: QEMU 7.2 and 10.0, after `Failed to get "write" lock`.
_LOCK = re.compile(r"Is another process using the image \[(.+)\]\?")


def try_hardware(
    hardware: Machine,
    manifest: ImageManifest,
    image_dir: Path,
    *,
    accelerator: Literal["kvm", "tcg"],
    runs_dir: Path,
    file: Path | None = None,
    forks: bool = True,
) -> str:
    """Check whether guests with this VM can be forked. If it has added parts, it is started for a moment, without its guest.

    The image's own VM is started when a template of it is made: :mod:`lab.snapshot.machine_check`.

    Args:
        hardware: What the lab file adds, checked by :func:`lab.live.hardware.check_machine`.
        manifest: The image's manifest, as its guests are booted.
        image_dir: Its folder.
        accelerator: One that works.
        runs_dir: Where run folders are made.
        file: The lab file, for errors.
        forks: Guests are to be forked.

    Returns:
        Why guests with this VM are booted, although they should be forked; empty if they can be forked.

    Raises:
        ConfigError: QEMU refuses the VM; with the file, the key and QEMU's message.
        HostToolError: QEMU does not start.
        ImageError: A file of the image is missing.
    """
    if not hardware.attaches and not forks:
        return ""
    spec = machine_spec(manifest, image_dir, name="trial", accelerator=accelerator, hardware=hardware)
    reasons = [str(obstacle) for obstacle in find_obstacles(spec)]
    if not hardware.attaches:
        return "; ".join(reasons)
    features: QemuFeatures | None = probe_features(QEMU) if forks and can_resume(manifest) and not reasons else None
    devices = named_devices(hardware)
    ids = {str(device.properties["id"]): device.driver for device in devices}
    with RunFolder.create(runs_dir, "trial") as folder:
        try:
            losses = try_machine(spec, folder.path, devices=tuple(ids), features=features)
        except GuestExited as error:
            taken = _taken(hardware, error)
            if taken is not None and not forks:
                raise _in_use(hardware, taken, file) from None
            if taken is not None and hardware.disks[taken].access == "write":
                return "; ".join(reasons)  # a guest of this run may have it open: there is one disk for all workers
            said = _said(error)
            guilty = next(
                (index for index, name in enumerate(ids) if re.search(rf"\bid={re.escape(name)}(?![\w.-])", said)), None
            )
            key: KeyPath = ("vm",) if guilty is None else ("vm", "devices", guilty)
            raise ConfigError(
                f"QEMU refuses this virtual machine: {said}",
                file=str(file or ""),
                key=dotted(key),
                line=read_lab_file(file).line(key) if file is not None else 0,
                hint="`lab up --dry-run` prints the command",
            ) from None
    # Of a device without an id of the user's own, its model is more use to the user.
    named = [replace(loss, device=ids.get(loss.device, loss.device)) for loss in losses]
    return "; ".join((*reasons, *map(str, named)))


def _taken(hardware: Machine, error: GuestExited) -> int | None:
    """Which disk of the lab file another process has open, from QEMU's message; None if that is about something else."""
    found = _LOCK.search(error.message)
    if found is None:
        return None
    # QEMU names the file as on its command line, and an overlay's base by its own path.
    files = [disk.file for disk in hardware.disks]
    return next((index for index, file in enumerate(files) if found[1] == file), None)


def _in_use(hardware: Machine, index: int, file: Path | None) -> ConfigError:
    key: KeyPath = ("vm", "disks", index)
    return ConfigError(
        f"another guest, or another program, has {hardware.disks[index].file} open",
        file=str(file or ""),
        key=dotted(key),
        line=read_lab_file(file).line(key) if file is not None else 0,
        hint="one guest at a time has a disk with `access: write`: `lab ps` lists the guests that are up, `lab down NAME` ends"
        " one; with `access: overlay` each guest writes to an overlay of its own",
    )


def _said(error: GuestExited) -> str:
    """QEMU's own message, without the path of its logs, which are removed."""
    lines = [line.strip() for line in error.message.splitlines()]
    said = [line for line in lines if "qemu-system" in line and ": -" in line] or lines[:1]
    return said[-1].partition("qemu-system-x86_64: ")[2] or said[-1]
