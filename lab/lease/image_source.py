"""The guests of a real run: one image, one accelerator, run folders that clean up after themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from lab.config.machine import Machine
from lab.errors import HostToolError
from lab.guest.transport_kind import TransportName
from lab.host.accel import QEMU
from lab.host.paths import cache_dir
from lab.host.qemu import probe_features
from lab.image.manifest import ImageManifest
from lab.lease.detached import DetachedGuests, describe
from lab.live.boot import boot_guest
from lab.live.delivery import FilesBy
from lab.live.guest import LiveGuest
from lab.live.guest_logs import copy_logs
from lab.live.hardware import disk_sums
from lab.live.named_files import file_sums
from lab.live.payload import Payload
from lab.live.print_wiring import Debug, can_resume, why_not_forked
from lab.live.try_hardware import try_hardware
from lab.live.verifier import VerifierWish
from lab.snapshot.fork_maker import FORK_STEPS, ForkSteps
from lab.snapshot.forks import Forks
from lab.snapshot.maker import TemplateMaker
from lab.snapshot.store import TemplateStore
from lab.snapshot.template import TemplateWish, qemu_identity
from lab.vm.cleanup import RunFolder
from lab.vm.spec import Clock

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """Boots guests from an image folder; a :class:`lab.lease.protocol.GuestSource`.

    Attributes:
        image_dir: Folder of the image.
        manifest: Its manifest.
        payload: The files that are copied into every guest.
        accelerator: One that works.
        qemu: QEMU's version.
        transport: How commands reach the guests.
        boot_timeout: Seconds until a guest must answer; None for the image's own figure.
        files_by: How files get into the guests.
        runs_dir: Where run folders are made.
        evidence_dir: Gets one folder of logs for each guest.
        kept: The register of detached guests.
        debug: Whether guests are booted with their kernel debugger.
        clock: The clock of guests of one virtual CPU; the others have a real one.
        hardware: What a lab file adds to the guests' VM.
        verifier: What Driver Verifier is to check in the guests; None: it stays off.
        detached: Guests survive the end of this process, unless they are ended.
        progress: Called with what a boot waits for.
        forks: Makes this process's forks; see :func:`with_forks`.
        no_forks: Why there are none although they were asked for; for the report.
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
    kept: DetachedGuests
    debug: Debug = "none"
    clock: Clock = "real"
    hardware: Machine = field(default_factory=Machine)
    verifier: VerifierWish | None = None
    detached: bool = False
    progress: Callable[[str], None] = lambda _text: None
    forks: Forks | None = None
    no_forks: str = ""

    def boot(self, guest_id: str, *, smp: int | None = None, clock: Clock = "real") -> LiveGuest:
        """Boot a fresh guest; see :func:`lab.live.boot.boot_guest`."""
        folder = RunFolder.create(self.runs_dir, guest_id)

        def clean(kept: bool) -> None:
            self.clean(folder, kept)

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
                clock=clock,
                files_by=self.files_by,
                medium={file.name: file for file in self.payload.files()},
                detached=self.detached,
                hardware=self.hardware,
                verifier=self.verifier,
                progress=self.progress,
                on_close=clean,
            )
        except BaseException:
            clean(False)
            raise
        return self.register(live)

    def clean(self, folder: RunFolder, kept: bool) -> None:
        """A guest was closed: keep its evidence, and remove its folder and its registration unless it was kept."""
        self._keep_evidence(folder.path)
        if kept:
            folder.release()
            return
        for name in [guest.name for guest in self.kept.all() if guest.run_dir == folder.path] if self.detached else []:
            self.kept.remove(name)
        folder.remove()

    def register(self, live: LiveGuest) -> LiveGuest:
        """Register a guest that may outlive this process at once, so that `lab ps` and `lab down` find it."""
        if self.detached:
            try:
                self._register(live)
            except BaseException:
                live.close()
                raise
        return live

    def _register(self, live: LiveGuest) -> None:
        name = self.kept.free_name(None, live.guest_id)
        description = self.manifest.guest
        self.kept.add(
            describe(
                name,
                guest=description,
                image_dir=self.image_dir,
                machine=live.machine,
                transport=self.transport,
                encoding=self.payload.encoding(self.manifest.prints.encoding),
                template=live.template,
                loaded=tuple(sorted(live.loaded)),
            )
        )
        live.machine.detach()
        live.kept_as = name

    def _keep_evidence(self, folder: Path) -> None:
        copy_logs(folder, self.manifest, self.evidence_dir / folder.name.rpartition("-")[0])


