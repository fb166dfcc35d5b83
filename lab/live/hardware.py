"""The effect of a lab file's ``vm:``: the guest's manifest with other figures, and the VM with more parts."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import get_args

from lab.config.labfile import read_lab_file
from lab.config.machine import AddedDevice, AddedDisk, DiskFormat, Machine
from lab.config.yamlfile import KeyPath, dotted
from lab.errors import ConfigError, HostToolError
from lab.host.filesums import file_sum
from lab.host.process import run
from lab.host.qemumodels import QemuModels, ask_models
from lab.image.manifest import ImageManifest
from lab.vm.spec import Disk, VmSpec

#: Properties that every device accepts and no list contains.
_EVERY_DEVICE = frozenset({"id", "bus", "driver"})
_QEMU_IMG_S = 60.0


def fit(manifest: ImageManifest, machine: Machine) -> ImageManifest:
    """The manifest of guests with the lab file's memory and processors.

    Flags that the image's own CPU model has under TCG (``smap=off``) are kept, unless the lab file sets them itself.
    """
    if not machine.adds:
        return manifest
    own = manifest.machine
    update: dict[str, object] = {}
    if machine.memory is not None:
        update["memory_mb"] = machine.memory
    if machine.cpus is not None:
        update["smp"] = machine.cpus
    if machine.cpu is not None:
        update |= {"cpu_tcg": _with_flags(machine.cpu, own.cpu_tcg), "cpu_kvm": machine.cpu}
    return manifest.model_copy(update={"machine": own.model_copy(update=update)})


def attach(spec: VmSpec, machine: Machine) -> VmSpec:
    """The VM with the lab file's disks, devices and arguments.

    Raises:
        ConfigError: A disk cannot be attached as it is asked for.
    """
    own = spec.disks[0].interface if spec.disks else "virtio"
    disks = tuple(_disk(disk, disk.interface or own) for disk in machine.disks)
    devices = [word for device in named_devices(machine) for word in ("-device", device.text())]
    return replace(spec, disks=(*spec.disks, *disks), added=(*devices, *machine.arguments))


def named_devices(machine: Machine) -> list[AddedDevice]:
    """The devices, each with an id: its own, or ``added0`` and so on."""
    return [
        device if "id" in device.properties else device.model_copy(update={"id": f"added{index}"})
        for index, device in enumerate(machine.devices)
    ]


def check_machine(machine: Machine, *, file: Path | None, qemu: str) -> Machine:
    """Check whether QEMU and the disks' files have what a lab file names; QEMU is only started to ask it.

    Args:
        machine: The lab file's ``vm:``.
        file: The lab file, for errors.
        qemu: The binary that guests run in.

    Returns:
        The same with the format of each disk.

    Raises:
        ConfigError: A file, device model, property or CPU model does not exist; with file, key and line.
        HostToolError: QEMU or qemu-img is missing, or does not answer.
    """
    if machine.devices or machine.cpu is not None:
        _check_models(machine, ask_models(qemu, [device.driver for device in machine.devices]), file)
    disks = []
    for index, disk in enumerate(machine.disks):
        try:
            found = disk.format or disk_format(Path(disk.file))
        except ConfigError as error:
            raise _wrong(error.message, file, ("vm", "disks", index, "file"), hint=error.hint) from None
        if disk.access == "read-only" and disk.interface == "ide":
            path: KeyPath = ("vm", "disks", index, "access")
            raise _wrong("QEMU's IDE disks cannot be read-only", file, path, hint="interface: virtio, or access: overlay")
        disks.append(disk.model_copy(update={"format": found}))
    return machine.model_copy(update={"disks": tuple(disks)})


def disk_format(path: Path) -> DiskFormat:
    """The format of a disk's file, as ``qemu-img info`` prints it.

    Raises:
        ConfigError: There is no such file, or the lab does not support its format.
        HostToolError: qemu-img is missing.
    """
    told = str(_chain(path)[0].get("format"))
    for name in get_args(DiskFormat):
        if name == told:
            return name  # type: ignore[no-any-return]
    raise ConfigError(
        f"{path} is a disk of format {told}", hint=f"convert it with qemu-img convert to {', '.join(get_args(DiskFormat))}"
    )


def disk_files(disk: AddedDisk) -> list[Path]:
    """The files that a disk's contents are made of: its own, and those below it (backing files of qcow2).

    Raises:
        ConfigError: One is not there.
        HostToolError: qemu-img is missing.
    """
    return [Path(str(entry["filename"])) for entry in _chain(Path(disk.file))]


def disk_sums(machine: Machine, cache: Path) -> tuple[str, ...]:
    """SHA-256 of each disk's contents, in their order; of one with backing files, of all of them.

    Raises:
        ConfigError: A file is not there, or cannot be read.
        HostToolError: qemu-img is missing.
    """
    sums = []
    for disk in machine.disks:
        try:
            parts_of = [file_sum(path, cache) for path in disk_files(disk)]
        except OSError as error:
            raise ConfigError(f"the disk {disk.file} cannot be read: {error.strerror}") from None
        sums.append("+".join(parts_of))
    return tuple(sums)


def _disk(disk: AddedDisk, interface: str) -> Disk:
    if disk.access == "read-only" and interface == "ide":
        raise ConfigError(
            f"disk {disk.file}: QEMU's IDE disks cannot be read-only", hint="interface: virtio, or access: overlay"
        )
    return Disk(
        Path(disk.file),
        interface=interface,  # type: ignore[arg-type]
        overlay=disk.access == "overlay",
        format=disk.format or disk_format(Path(disk.file)),
        cache="writeback" if disk.access == "write" else "unsafe",
        read_only=disk.access == "read-only",
        added=True,
        drive=disk.id or "",
        serial=disk.serial or "",
    )


def _with_flags(model: str, own: str) -> str:
    """A CPU model, with those flags of the image's own that it does not set itself."""
    said = {flag.lstrip("+-").partition("=")[0] for flag in model.split(",")[1:]}
    return ",".join([model, *(flag for flag in own.split(",")[1:] if flag.lstrip("+-").partition("=")[0] not in said)])


