"""Starts a VM for a moment, without its guest: does QEMU accept it, and would a snapshot hold all of its state?

QEMU refuses a snapshot with some devices (``nvme``). With others it takes one without their state and without a warning,
because their models do not describe it: seen with ``edu`` and ``pci-testdev`` of QEMU 7.2 and 10.0, whose registers are those
of power-on in a restored VM, and whose PCI addresses are gone, so that the guest reads ones. QEMU appends a description to each
stream, which lists what the stream holds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.errors import SnapshotFailed
from lab.host.process import run
from lab.host.qemu import QemuFeatures
from lab.vm.machine import VirtualMachine
from lab.vm.qmp import CommandRefused, Qmp
from lab.vm.ramfile import RamFile
from lab.vm.spec import VmSpec
from lab.vm.statefile import choose_method, write_state

_PERIPHERALS = "/machine/peripheral"
#: Type of the section that ends a migration stream: four bytes with a length (big endian), and as much JSON.
#: (QEMU's ``QEMU_VM_VMDESCRIPTION``, migration/qemu-file-types.h.) What the JSON begins with differs: ``{"page_size"`` in
#: QEMU 7.2, ``{"configuration"`` in 10.0 and 11.1.
_DESCRIPTION = b"\x06"
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Loss:
    """A device whose state a snapshot would lack, or a reason why no snapshot can be taken.

    Attributes:
        device: The id of the device, or its model if it has none; empty where QEMU refuses as a whole.
        why: In words.
    """

    device: str
    why: str

    def __str__(self) -> str:
        if not self.device:
            return f"no snapshot of a guest with this virtual machine can be taken: {self.why}"
        return f"device {self.device} would be lost in a fork: {self.why}"


def try_machine(spec: VmSpec, run_dir: Path, *, devices: Sequence[str] = (), features: QemuFeatures | None) -> list[Loss]:
    """Start a VM with its processors stopped, write its state, end it: some 0.3 s.

    Args:
        spec: The VM.
        run_dir: Its own folder.
        devices: Ids of devices of any bus that are asked about, beside all PCI devices of the command line. Of the others, a
            stream does not tell which have no state at all, as pvpanic, and which have theirs in the state of their bus.
        features: What QEMU can do; None: test only whether QEMU accepts the VM.

    Returns:
        What a snapshot would lose; empty if it would hold everything.

    Raises:
        GuestExited: QEMU refuses the VM; with its message.
        HostToolError: QEMU could not be started.
        TransportError: It did not answer.
    """
    ram = RamFile(spec.memory_mb)
    try:
        nic = replace(spec.nic, forwards=()) if spec.nic else None
        with VirtualMachine(replace(spec, paused=True, memory=ram.memory, nic=nic), run_dir) as machine:
            machine.start(timeout=_SECONDS)
            return _losses(machine, run_dir / "trial.state", devices, features) if features is not None else []
    finally:
        ram.close()


def _losses(machine: VirtualMachine, state: Path, devices: Sequence[str], features: QemuFeatures) -> list[Loss]:
    paths = {device: pci_path(machine.qmp, f"{_PERIPHERALS}/{device}") for device in devices}
    types = {device: str(_get(machine.qmp, f"{_PERIPHERALS}/{device}", "type")) for device in devices}
    pci = _pci_devices(machine.qmp)
    try:
        write_state(machine, state, choose_method(features), timeout=_SECONDS)
        sections = sections_of(state.read_bytes())
    except (SnapshotFailed, CommandRefused) as error:
        return [Loss("", error.message.splitlines()[0])]
    other = [device for device, path in paths.items() if not path]
    described = _described(machine.spec) if other else frozenset()
    why = "QEMU does not save its state in a snapshot"
    return [
        Loss(device, why)
        for device, path in paths.items()
        if (types[device] not in described if not path else not _has(sections, path))
    ] + [Loss(name, why) for path, name in pci.items() if path not in paths.values() and not _has(sections, path)]


def _has(sections: Sequence[str], path: str) -> bool:
    return any(name.startswith(f"{path}/") for name in sections)


def _pci_devices(qmp: Qmp) -> dict[str, str]:
    """The PCI devices of the command line: place, see :func:`pci_path` → id, or the model if it has no id."""
    found = {}
    for folder in (_PERIPHERALS, f"{_PERIPHERALS}-anon"):
        for entry in qmp.execute("qom-list", {"path": folder}):
            kind, name = str(entry["type"]), str(entry["name"])
            if kind.startswith("child<") and (path := pci_path(qmp, f"{folder}/{name}")):
                found[path] = name if folder == _PERIPHERALS else kind.removeprefix("child<").removesuffix(">")
    return found


def sections_of(stream: bytes) -> list[str]:
    """Names of the parts of a migration stream, from the description at its end, for example ``0000:00:02.0/virtio-net``.

    Raises:
        SnapshotFailed: It has no description.
    """
    try:
        return [str(device["name"]) for device in json.loads(_description(stream))["devices"]]
    except (ValueError, KeyError, TypeError):
        raise SnapshotFailed("QEMU's snapshot has no description of its content") from None


def _description(stream: bytes) -> bytes:
    """The JSON that ends a stream; empty where there is none."""
    at = len(stream)
    # This byte does not occur in JSON, but it may be part of the length.
    while (at := stream.rfind(_DESCRIPTION, 0, at)) >= 0:
        if int.from_bytes(stream[at + 1 : at + 5], "big") == len(stream) - at - 5:
            return stream[at + 5 :]
    return b""


def pci_path(qmp: Qmp, device: str) -> str:
    """How a stream names a PCI device: ``0000:00:04.0``, and ``0000:00:04.0:01.0`` below a bridge; empty for other devices."""
    bus = str(_get(qmp, device, "parent_bus"))
    address = _get(qmp, device, "addr")
    if not bus or not isinstance(address, int) or address < 0:
        return ""
    above = bus.rpartition("/")[0]
    place = f"{address >> 3:02x}.{address & 7}"
    before = pci_path(qmp, above) if above.startswith(_PERIPHERALS) else ""
    return f"{before}:{place}" if before else f"0000:00:{place}"


def _get(qmp: Qmp, path: str, name: str) -> Any:
    """A property of a QEMU object; empty if it has none of that name."""
    try:
        return qmp.execute("qom-get", {"path": path, "property": name})
    except CommandRefused:
        return ""


def _described(spec: VmSpec) -> Collection[str]:
    """Device models whose state QEMU knows how to write."""
    with tempfile.TemporaryDirectory(prefix="lab-qemu-") as folder:
        file = Path(folder) / "vmstate.json"
        run([spec.qemu, "-machine", spec.machine, "-display", "none", "-dump-vmstate", file], _SECONDS)
        return frozenset(json.loads(file.read_text(encoding="utf-8")))
