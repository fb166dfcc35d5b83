"""What of a VM's spec keeps its guests from being forked, in words that say what to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.image.windows.machine import CPUS, platform_devices
from lab.vm.obstacles import cpu_flags, find_obstacles
from lab.vm.spec import Disk, Firmware, VmSpec

#: Made up: the VM of a guest as it may be booted.
WINDOWS = VmSpec(
    accelerator="kvm",
    cpu=CPUS["kvm"] + ",hv-crash",
    disks=(Disk(Path("/i/disk.qcow2"), interface="ide"),),
    firmware=Firmware(Path("/i/code.fd"), Path("/i/vars.qcow2"), "qcow2"),
    extra=platform_devices("kvm"),
)


def reasons(**changes: object) -> str:
    spec = VmSpec(**{"accelerator": "kvm", "cpu": "host", **changes})  # type: ignore[arg-type]
    return "; ".join(map(str, find_obstacles(spec)))


def test_nothing_is_in_the_way_of_the_labs_own_windows_guests() -> None:
    """The processor of the host is none: a template stays on its host, and its key has the processor."""
    assert find_obstacles(WINDOWS) == ()
    assert find_obstacles(VmSpec(cpu="max", disks=(Disk(Path("/i/ro.img"), overlay=False, read_only=True),))) == ()


@pytest.mark.parametrize(
    ("cpu", "part"),
    [
        ("host,+invtsc", "invtsc"),
        ("host,invtsc=on", "invtsc"),
        ("host,migratable=off", "migratable=off"),
        ("host,migratable=no", "migratable=off"),
        ("host,hv_passthrough", "hv-passthrough"),
        ("host,hv-passthrough=on", "hv-passthrough"),
        ("host,hv-no-nonarch-coresharing=auto", "hv-no-nonarch-coresharing=auto"),
        ("Skylake-Client,hv_reenlightenment", "hv-reenlightenment"),
    ],
)
def test_flags_of_the_processor_that_cannot_be_saved_are_named(cpu: str, part: str) -> None:
    found = reasons(cpu=cpu)
    assert found.startswith(f"CPU flag {part} ")
    assert found.count("CPU flag") == 1
    # Under TCG, QEMU lacks them or ignores them.
    assert reasons(cpu=cpu, accelerator="tcg") == ""


@pytest.mark.parametrize(
    "cpu",
    [
        "host,+invtsc,tsc-frequency=2000000000",
        "host,hv_reenlightenment,tsc_frequency=2000000000",
        "host,+invtsc,-invtsc",
        "host,-invtsc",
        "host,invtsc=off",
        "host,migratable=on",
        "host,hv-passthrough=off",
        "host,hv-no-nonarch-coresharing=on",
    ],
)
def test_the_same_flags_are_harmless_with_a_fixed_frequency_or_switched_off(cpu: str) -> None:
    assert reasons(cpu=cpu) == ""


def test_the_last_flag_of_a_name_counts_and_both_spellings_are_one() -> None:
    assert cpu_flags("max,smap=off,+hv_time,-hv-time,Level=7") == {"smap": "off", "hv-time": "off", "level": "7"}
    assert cpu_flags("host") == {}


def test_a_disk_that_guests_write_to_is_named() -> None:
    assert reasons(disks=(Disk(Path("/d/a.img"), overlay=False),)).startswith(
        "the guest writes to /d/a.img, and forks cannot all write to the same file (`access: overlay`"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            (
                "-chardev",
                "socket,id=t,path=/run/swtpm",
                "-tpmdev",
                "emulator,id=tpm0,chardev=t",
                "-device",
                "tpm-crb,tpmdev=tpm0",
            ),
            "the TPM (-tpmdev emulator) keeps its state outside of the virtual machine",
        ),
        (("-virtfs", "local,path=/src,mount_tag=src,security_model=none"), "the shared folder (-virtfs) forbids snapshots"),
        (("-fsdev", "local,id=f,path=/src,security_model=none"), "the shared folder (-fsdev)"),
        (("-device", "usb-host,vendorid=0x1234"), "device usb-host is a device of the host"),
        (("-device", "vfio-pci,host=01:00.0"), "device vfio-pci is a device of the host"),
        (("-device", "ivshmem-plain,memdev=m"), "device ivshmem-plain shares memory"),
        (("-object", "memory-backend-file,id=nv,mem-path=/x,size=1M,share=on"), "the memory nv is shared"),
        (("-object", "memory-backend-memfd,id=m,size=1M"), "the memory m is shared"),
    ],
)
def test_arguments_that_all_forks_would_share_are_named(arguments: tuple[str, ...], words: str) -> None:
    found = reasons(added=arguments)
    assert words in found
    assert found == reasons(extra=arguments)
    assert found.endswith(")")


@pytest.mark.parametrize(
    "arguments",
    [
        ("-object", "memory-backend-file,id=nv,mem-path=/x,,y,share=on,size=1M,share=off"),
        ("-object", "memory-backend-ram,id=m,size=1M"),
        ("-object", "memory-backend-memfd,id=m,size=1M,share=off"),
        ("-trace", "tpmdev*", "-device", "usb-tablet"),
        ("-global", "virtfs=1"),
        ("-device",),
    ],
)
def test_other_arguments_are_left_to_qemu(arguments: tuple[str, ...]) -> None:
    assert reasons(added=arguments) == ""