def _check_models(machine: Machine, models: QemuModels, file: Path | None) -> None:
    for index, device in enumerate(machine.devices):
        at: KeyPath = ("vm", "devices", index)
        name = models.devices.get(device.driver)
        if name is None:
            near = _near(device.driver, models.devices)
            hint = near or f"`qemu-system-x86_64 -device help` lists the {len(models.devices)} that there are"
            raise _wrong(f"this QEMU has no device model {device.driver!r}", file, (*at, "driver"), hint=hint)
        known = models.properties[name]
        for key in device.properties:
            if key not in known and key not in _EVERY_DEVICE and "[" not in key:
                hint = _near(key, known) or f"its properties are {', '.join(sorted(known))}"
                raise _wrong(f"device {device.driver} has no property {key!r}", file, (*at, key), hint=hint)
    if machine.cpu is not None:
        model = machine.cpu.partition(",")[0]
        if model not in models.cpus:
            hint = _near(model, models.cpus) or "`qemu-system-x86_64 -cpu help` lists them"
            raise _wrong(f"this QEMU has no CPU model {model!r}", file, ("vm", "cpu"), hint=hint)


def _near(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else ""


def _wrong(message: str, file: Path | None, path: KeyPath, *, hint: str = "") -> ConfigError:
    """An error about a key of the lab file, with its line."""
    document = read_lab_file(file) if file is not None else None
    return ConfigError(
        message, file=str(file or ""), key=dotted(path), line=document.line(path) if document is not None else 0, hint=hint
    )


def _chain(path: Path) -> list[dict[str, object]]:
    """What qemu-img prints about a disk's file and those below it."""
    if not path.is_file():
        raise ConfigError(
            f"there is no disk {path}", hint="relative paths start in the lab file's folder; `qemu-img create` makes a disk"
        )
    try:
        # --force-share: a guest may have it open.
        told = run(
            ["qemu-img", "info", "--force-share", "--backing-chain", "--output=json", path.absolute()], _QEMU_IMG_S
        ).stdout
        return [dict(entry) for entry in json.loads(told)]
    except HostToolError as error:
        if error.exit_code is None:
            raise
        raise ConfigError(f"qemu-img cannot read {path}: {error.output.strip().splitlines()[-1]}") from None
