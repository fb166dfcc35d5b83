"""The VM of a guest made from a Windows image; and one that starts in a real QEMU."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lab.config.machine import AddedDevice, AddedDisk, Machine
from lab.errors import ImageError
from lab.host.process import run
from lab.image.manifest import load_manifest
from lab.image.windows import files
from lab.image.windows.guest_machine import guest_machine
from lab.image.windows.machine import MACHINE
from lab.live.hardware import fit
from lab.live.machine_spec import machine_spec
from lab.live.print_wiring import booted_as, open_prints
from lab.prints.unobserved import Unobserved
from lab.vm.argv import build_argv
from lab.vm.firmware import find_firmware
from lab.vm.machine import VirtualMachine
from tests.image.windows.conftest import MakeImage
from tests.image.windows.uefi.disk import efi_program, make_disk
from tests.image.windows.uefi.waiting import UP, wait_for_text


def test_the_vm_of_a_guest_is_that_of_setup_without_its_cds(make_image: MakeImage) -> None:
    folder = make_image()
    spec = machine_spec(load_manifest(folder), folder, name="g", accelerator="kvm")
    argv = build_argv(spec)
    devices = [argv[index + 1] for index, item in enumerate(argv) if item == "-device"]
    assert devices == [
        "ide-hd,bus=ide.0,id=disk0,drive=drive0,bootindex=1",
        "e1000e,romfile=,netdev=net0",
        "VGA",
        "qemu-xhci,id=usb",
        "usb-tablet,bus=usb.0",
        "vmcoreinfo",
        "vmgenid,guid=auto",
    ]
    text = " ".join(argv)
    # The image's own firmware, and a copy of its variables for this guest alone.
    assert f"readonly=on,file={folder / files.FIRMWARE_CODE}" in text
    assert "if=pflash,unit=1,format=qcow2,file=vars.fd" in text
    assert spec.disks[0].path == folder / files.DISK
    assert spec.disks[0].overlay
    assert "hostfwd=tcp:127.0.0.1:0-:5985" in text
    assert "restrict=on" in text
    # A bugcheck is an event, and the guest continues, to write its dump; a restart ends it.
    assert "reboot=shutdown,shutdown=poweroff,panic=none" in text
    assert "hv_stimer" in spec.cpu
    assert "passthrough" not in spec.cpu
    assert len(spec.serials) == 2
    assert spec.console == 0


def test_devices_of_a_lab_file_come_after_those_of_the_installation(make_image: MakeImage, tmp_path: Path) -> None:
    """A controller that moved to another PCI address is another device to Windows."""
    folder = make_image()
    manifest = load_manifest(folder)
    disks = (AddedDisk(file=str(tmp_path / "a.img"), format="raw", interface="virtio"), AddedDisk(file="/b.img", format="raw"))
    hardware = Machine(memory=8192, cpus=4, devices=(AddedDevice(driver="edu"),), disks=disks)
    fitted = fit(manifest, hardware)
    own = build_argv(machine_spec(fitted, folder, name="g", accelerator="kvm"))
    argv = build_argv(machine_spec(fitted, folder, name="g", accelerator="kvm", hardware=hardware))
    assert argv[: len(own)] == own
    assert [word for word in argv[len(own) :] if not word.startswith("-")][1::2] == [
        "virtio-blk-pci,id=disk1,drive=drive1",
        "ide-hd,bus=ide.1,id=disk2,drive=drive2",
    ]
    assert argv[-2:] == ["-device", "edu,id=added0"]
    assert ("8192M" in own, "4,sockets=1,cores=4,threads=1" in own) == (True, True)
    assert not any("bootindex" in word for word in argv[len(own) :])


def test_nothing_of_hyper_v_is_asked_of_tcg(make_image: MakeImage) -> None:
    folder = make_image()
    spec = machine_spec(load_manifest(folder), folder, name="g", accelerator="tcg", smp=2)
    assert "hv" not in spec.cpu.split(",")[0]
    assert "hv_" not in spec.cpu
    assert spec.smp == 2


def test_the_debugger_is_chosen_by_the_disk(make_image: MakeImage) -> None:
    folder = make_image()
    manifest = load_manifest(folder)
    chosen = booted_as(manifest, "kd")
    assert guest_machine(chosen, folder, name="g", accelerator="tcg").disks[0].path == folder / files.KD_DISK
    assert set(chosen.capabilities) - set(manifest.capabilities) == {"dbgprint", "kernel_debugger"}
    assert chosen.prints.serial == 1
    assert "kernel debugger on" in chosen.guest
    # The debugger's port works in both directions, and is served before the guest's first instruction.
    spec = machine_spec(chosen, folder, name="g", accelerator="tcg")
    assert [port.kind for port in spec.serials] == ["file", "socket"]
    assert spec.paused
    plain = machine_spec(manifest, folder, name="g", accelerator="tcg")
    assert [port.kind for port in plain.serials] == ["file", "file"]
    assert not plain.paused
    with pytest.raises(ImageError, match="has no boot with a kernel debugger"):
        booted_as(manifest.model_copy(update={"debug": None}), "kd")


def test_an_image_without_its_firmware_is_reported(make_image: MakeImage) -> None:
    folder = make_image()
    (folder / files.FIRMWARE_VARS).unlink()
    with pytest.raises(ImageError, match=r"vars\.qcow2 is not in"):
        machine_spec(load_manifest(folder), folder, name="g", accelerator="tcg")


def test_a_guest_with_a_bios_has_no_flash(make_image: MakeImage) -> None:
    folder = make_image()
    manifest = load_manifest(folder)
    bios = manifest.model_copy(update={"machine": manifest.machine.model_copy(update={"firmware": "bios"})})
    assert "pflash" not in " ".join(build_argv(machine_spec(bios, folder, name="g", accelerator="tcg")))


def test_prints_of_a_plain_guest_are_not_observed(make_image: MakeImage, tmp_path: Path) -> None:
    folder = make_image()
    manifest = load_manifest(folder)
    machine = VirtualMachine(machine_spec(manifest, folder, name="g", accelerator="tcg"), tmp_path / "run")
    assert isinstance(open_prints(manifest, machine, "utf-8", lambda: pytest.fail("nobody is asked")), Unobserved)


@pytest.mark.e2e
def test_two_guests_start_from_one_image_with_uefi_variables_of_their_own(make_image: MakeImage, tmp_path: Path) -> None:
    """A UEFI program in the place of Windows: it counts its starts in a variable that lasts, and prints the count."""
    folder = make_image()
    make_disk(efi_program(tmp_path), folder / files.DISK, tmp_path)
    firmware = find_firmware()
    shutil.copyfile(firmware.code, folder / files.FIRMWARE_CODE)
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", firmware.vars, folder / files.FIRMWARE_VARS], 60)
    before = {name: (folder / name).read_bytes() for name in (files.DISK, files.FIRMWARE_VARS)}
    spec = replace(machine_spec(load_manifest(folder), folder, name="g", accelerator="tcg"), memory_mb=256, machine=MACHINE)
    for number in (1, 2):
        with VirtualMachine(spec, tmp_path / f"guest{number}") as machine:
            machine.start()
            text = wait_for_text(machine.run_dir / "serial0.log", UP)
            machine.qmp.execute("send-key", {"keys": [{"type": "qcode", "data": "ret"}]})
            machine.wait_exit(120)
            # Each guest starts for the first time: the other one has its own copy.
            assert f"{UP}: 1" in text
            assert (machine.run_dir / "vars.fd").stat().st_size > 0
            info = json.loads(run(["qemu-img", "info", "--output=json", machine.run_dir / "vars.fd"], 60).stdout)
            assert info["format"] == "qcow2"
    assert before == {name: (folder / name).read_bytes() for name in before}
