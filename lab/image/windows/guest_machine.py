"""The VM of a guest made from a Windows image: that of Setup, without its CDs.

Which boot entry a guest starts with is a matter of its disk: the boot configuration lies on it, and nothing outside of the
guest can choose an entry. So a published image has two disks, the second one an overlay of a few megabytes, and the kernel
debugger is chosen by :func:`lab.live.print_wiring.booted_as` before the VM is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lab.errors import ImageError
from lab.image.manifest import DebugBoot, ImageManifest, PrintPort
from lab.image.windows import files
from lab.image.windows.machine import RTC, platform_devices
from lab.vm.spec import Accelerator, Actions, Disk, Firmware, Nic, SerialPort, VmSpec

#: What a guest can do in addition once its kernel debugger is on.
DEBUG_CAPABILITIES = ("dbgprint", "kernel_debugger")


def debug_boot() -> DebugBoot:
    """How a Windows image boots with its kernel debugger on, for its manifest."""
    return DebugBoot(
        prints=PrintPort(source="kd", serial=1, encoding="cp1252"), disk=files.KD_DISK, capabilities=DEBUG_CAPABILITIES
    )


def guest_machine(
    manifest: ImageManifest,
    image_dir: Path,
    *,
    name: str,
    accelerator: Accelerator,
    smp: int | None = None,
    reboot: Literal["reset", "shutdown"] = "shutdown",
) -> VmSpec:
    """The VM of a guest.

    Args:
        manifest: What the image asks for.
        image_dir: Its folder.
        name: For process lists and messages.
        accelerator: One that works.
        smp: Virtual CPUs; None: the image's own number.
        reboot: What a restart by the guest does: within a test its state is lost, so the VM ends.

    Raises:
        ImageError: The firmware's files are not in the folder.
    """
    machine = manifest.machine
    ports = [*manifest.transport_ports, manifest.prints.mark_port]
    return VmSpec(
        name=name,
        accelerator=accelerator,
        machine=machine.machine,
        cpu=machine.cpu_kvm if accelerator == "kvm" else machine.cpu_tcg,
        smp=smp or machine.smp,
        memory_mb=machine.memory_mb,
        firmware=image_firmware(manifest, image_dir),
        disks=(Disk(image_dir / machine.disk, interface=machine.disk_interface, bootindex=1),),
        nic=Nic(device=machine.nic, forwards=tuple(port for port in ports if port is not None)),
        serials=(SerialPort(), SerialPort()),
        console=1 - manifest.prints.serial,
        display=True,
        rtc=RTC,
        # A panic leaves the guest running: it then writes its dump.
        actions=Actions(reboot=reboot, panic="none"),
        extra=platform_devices(accelerator),
    )


def image_firmware(manifest: ImageManifest, image_dir: Path) -> Firmware | None:
    """The UEFI firmware that an image carries; None with a BIOS.

    Raises:
        ImageError: Its files are missing.
    """
    if manifest.machine.firmware == "bios":
        return None
    code, variables = image_dir / files.FIRMWARE_CODE, image_dir / files.FIRMWARE_VARS
    if missing := [path.name for path in (code, variables) if not path.is_file()]:
        raise ImageError(
            f"image {manifest.name} needs UEFI firmware, and {' and '.join(missing)} is not in {image_dir}",
            hint=f"`lab image doctor` says more; `lab image build {manifest.name} --force --iso PATH` builds it again",
        )
    return Firmware(code, variables, "qcow2")
