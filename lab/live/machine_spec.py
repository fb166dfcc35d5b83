"""The VM of a guest: the one of its kind, with the ports of its prints and what a lab file adds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from lab.config.machine import Machine
from lab.image.manifest import ImageManifest
from lab.image.registry import kind_of
from lab.live.hardware import attach
from lab.live.print_wiring import print_ports, starts_paused
from lab.vm.spec import Actions, CdDrive, Clock, VmSpec

#: Nothing is added to the VM of the image.
AS_IT_IS = Machine()


def machine_spec(
    manifest: ImageManifest,
    image_dir: Path,
    *,
    name: str,
    accelerator: Literal["kvm", "tcg"],
    smp: int | None = None,
    clock: Clock = "real",
    hold: bool = False,
    hardware: Machine = AS_IT_IS,
) -> VmSpec:
    """The VM that an image asks for, with what a lab file adds.

    Args:
        manifest: The image's manifest.
        image_dir: Its folder.
        name: For process lists and messages.
        accelerator: One that works.
        smp: Virtual CPUs; None for the image's own number.
        clock: ``virtual`` where its kind has such a clock.
        hold: Where a fault stops the whole guest: the VM of a guest that ends itself is paused, not ended, so that its
            memory can still be saved. The caller must watch it: :mod:`lab.live.crashwatch`.
        hardware: Devices, disks and arguments that are added; its other figures are the manifest's, see :func:`fit`.

    Raises:
        ImageError: A file of the image is missing, or no installed package has its kind of guest.
        ConfigError: A disk cannot be attached as it is asked for.
    """
    spec = kind_of(manifest).machine(manifest, image_dir, name=name, accelerator=accelerator, smp=smp)
    # A guest that resets itself in the middle of a test has lost its state: its VM ends instead of coming back. Where a
    # fault stops the whole guest, it stays so that its memory can be saved.
    actions = Actions(reboot="shutdown", shutdown="pause" if hold and "bugcheck" in manifest.capabilities else "poweroff")
    ports = print_ports(manifest)
    spec = replace(
        spec,
        cds=(CdDrive(),) * manifest.machine.cd_drives,
        serials=ports.serials,
        paused=starts_paused(manifest),
        debug_port=ports.debug_port,
        actions=actions,
    )
    shift = kind_of(manifest).virtual_clock
    if clock == "virtual" and shift is not None:
        spec = _with_virtual_clock(spec, shift)
    return attach(spec, hardware)


def _with_virtual_clock(spec: VmSpec, shift: int) -> VmSpec:
    """The same with a clock that counts instructions; docs/virtual-time.md has the measurements."""
    machine = spec.machine
    if machine.split(",")[0] == "q35" and "hpet=" not in machine:
        # With QEMU 10 and 11, an HPET that Linux does not use goes on ticking, and each tick ends a jump: an idle second of the
        # guest costs 11 to 14 ms instead of 0.6 ms.
        machine += ",hpet=off"
    # Without clock=vm the CMOS clock follows the host, and leaves the guest's other clocks.
    return replace(spec, virtual_clock=shift, machine=machine, rtc=f"{spec.rtc},clock=vm")
