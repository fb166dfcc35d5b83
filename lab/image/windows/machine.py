"""The VM that Windows Setup runs in, as a spec: devices that every Windows since 2016 has drivers for.

The disk boots first and the Windows CD second: a blank disk falls through to the CD, and every later start of the
VM goes to the disk, so Setup never begins again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lab.errors import ConfigError
from lab.vm.spec import Accelerator, CdDrive, Disk, Firmware, Nic, VmSpec

#: ``-drive`` name of the disk, by which ``query-blockstats`` counts its writes.
DISK_DRIVE = "drive0"
#: Index of the serial port on which the guest reports ``LAB <stage> <state>``.
PROGRESS_PORT = 0
#: What Windows asks a hypervisor for. No hv-passthrough: it may bring hv-crash, which ends the guest before its dump.
_HYPERV = (
    "hv_relaxed,hv_vapic,hv_spinlocks=0x1fff,hv_time,hv_vpindex,hv_runtime,hv_synic,hv_stimer,hv_frequencies,hv_tlbflush,hv_ipi"
)
#: vmx and svm off: with nested virtualisation in sight Windows may start its own hypervisor.
CPUS: Mapping[Accelerator, str] = MappingProxyType(
    {"kvm": f"host,vmx=off,svm=off,{_HYPERV}", "tcg": "max,vmx=off,svm=off,la57=off"}
)
#: Machine type, network card and clock, the same for Setup and for guests: Windows must not find new devices later.
MACHINE = "q35,hpet=off,vmport=off"
NIC = "e1000e,romfile="
RTC = "base=utc,driftfix=slew"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallPlan:
    """What to install, from what, in what VM.

    Attributes:
        name: Name of the image, for messages.
        accelerator: ``kvm`` or ``tcg``; see :func:`lab.image.windows.install_host.require_accelerator`.
        windows_iso: The Windows CD; it is only read.
        payload_iso: The second CD, with answer file and scripts.
        disk: The disk to make. Until :func:`~lab.image.windows.install.publish_disk` it is ``<disk>.partial``.
        disk_gb: Size of the disk in GiB; the file takes only what is written to it.
        firmware: UEFI; None: BIOS.
        memory_mb: RAM in MiB.
        smp: Virtual CPUs, in one socket.
        machine: Machine type and its options; the image's guests have the same.
        cpu: CPU model and flags; empty: what suits the accelerator.
        qemu: QEMU binary.
        extra: More QEMU arguments.
    """

    name: str
    accelerator: Accelerator
    windows_iso: Path
    payload_iso: Path
    disk: Path
    disk_gb: int = 64
    firmware: Firmware | None = None
    memory_mb: int = 4096
    smp: int = 2
    machine: str = MACHINE
    cpu: str = ""
    qemu: str = "qemu-system-x86_64"
    extra: tuple[str, ...] = ()

    @property
    def partial_disk(self) -> Path:
        """The disk as long as it is not known to be good."""
        return self.disk.with_name(self.disk.name + ".partial").absolute()


def install_machine(plan: InstallPlan) -> VmSpec:
    """The VM for Setup.

    Args:
        plan: What to install.

    Raises:
        ConfigError: The firmware is one that has Secure Boot on.
    """
    if plan.firmware:
        _refuse_secure_boot(plan.firmware)
    return VmSpec(
        name=f"install-{plan.name}",
        qemu=plan.qemu,
        accelerator=plan.accelerator,
        machine=plan.machine,
        cpu=plan.cpu or CPUS[plan.accelerator],
        smp=plan.smp,
        memory_mb=plan.memory_mb,
        firmware=plan.firmware,
        # unsafe: nothing of a build that the host's power failure interrupts is used anyway.
        disks=(Disk(plan.partial_disk, interface="ide", overlay=False, cache="unsafe", bootindex=1),),
        cds=(CdDrive(plan.windows_iso.absolute(), bootindex=2), CdDrive(plan.payload_iso.absolute())),
        # The network is cut off, so that Setup neither updates itself nor asks for an account online.
        nic=Nic(device=NIC, restrict=True),
        console=PROGRESS_PORT,
        display=True,
        rtc=RTC,
        # Blocks that Setup zeroes take no room in the file.
        extra=(*platform_devices(plan.accelerator), "-set", f"drive.{DISK_DRIVE}.detect-zeroes=unmap", *plan.extra),
    )


def platform_devices(accelerator: Accelerator) -> tuple[str, ...]:
    """QEMU arguments of the VM that a spec has no words for: no sleep states, tablet, place for dump notes, generation id.

    The id differs in each QEMU. In a fork it changes while Windows runs, which makes Windows reseed its random numbers
    (docs/specs/vmgenid of QEMU); otherwise all forks would draw the same ones.
    """
    extra = ["-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1"]
    if accelerator == "kvm":
        extra += ["-global", "kvm-pit.lost_tick_policy=discard"]
    extra += ["-device", "qemu-xhci,id=usb", "-device", "usb-tablet,bus=usb.0", "-device", "vmcoreinfo"]
    return (*extra, "-device", "vmgenid,guid=auto")


def missing_media(plan: InstallPlan) -> Sequence[Path]:
    """Those of the plan's input files that do not exist."""
    files = [plan.windows_iso, plan.payload_iso]
    if plan.firmware:
        files += [plan.firmware.code, plan.firmware.vars]
    return [file for file in files if not file.is_file()]


def _refuse_secure_boot(firmware: Firmware) -> None:
    for file in (firmware.code, firmware.vars):
        if ".ms." in file.name.lower() or "secboot" in file.name.lower():
            raise ConfigError(
                f"{file} is firmware with Secure Boot, under which Windows refuses test signing",
                hint="OVMF_CODE_4M.fd with OVMF_VARS_4M.fd, without .ms or secboot in their names",
            )
