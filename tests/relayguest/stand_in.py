"""The guest kind and the transport of the stand-in, as an installed package adds them: see docs/extending.md."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from lab.errors import ConfigError, TransportError
from lab.guest.protocol import Transport
from lab.guest.standing import Question, StandingProgram
from lab.guest.transport_kind import GuestAccess, Parked
from lab.host.process import run
from lab.image.credentials import make_secrets, save_credentials
from lab.image.key import content_key
from lab.image.kind import GuestWords, Recipe
from lab.image.manifest import ImageManifest, MachineSpec, PrintPort, TransportOffer
from lab.image.progress import Progress
from lab.image.selfbuilt import SelfBuilt
from lab.toolchain.build import build_drivers
from lab.vm.spec import Accelerator, VmSpec
from tests.kdguest.target import KernelStopped
from tests.prints.relay.target.build import DRIVER, SOURCES, build_kernel
from tests.relayguest.guest import StandIn, StandInTransport
from tests.relayguest.orders import SOCKET_FILE

NAME = "stand-in"
#: It prints whenever it has nothing to do, always texts of the largest size: it is nearly always in the middle of a record.
RESTLESS = "stand-in-restless"
RESTLESS_BYTES = 4096
_QEMU_IMG_S = 60.0


class StandInRecipe:
    """Compiles the stand-in for a kernel and the print relay.

    Args:
        name: Which.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def key(self) -> str:
        """Hash of the sources."""
        files = [file for folder in (SOURCES, DRIVER) for file in sorted(folder.iterdir()) if file.is_file()]
        return content_key({"name": self.name.encode()} | {file.name: file.read_bytes() for file in files})

    def build(self, folder: Path, progress: Progress) -> None:
        """Make the image; nothing is on its disk."""
        progress.stage("compile a stand-in for a kernel")
        with tempfile.TemporaryDirectory(prefix="stand-in-") as scratch:
            build_kernel(Path(scratch) / "kernel", "x64").rename(folder / "kernel")
            [driver] = build_drivers(["relay"], "x64", Path(scratch) / "driver")
            (folder / "labrelay.sys").write_bytes(driver.path.read_bytes())
        run(["qemu-img", "create", "-q", "-f", "qcow2", folder / "disk.qcow2", "1M"], _QEMU_IMG_S)
        save_credentials(make_secrets("nobody", "stand-in").credentials, folder)
        restless = f" restless={RESTLESS_BYTES}" if self.name == RESTLESS else ""
        manifest = ImageManifest(
            name=self.name,
            key=self.key(),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            guest="stand-in for a kernel with the print relay",
            kind=NAME,
            capabilities=(
                *("cancel_io", "cancel_one", "cleanup_on_close", "dbgprint", "direct_io", "driver_load", "exit_cancels_io"),
                *("null_mdl_read", "unload_waits_for_handles"),
            ),
            machine=MachineSpec(
                machine="q35",
                memory_mb=64,
                kernel="kernel",
                initrd="labrelay.sys",
                append=f"serve=1{restless}",
                disk="disk.qcow2",
            ),
            prints=PrintPort(source="relay", encoding="utf-8"),
            transports={NAME: TransportOffer()},
        )
        (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


class StandInGuests(SelfBuilt):
    """The kind of guest."""

    words = GuestWords(
        title="a stand-in for a kernel",
        label="a stand-in, not Windows",
        about="Only the print relay is real in this guest. It is not Windows.",
    )

    def recipe_names(self) -> tuple[str, ...]:
        """Two, of one program."""
        return (NAME, RESTLESS)

    def recipe(self, name: str) -> Recipe:
        """One of them."""
        if name not in self.recipe_names():
            raise ConfigError(f"there is no {name!r}", hint=self.build_command(NAME))
        return StandInRecipe(name)

    def machine(
        self, manifest: ImageManifest, image_dir: Path, *, name: str, accelerator: Accelerator, smp: int | None
    ) -> VmSpec:
        """The usual VM with a third serial port, by which the stand-in gets its orders."""
        spec = super().machine(manifest, image_dir, name=name, accelerator=accelerator, smp=smp)
        # The nic is left out: nothing in this guest could use it.
        control = f"socket,id=control,path={SOCKET_FILE},server=on,wait=off"
        return replace(spec, nic=None, extra=("-chardev", control, "-serial", "chardev:control"))

    @property
    def clock_program(self) -> StandingProgram:
        """See :meth:`set_clock`."""
        return StandingProgram(words=("echo",), greet=lambda: Question(data=b"\n", answered=bool))

    def set_clock(self, transport: Transport, *, timeout: float, wall: Callable[[], float]) -> float:
        """The stand-in has no time of day; that it answers is all that a fork's first command needs."""
        del wall
        transport.run("echo clock", timeout=timeout)
        return 0.0


class StandInCommands:
    """The transport. Its model of a guest is in this process: a fork's begins with what the template's left."""

    title = "orders to the stand-in"
    port = None
    files_by = NAME

    def __init__(self) -> None:
        self._guests: dict[Path, StandIn] = {}

    def guest(self, run_dir: Path) -> StandIn:
        """The model of a guest, by the run folder of its VM."""
        return self._guests.setdefault(run_dir, StandIn(run_dir / SOCKET_FILE))

    def connect(self, access: GuestAccess) -> StandInTransport:
        """See :class:`lab.guest.transport_kind.TransportKind`."""
        return StandInTransport(self.guest(access.run_dir))

    def park(self, transport: Transport, access: GuestAccess, *, timeout: float, progress: Callable[[str], None]) -> Parked:
        """Keep the model's state with the template; see :class:`lab.guest.transport_kind.ParksInGuest`."""
        del timeout, progress
        transport.close()
        return Parked(state=self.guest(access.run_dir).saved())

    def resume(self, access: GuestAccess, state: Mapping[str, str], *, timeout: float) -> StandInTransport:
        """Begin with the state of the template; returns when the stand-in has answered."""
        guest = self._guests[access.run_dir] = StandIn(access.run_dir / SOCKET_FILE, state)
        try:
            guest.orders.count(timeout)
        except KernelStopped as stopped:
            raise TransportError(str(stopped)) from None
        return StandInTransport(guest)


KIND = StandInGuests()
TRANSPORT = StandInCommands()
