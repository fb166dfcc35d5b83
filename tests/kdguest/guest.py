"""A guest without QEMU whose prints really are packets: the model's port, a real collector process, the real print source."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.guest.protocol import Transport
from lab.image.manifest import ImageManifest, MachineSpec, PrintPort, usual_offers
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.live.print_wiring import open_prints
from lab.toolchain.files import sha256_of
from lab.toolchain.select import DriverPackage
from lab.vm.spec import Clock
from tests.kdguest.system import System
from tests.kdguest.target import KernelTarget
from tests.kdguest.transport import MODELS, KdTransport
from tests.machines import MachineDouble, MonitorDouble

_BOOT = ("\\SystemRoot\\system32\\ntoskrnl.exe", "\\SystemRoot\\system32\\hal.dll")


class Monitor(MonitorDouble):
    """The one command that the lab sends to QEMU's monitor.

    Args:
        kernel: The kernel whose connection it reports.
    """

    def __init__(self, kernel: KernelTarget) -> None:
        super().__init__()
        self._kernel = kernel

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 10.0) -> Any:
        assert (command, arguments) == ("query-chardev", None)
        state = "" if self._kernel.connected else "disconnected:"
        return [{"label": "serial0", "filename": f"{state}unix:serial0.sock"}]


class KdMachine(MachineDouble):
    """A virtual machine that holds its kernel until it may continue.

    Args:
        folder: Its run folder.
        saved: State of a snapshot, see :meth:`tests.kdguest.target.KernelTarget.save`; empty: it boots.
    """

    def __init__(self, folder: Path, saved: str = "") -> None:
        super().__init__(folder)
        self.kernel = KernelTarget(folder / "serial0.sock", saved)
        self.system = MODELS.find(folder, lambda: System(self.kernel, memory=self.kernel))
        self.paused = True
        self._booted = bool(saved)
        self.monitor = Monitor(self.kernel)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            self.kernel.accept()

    def running(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def pause(self) -> None:
        super().pause()
        self.kernel.pause()

    def cont(self) -> None:
        """Let it run; at first it boots: a kernel that loads itself."""
        super().cont()
        self.kernel.cont()
        if self._booted:
            return
        self._booted = True
        self.kernel.print(b"a print of the boot\n")
        for number, path in enumerate(_BOOT):
            self.kernel.load(path, 0xFFFFFFFF_80400000 + 0x200000 * number, 0x100000)

    @property
    def qmp(self) -> Monitor:
        return self.monitor

    def kill(self) -> None:
        super().kill()
        self.kernel.close()
        MODELS.forget(self.run_dir)

    def close(self) -> None:
        if self.alive:
            self.kill()


def manifest() -> ImageManifest:
    """The manifest of the model: as of an image of Windows whose prints come by its debugger port."""
    return ImageManifest(
        name="simulated-kd",
        key="0123",
        created="2026-01-01T00:00:00Z",
        guest="simulated guest: a model of the drivers behind a debugger port",
        kind="wine",
        capabilities=(
            *("cancel_io", "cancel_one", "cleanup_on_close", "dbgprint", "direct_io", "driver_load", "exit_cancels_io"),
            *("kernel_debugger", "null_mdl_read", "unload_waits_for_handles"),
        ),
        machine=MachineSpec(machine="none", memory_mb=1, disk="disk.qcow2"),
        prints=PrintPort(source="kd", serial=0, encoding="utf-8"),
        transports=usual_offers("winrm", "ssh"),
    )


@dataclass
class KdGuestSource:
    """Boots such guests; a :class:`lab.lease.protocol.GuestSource`.

    Attributes:
        folder: Where the payload's files and the run folders are made.
    """

    folder: Path
    accelerator: str = "tcg"
    qemu: str = "0.0 (simulated)"
    manifest: ImageManifest = field(default_factory=manifest)
    guests: list[LiveGuest] = field(default_factory=list)

    @property
    def payload(self) -> Payload:
        files = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("sync.sys", "async.sys", "drvprobe.exe", "sync_reader.exe", "async_reader.exe"):
            files[name] = self.folder / name
            files[name].touch()

        def package(name: str, service: str, link: str) -> DriverPackage:
            clients = {client: files[f"{client}.exe"] for client in ("drvprobe", f"{name}_reader")}
            return DriverPackage(
                name=name,
                service=service,
                image=files[f"{name}.sys"],
                sha256=sha256_of(files[f"{name}.sys"]),
                arch="x64",
                load_order_group="LabDrivers",
                links=(link,),
                clients=clients,
                encoding="utf-8",
            )

        return Payload.of(
            [package("sync", "LySharkSync", r"\\.\LySharkSync"), package("async", "LySharkAsync", r"\\.\LySharkAsync")]
        )

    @property
    def clock(self) -> Clock:
        return "real"

    def boot(self, guest_id: str, *, smp: int | None = None, clock: Clock = "real") -> LiveGuest:
        # A short path: a socket's has no more than 108 bytes.
        run_dir = Path(tempfile.mkdtemp(prefix="kdguest-"))
        machine = KdMachine(run_dir)

        def open_transport(name: str) -> Transport:
            return KdTransport(lambda: machine.system, name)

        prints = open_prints(self.manifest, machine, "utf-8", lambda: open_transport("winrm"))
        prints.start()

        def on_close(_kept: bool) -> None:
            evidence = self.folder / "guests" / guest_id
            shutil.copytree(run_dir, evidence, ignore=shutil.ignore_patterns("*.sock", "*.ctl"), dirs_exist_ok=True)
            shutil.rmtree(run_dir)

        guest = LiveGuest(
            guest_id=guest_id,
            manifest=self.manifest,
            machine=machine,
            transport=open_transport("winrm"),
            prints=prints,
            smp=smp or 1,
            boot_s=0.25,
            run_dir=run_dir,
            open_transport=open_transport,
            on_close=on_close,
        )
        self.guests.append(guest)
        return guest
