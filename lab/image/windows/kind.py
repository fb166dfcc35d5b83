"""The kind of Windows guests, whose images are installed from a user's ISO.

Modules that build and examine images are imported where they are used: that takes half a second, and a boot needs none.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.errors import ConfigError
from lab.guest.protocol import Transport
from lab.guest.standing import StandingProgram
from lab.host.tools import Tool
from lab.image.kind import BuildOption, BuildOrder, BuildRequest, Finding, GuestWords, Recipe
from lab.image.manifest import ImageManifest
from lab.image.windows import files
from lab.image.windows.clock import CLOCK_PROGRAM, set_clock
from lab.image.windows.guest_machine import guest_machine
from lab.image.windows.recipe import windows_names, windows_recipe
from lab.vm.spec import Accelerator, VmSpec


class WindowsKind:
    """Windows 10, 11 and Server: a :class:`lab.image.kind.GuestKind`, and a :class:`lab.image.kind.ForkClock`."""

    words = GuestWords(title="Windows", label="Windows", about="A real Windows guest.")
    #: Its WinRM service may restart once more at the end of a boot.
    confirmations = 2
    virtual_clock: int | None = None
    gdb = False
    builds_itself = False
    build_source = "docs/windows.md says where to get such an ISO"
    build_tools: tuple[Tool, ...] = ()
    build_options = (
        BuildOption(flag="--iso", metavar="PATH", help="Windows: your installation ISO"),
        BuildOption(flag="--allow-tcg", help="Windows: install even without KVM, which takes hours"),
        BuildOption(flag="--openssh-msi", metavar="PATH", help="Windows: install OpenSSH from this MSI in the guest"),
        BuildOption(flag="--product-key-file", metavar="PATH", help="Windows: file with your product key"),
        BuildOption(
            flag="--certificate",
            metavar="PATH",
            help="Windows: certificate that the guest trusts in addition; may be repeated",
            many=True,
        ),
        BuildOption(flag="--keep", help="Windows: keep the disk of a failed build, with its logs"),
    )

    def recipe_names(self) -> tuple[str, ...]:
        """See :class:`lab.image.kind.GuestKind`."""
        return windows_names()

    def recipe(self, name: str) -> Recipe:
        """None: every image needs the user's ISO."""
        windows_recipe(name)
        raise ConfigError(
            f"the image {name} is made from your own Windows ISO",
            hint=f"{self.build_command(name)}; {self.build_source}",
        )

    def build_command(self, name: str) -> str:
        """See :class:`lab.image.kind.GuestKind`."""
        return f"lab image build {name} --iso PATH"

    def order(self, request: BuildRequest) -> BuildOrder:
        """See :class:`lab.image.kind.GuestKind`."""
        from lab.image.windows.order import order_build

        if request.options.get("iso") is None:
            self.recipe(request.name)
        return order_build(windows_recipe(request.name), request)

    def extra_files(self, manifest: ImageManifest) -> tuple[str, ...]:
        """The image record, and the firmware of a VM that has UEFI."""
        firmware = (files.FIRMWARE_CODE, files.FIRMWARE_VARS) if manifest.machine.firmware == "uefi" else ()
        return (files.RECORD, *firmware)

    def is_current(self, folder: Path, manifest: ImageManifest) -> bool:
        """See :class:`lab.image.kind.GuestKind`."""
        from lab.image.windows.examine import is_current

        return is_current(folder, manifest)

    def examine(
        self, folder: Path, manifest: ImageManifest, *, now: datetime.datetime, verify: bool = False
    ) -> Iterator[Finding]:
        """See :class:`lab.image.kind.GuestKind`."""
        from lab.image.windows.examine import examine

        yield from examine(self, folder, manifest, now=now, verify=verify)

    def machine(
        self, manifest: ImageManifest, image_dir: Path, *, name: str, accelerator: Accelerator, smp: int | None
    ) -> VmSpec:
        """See :class:`lab.image.kind.GuestKind`."""
        return guest_machine(manifest, image_dir, name=name, accelerator=accelerator, smp=smp)

    @property
    def clock_program(self) -> StandingProgram:
        """See :class:`lab.image.kind.ForkClock`."""
        return CLOCK_PROGRAM

    def set_clock(self, transport: Transport, *, timeout: float, wall: Callable[[], float]) -> float:
        """See :class:`lab.image.kind.ForkClock`."""
        return set_clock(transport, timeout=timeout, wall=wall)


KIND = WindowsKind()
