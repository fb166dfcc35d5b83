"""The inputs of a command's guests, checked once: accelerator, VM settings, image, and the manifest as they boot.

`lab run`, `lab up`, `lab fork`, `lab bench` and plain pytest all come here. Quick checks that often fail come first, before an
image is built. The drivers follow, because the image says for which processor they are built; see
:mod:`lab.live.chosen_drivers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.config.machine import Machine
from lab.config.model import ClockChoice, Debug, SessionSettings
from lab.host.accel import QEMU, choose_accelerator, probe_accelerators
from lab.host.paths import cache_dir, runs_dir
from lab.image.folder import read_manifest
from lab.image.manifest import ImageManifest
from lab.live.chosen_drivers import ChosenDrivers
from lab.live.guest_clock import choose_clock
from lab.live.hardware import check_machine, fit
from lab.live.print_wiring import booted_as
from lab.live.try_hardware import try_hardware
from lab.toolchain.select import DriverPackage
from lab.vm.spec import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedGuest:
    """Guests that are to be booted or forked.

    Attributes:
        image_dir: Folder of the image.
        manifest: Its manifest as the guests boot: with or without kernel debugger, with the lab file's memory and processors.
        accelerator: One that works.
        hardware: What the lab file adds to the VM, checked.
        clock: The clock of guests with one virtual CPU.
        file: The lab file, for errors.
    """

    image_dir: Path
    manifest: ImageManifest
    accelerator: Literal["kvm", "tcg"]
    hardware: Machine
    clock: Clock
    file: Path | None

    def try_machine(self, *, forks: bool) -> str:
        """Start the VM for a moment, if the lab file adds something to it; see :mod:`lab.live.try_hardware`."""
        return try_hardware(
            self.hardware,
            self.manifest,
            self.image_dir,
            accelerator=self.accelerator,
            runs_dir=runs_dir(),
            file=self.file,
            forks=forks,
        )

    def take_drivers(
        self,
        drivers: ChosenDrivers,
        *,
        into: Path,
        progress: Callable[[str], None] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> tuple[DriverPackage, ...]:
        """Build drivers for these guests; see :meth:`lab.live.chosen_drivers.ChosenDrivers.take`."""
        return drivers.take(self.manifest.arch, into=into, progress=progress, warn=warn)


def resolve_guest(
    values: SessionSettings,
    find_image: Callable[[str], Path],
    *,
    file: Path | None = None,
    debug: Debug | None = None,
    clock: ClockChoice | None = None,
) -> ResolvedGuest:
    """Check all inputs of guests.

    Args:
        values: The settings in force: image, accelerator, VM, debugger, clock.
        find_image: Gives the folder of the image with this name; may build it.
        file: The lab file, for errors.
        debug: Instead of the setting, for guests that cannot boot with their kernel debugger.
        clock: Instead of the setting.

    Raises:
        LabError: No such accelerator works here, QEMU refuses the VM, or the image cannot be built or used.
    """
    chosen = choose_accelerator(values.accelerator, probe_accelerators(cache_dir()))
    hardware = check_machine(values.vm, file=file, qemu=QEMU)
    image_dir = find_image(values.image)
    manifest = booted_manifest(image_dir, debug or values.debug, hardware)
    return ResolvedGuest(
        image_dir=image_dir,
        manifest=manifest,
        accelerator=chosen,
        hardware=hardware,
        clock=choose_clock(clock or values.clock, manifest, chosen),
        file=file,
    )


def clock_of(manifest: ImageManifest, values: SessionSettings) -> Clock:
    """The clock that guests of an image get with these settings; see :func:`lab.live.guest_clock.choose_clock`.

    Raises:
        LabError: No such accelerator works here, or the guests cannot have that clock.
    """
    return choose_clock(values.clock, manifest, choose_accelerator(values.accelerator, probe_accelerators(cache_dir())))


def booted_manifest(image_dir: Path, debug: Debug, hardware: Machine) -> ImageManifest:
    """The manifest of guests as they boot.

    Args:
        image_dir: Folder of the image.
        debug: ``kd``: with their kernel debugger on.
        hardware: What the lab file adds to the VM.

    Raises:
        ImageError: The image cannot be used, or cannot boot so.
    """
    return fit(booted_as(read_manifest(image_dir), debug), hardware)
