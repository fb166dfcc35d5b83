"""The guests of a real run: one image, one accelerator, run folders that clean up after themselves."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.errors import HostToolError
from lab.host.accel import QEMU, Accelerators
from lab.host.process import run
from lab.image.manifest import ImageManifest
from lab.pool.boot import boot_guest
from lab.pool.delivery import FilesBy
from lab.pool.kept import KeptGuests, describe
from lab.pool.live import LiveGuest, TransportName
from lab.pool.payload import Payload
from lab.pool.sources import Debug
from lab.vm.cleanup import RunFolder
from lab.vm.machine import VirtualMachine

#: What is kept of a guest's run folder: enough to see what happened, and to start the same guest by hand.
_EVIDENCE = ("*.log", "*.cmd", "keeper.json", "kd.jsonl", "kd.raw")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """Boots guests from an image folder; a :class:`lab.pool.pool.GuestSource`.

    Attributes:
        image_dir: Folder of the image.
        manifest: Its manifest.
        payload: What every guest gets copied in.
        accelerator: One that works.
        qemu: QEMU's version.
        transport: How commands reach the guests.
        boot_timeout: Seconds until a guest must answer; None for the image's own figure.
        files_by: How files get into the guests.
        runs_dir: Where run folders are made.
        evidence_dir: Gets one folder of logs for each guest.
        kept: The register of guests that people keep.
        debug: Whether guests are booted with their kernel debugger.
        detached: Guests live on when this process ends, unless they are ended.
        progress: Told what a boot waits for.
    """

    image_dir: Path
    manifest: ImageManifest
    payload: Payload
    accelerator: Literal["kvm", "tcg"]
    qemu: str
    transport: TransportName
    boot_timeout: float | None
    files_by: FilesBy = "media"
    runs_dir: Path
    evidence_dir: Path
    kept: KeptGuests
    debug: Debug = "none"
    detached: bool = False
    progress: Callable[[str], None] = lambda _text: None

    def boot(self, guest_id: str, *, smp: int | None = None) -> LiveGuest:
        """Boot a fresh guest; see :func:`lab.pool.boot.boot_guest`."""
        folder = RunFolder.create(self.runs_dir, guest_id)
        names: list[str] = []

        def clean(kept: bool) -> None:
            self._keep_evidence(folder.path, guest_id)
            if kept:
                folder.release()
                return
            for name in names:
                self.kept.remove(name)
            folder.remove()

        try:
            live = boot_guest(
                self.image_dir,
                guest_id=guest_id,
                run_dir=folder.path,
                accelerator=self.accelerator,
                smp=smp,
                transport=self.transport,
                timeout=self.boot_timeout,
                encoding=self.payload.encoding(self.manifest.prints.encoding),
                debug=self.debug,
                files_by=self.files_by,
                medium={file.name: file for file in self.payload.files()},
                detached=self.detached,
                progress=self.progress,
                on_close=clean,
            )
        except BaseException:
            clean(False)
            raise
        if self.detached:
            try:
                names.append(self._register(live))
            except BaseException:
                live.close()
                raise
        return live

    def _register(self, live: LiveGuest) -> str:
        """Make a guest that may outlive this process known to `lab ps` and `lab down` at once, not first at its end."""
        assert isinstance(live.machine, VirtualMachine)
        name = self.kept.free_name(None, live.guest_id)
        description = self.manifest.guest
        self.kept.add(
            describe(name, guest=description, image_dir=self.image_dir, machine=live.machine, transport=self.transport)
        )
        return name

    def _keep_evidence(self, folder: Path, guest_id: str) -> None:
        target = self.evidence_dir / guest_id
        # Evidence is worth a try, never a failure of its own: the disk may be full.
        with contextlib.suppress(OSError):
            target.mkdir(parents=True, exist_ok=True)
            for pattern in _EVIDENCE:
                for file in folder.glob(pattern):
                    shutil.copy2(file, target / file.name)


def choose_accelerator(wanted: Literal["auto", "kvm", "tcg"], found: Accelerators) -> Literal["kvm", "tcg"]:
    """The accelerator to use: the one asked for, or the best that works.

    Raises:
        HostToolError: It does not work on this machine.
    """
    if wanted == "auto":
        best = found.best
        if best is None:
            raise HostToolError(
                [QEMU], None, message=f"no guest can run here: {found.tcg.reason}", hint="`lab doctor` says more"
            )
        return best
    chosen = found.kvm if wanted == "kvm" else found.tcg
    if not chosen.usable:
        raise HostToolError(
            [QEMU],
            None,
            message=f"{wanted} does not work here: {chosen.reason}",
            hint="choose auto; `lab doctor` says what works here",
        )
    return wanted


def qemu_version(qemu: str = QEMU) -> str:
    """The version that QEMU tells, for example ``7.2.22``.

    Raises:
        HostToolError: It is missing or failed.
    """
    first = run([qemu, "--version"], 30, hint="`lab doctor` names the package").stdout.partition("\n")[0]
    return first.partition("version ")[2].split(" ")[0] or first
