"""The common part of guest kinds whose images the lab builds by itself and boots with the VM of the manifest."""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from lab.host.tools import Tool
from lab.image.common_findings import recipe_state
from lab.image.kind import BuildOption, BuildOrder, BuildRequest, Finding, GuestWords, Recipe
from lab.image.manifest import ImageManifest
from lab.vm.spec import Accelerator, Disk, KernelBoot, Nic, SerialPort, VmSpec


class SelfBuilt(ABC):
    """A :class:`lab.image.kind.GuestKind` without its words, names and recipes.

    A guest boots the kernel of its manifest, or else its disk, with the network ports and channels of the manifest.
    """

    words: GuestWords
    confirmations = 1
    virtual_clock: int | None = None
    gdb = True
    builds_itself = True
    build_source = ""
    build_tools: tuple[Tool, ...] = ()
    build_options: tuple[BuildOption, ...] = ()

    @abstractmethod
    def recipe_names(self) -> tuple[str, ...]:
        """See :class:`lab.image.kind.GuestKind`."""

    @abstractmethod
    def recipe(self, name: str) -> Recipe:
        """See :class:`lab.image.kind.GuestKind`."""

    def build_command(self, name: str) -> str:
        """See :class:`lab.image.kind.GuestKind`."""
        return f"lab image build {name}"

    def order(self, request: BuildRequest) -> BuildOrder:
        """See :class:`lab.image.kind.GuestKind`."""
        recipe = self.recipe(request.name)
        return BuildOrder(lambda _progress: recipe)

    def extra_files(self, manifest: ImageManifest) -> tuple[str, ...]:
        """None."""
        del manifest
        return ()

    def is_current(self, folder: Path, manifest: ImageManifest) -> bool:
        """See :class:`lab.image.kind.GuestKind`."""
        del folder
        return self.recipe(manifest.name).key() == manifest.key

    def examine(
        self, folder: Path, manifest: ImageManifest, *, now: datetime.datetime, verify: bool = False
    ) -> Iterator[Finding]:
        """See :class:`lab.image.kind.GuestKind`."""
        del now, verify
        yield from recipe_state(self, folder, manifest)

    def machine(
        self, manifest: ImageManifest, image_dir: Path, *, name: str, accelerator: Accelerator, smp: int | None
    ) -> VmSpec:
        """See :class:`lab.image.kind.GuestKind`."""
        machine = manifest.machine
        ports = (*manifest.transport_ports, manifest.prints.mark_port)
        boot = None
        if machine.kernel is not None:
            initrd = image_dir / machine.initrd if machine.initrd else None
            boot = KernelBoot(image_dir / machine.kernel, initrd, machine.append)
        return VmSpec(
            name=name,
            accelerator=accelerator,
            machine=machine.machine,
            cpu=machine.cpu_kvm if accelerator == "kvm" else machine.cpu_tcg,
            smp=smp or machine.smp,
            memory_mb=machine.memory_mb,
            boot=boot,
            disks=(Disk(image_dir / machine.disk, interface=machine.disk_interface),),
            nic=Nic(device=machine.nic, forwards=tuple(port for port in ports if port is not None)),
            serials=(SerialPort(), SerialPort()),
            channels=tuple(name for name in (*manifest.transport_channels, manifest.prints.mark_channel) if name),
            console=1 - manifest.prints.serial,
            rng=True,
        )