def with_forks(source: ImageSource, store: TemplateStore, *, lab_file: Path | None = None) -> ImageSource:
    """The same source, whose guests can be forked as well.

    Without forks, but with the reason, where this QEMU does not report its features, for an image whose prints cannot be
    followed from a fork, and for a VM of which a fork would lose something.

    Args:
        source: Boots guests.
        store: Where templates are.
        lab_file: The lab file, for errors.

    Raises:
        ConfigError: QEMU does not accept the VM of the lab file.
    """
    if not can_resume(source.manifest):
        return replace(source, no_forks=why_not_forked(source.manifest))
    try:
        lost = try_hardware(
            source.hardware,
            source.manifest,
            source.image_dir,
            accelerator=source.accelerator,
            runs_dir=source.runs_dir,
            file=lab_file,
        )
    except HostToolError as error:
        lost = error.message.splitlines()[0]
    if lost:
        return replace(source, no_forks=lost)
    wish = TemplateWish(
        image_dir=source.image_dir,
        manifest=source.manifest,
        payload=source.payload,
        accelerator=source.accelerator,
        qemu=source.qemu,
        transport=source.transport,
        smp=source.manifest.machine.smp,
        clock=source.clock,
        files_by=source.files_by,
        hardware=source.hardware,
        disk_sums=disk_sums(source.hardware, cache_dir()),
        file_sums=file_sums(source.hardware, cache_dir()),
        verifier=source.verifier,
    )
    try:
        forks = make_forks(
            wish,
            store,
            runs_dir=source.runs_dir,
            boot_timeout=source.boot_timeout,
            on_ready=source.register,
            on_close=source.clean,
            progress=source.progress,
        )
    except HostToolError as error:
        return replace(source, no_forks=error.message.splitlines()[0])
    return replace(source, forks=forks)


def make_forks(
    wish: TemplateWish,
    store: TemplateStore,
    *,
    runs_dir: Path,
    boot_timeout: float | None,
    on_close: Callable[[RunFolder, bool], None],
    on_ready: Callable[[LiveGuest], LiveGuest] = lambda live: live,
    progress: Callable[[str], None] = lambda _text: None,
    steps: ForkSteps = FORK_STEPS,
) -> Forks:
    """Where forks come from on this host; see :class:`lab.snapshot.forks.Forks`.

    Args:
        wish: What the templates are made of; ``qemu`` is the version that QEMU reports.
        store: Where templates are.
        runs_dir: Where run folders are made.
        boot_timeout: Seconds until a guest that becomes a template must answer; None for the image's own figure.
        on_close: Called with a run folder and whether its guest was kept, when a fork is closed.
        on_ready: Called with each fork that answers.
        progress: Called with what is done and waited for.
        steps: What is done to a fork's VM and guest.

    Raises:
        HostToolError: QEMU is missing, or does not report its features.
    """
    features = probe_features(QEMU)
    return Forks(
        replace(wish, qemu=qemu_identity(QEMU, wish.qemu)),
        store,
        TemplateMaker(features, boot_timeout=boot_timeout, progress=progress),
        runs_dir=runs_dir,
        on_ready=on_ready,
        on_close=on_close,
        progress=progress,
        steps=steps,
    )
