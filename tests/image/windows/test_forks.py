"""Forks of a Windows guest's VM, in a real QEMU: what keeps them from being made, and what each of them has for itself."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from lab.host.accel import QEMU
from lab.host.process import run
from lab.host.qemu import QemuFeatures, probe_features
from lab.image.manifest import load_manifest
from lab.image.windows import files
from lab.image.windows.machine import MACHINE
from lab.live.machine_spec import machine_spec
from lab.live.payload import Payload
from lab.live.print_wiring import booted_as
from lab.snapshot.machine_check import check_machine
from lab.snapshot.template import TemplateWish
from lab.vm.firmware import find_firmware
from lab.vm.machine import VirtualMachine
from lab.vm.protocol import Machine
from lab.vm.ramfile import RamFile
from lab.vm.snapshot import fork, load_snapshot, take_snapshot
from tests.image.windows.conftest import MakeImage
from tests.image.windows.uefi.disk import efi_program, make_disk
from tests.image.windows.uefi.waiting import UP, wait_for_text

_MEMORY_MB = 256


@pytest.fixture(scope="module")
def features() -> QemuFeatures:
    return probe_features(QEMU)


@pytest.fixture
def image(make_image: MakeImage) -> Path:
    """An image with the host's firmware, and an empty disk."""
    folder = make_image()
    firmware = find_firmware()
    shutil.copyfile(firmware.code, folder / files.FIRMWARE_CODE)
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", firmware.vars, folder / files.FIRMWARE_VARS], 60)
    for disk in (files.DISK, files.KD_DISK):
        (folder / disk).unlink()
        run(["qemu-img", "create", "-q", "-f", "qcow2", folder / disk, "1M"], 30)
    record = load_manifest(folder)
    # This host's newest machine type: an older QEMU lacks the version of the record.
    record = record.model_copy(update={"machine": record.machine.model_copy(update={"machine": MACHINE})})
    (folder / "manifest.json").write_text(record.model_dump_json(), encoding="utf-8")
    return folder


@pytest.mark.parametrize("source", ["none", "relay", "kd"])
def test_the_vm_of_a_windows_guest_can_be_forked(image: Path, tmp_path: Path, features: QemuFeatures, source: str) -> None:
    """With each way of its prints, firmware and all devices included."""
    plain = load_manifest(image)
    changed = {"none": plain, "kd": booted_as(plain, "kd")}
    changed["relay"] = plain.model_copy(update={"prints": plain.prints.model_copy(update={"source": "relay"})})
    wish = TemplateWish(
        image_dir=image,
        manifest=changed[source],
        payload=Payload(),
        accelerator="tcg",
        qemu="7.2",
        transport="winrm",
        smp=1,
    )
    check_machine(wish, tmp_path / "trial", features=features)


def press(machine: Machine, key: str) -> None:
    machine.qmp.execute("send-key", {"keys": [{"type": "qcode", "data": key}]})


def generation(machine: Machine) -> bytes:
    """The generation id that QEMU shows to the guest, as it lies in the guest's memory."""
    return uuid.UUID(machine.qmp.execute("query-vm-generation-id")["guid"]).bytes_le


def memory_has(machine: Machine, data: bytes, size_mb: int) -> bool:
    """Whether a guest's memory has some bytes."""
    file = machine.run_dir / "memory"
    machine.qmp.execute("pmemsave", {"val": 0, "size": size_mb << 20, "filename": str(file)}, timeout=120)
    found = data in file.read_bytes()
    file.unlink()
    return found


@pytest.mark.e2e
@pytest.mark.parametrize("variables", ["qcow2", "raw"])
def test_each_fork_has_uefi_variables_and_a_generation_of_its_own(
    image: Path, tmp_path: Path, features: QemuFeatures, variables: Literal["qcow2", "raw"]
) -> None:
    """A UEFI program in the place of Windows counts in a variable that lasts, at each start and at each key c."""
    make_disk(efi_program(tmp_path), image / files.DISK, tmp_path)
    spec = machine_spec(load_manifest(image), image, name="g", accelerator="tcg")
    if variables == "raw":
        spec = replace(spec, firmware=replace(find_firmware(), vars_format="raw"))
    assert spec.firmware is not None
    ram = RamFile(_MEMORY_MB)
    folder = tmp_path / "template"
    folder.mkdir()
    with (
        contextlib.closing(ram),
        VirtualMachine(replace(spec, memory_mb=_MEMORY_MB, memory=ram.memory), tmp_path / "first") as machine,
    ):
        machine.start()
        wait_for_text(machine.run_dir / "serial0.log", f"{UP}: 1")
        before = generation(machine)
        assert memory_has(machine, before, _MEMORY_MB)
        take_snapshot(machine, folder, ram=ram, features=features)
    template = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "ram"}
    snapshot = load_snapshot(folder)
    generations = [before]
    with contextlib.ExitStack() as stack:
        forks = [stack.enter_context(fork(snapshot, folder, tmp_path / name, name=name)) for name in ("a", "b")]
        for machine, keys in zip(forks, (2, 1), strict=True):
            if variables == "raw":
                # When a restored VM first runs, QEMU writes all of the flash to its file: an overlay would grow to a copy.
                with (machine.run_dir / "vars.fd").open("r+b") as file:
                    file.write(bytes(spec.firmware.vars.stat().st_size))
            machine.cont()
            log = machine.run_dir / "serial0.log"
            # Each goes on from one start: the other's variables are not its own.
            for count in range(2, 2 + keys):
                press(machine, "c")
                assert f"{UP}: {count}" in wait_for_text(log, f"{UP}: {count}")
            generations.append(generation(machine))
            # Windows reads it there when ACPI reports that it has changed.
            assert memory_has(machine, generations[-1], _MEMORY_MB)
            assert not memory_has(machine, before, _MEMORY_MB)
        for machine in forks:
            press(machine, "ret")
            machine.wait_exit(120)
        stored = [(machine.run_dir / "vars.fd").read_bytes() for machine in forks]
    assert stored[0] != stored[1]
    # What a fork has written lasts: started once more with its variables, its guest counts on.
    own = replace(spec.firmware, vars=tmp_path / "a" / "vars.fd")
    with VirtualMachine(replace(spec, memory_mb=_MEMORY_MB, firmware=own), tmp_path / "again") as machine:
        machine.start()
        wait_for_text(machine.run_dir / "serial0.log", f"{UP}: 4")
    assert len(set(generations)) == 3
    assert {name: (folder / name).read_bytes() for name in template} == template
    load_snapshot(folder)
