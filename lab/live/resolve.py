"""What the guests of a command are made from, looked at once: accelerator, machine, image and the manifest as they boot.

`lab run`, `lab up`, `lab fork`, `lab bench` and plain pytest all come here. What is quick and often wrong is looked at first:
it is known before an image is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.config.machine import Machine
from lab.config.model import Accelerator
from lab.host.accel import QEMU, choose_accelerator, probe_accelerators
from lab.host.paths import cache_dir, runs_dir
from lab.image.folder import read_manifest
from lab.image.manifest import ImageManifest
from lab.live.hardware import check_machine, fit
from lab.live.print_wiring import Debug, booted_as
from lab.live.trial import try_hardware


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedGuest:
    """Guests that are to be booted or forked.

    Attributes:
        image_dir: Folder of the image.
        manifest: Its manifest as the guests boot: with or without kernel debugger, with the lab file's memory and processors.
        accelerator: One that works.
        hardware: What the lab file adds to the machine, checked.
        file: The lab file, for errors.
    """

    image_dir: Path
    manifest: ImageManifest
    accelerator: Literal["kvm", "tcg"]
    hardware: Machine
    file: Path | None

    def try_machine(self, *, forks: bool) -> str:
        """Start the machine for a moment, where the lab file adds something to it; see :func:`lab.live.trial.try_hardware`."""
        return try_hardware(
            self.hardware,
            self.manifest,
            self.image_dir,
            accelerator=self.accelerator,
            runs_dir=runs_dir(),
            file=self.file,
            forks=forks,
        )


def resolve_guest(
    find_image: Callable[[], Path],
    *,
    accelerator: Accelerator = "auto",
    machine: Machine | None = None,
    debug: Debug = "none",
    file: Path | None = None,
) -> ResolvedGuest:
    """Look at all that guests are made from.

    Args:
        find_image: Gives the folder of the image; may build it.
        accelerator: As the user wants it.
        machine: What the lab file adds to the machine; None: nothing.
        debug: ``kd``: guests boot with their kernel debugger on.
        file: The lab file, for errors.

    Raises:
        LabError: No such accelerator works here, QEMU does not take the machine, or the image cannot be had or used.
    """
    chosen = choose_accelerator(accelerator, probe_accelerators(cache_dir()))
    hardware = check_machine(machine or Machine(), file=file, qemu=QEMU)
    image_dir = find_image()
    manifest = booted_manifest(image_dir, debug, hardware)
    return ResolvedGuest(image_dir=image_dir, manifest=manifest, accelerator=chosen, hardware=hardware, file=file)


def booted_manifest(image_dir: Path, debug: Debug, hardware: Machine) -> ImageManifest:
    """The manifest of guests as they boot.

    Args:
        image_dir: Folder of the image.
        debug: ``kd``: with their kernel debugger on.
        hardware: What the lab file says of the machine.

    Raises:
        ImageError: The image cannot be used, or cannot boot so.
    """
    return fit(booted_as(read_manifest(image_dir), debug), hardware)
