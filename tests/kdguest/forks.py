"""Templates and forks of the simulated guest: all of the lab but QEMU, whose part is a file with the model's state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lab.host.qemu import QemuFeatures
from lab.image.credentials import make_secrets, save_credentials
from lab.image.manifest import ImageManifest, TransportOffer
from lab.lease.detached import DetachedGuests
from lab.lease.image_source import ImageSource
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.live.print_wiring import Debug, open_prints
from lab.snapshot.fork_maker import ForkSteps
from lab.snapshot.forks import Forks
from lab.snapshot.maker import TemplateMaker
from lab.snapshot.store import TemplateStore
from lab.snapshot.template import TemplateWish
from lab.snapshot.template_steps import TemplateSteps
from lab.vm.process import WaitingSupervisor
from lab.vm.protocol import Machine
from lab.vm.ramfile import RamFile
from lab.vm.snapshot import Snapshot, write_snapshot
from lab.vm.spec import VmSpec
from tests.kdguest.guest import KdMachine, manifest
from tests.kdguest.transport import NAME, KdTransport
from tests.snapshot.making import FEATURES

_STATE = "state"


def model_manifest() -> ImageManifest:
    """The model's, with its own transport."""
    return manifest().model_copy(update={"transports": {NAME: TransportOffer()}})


def make_image(folder: Path, made: ImageManifest) -> Path:
    """The image folder of a manifest; one that is there stays, because the key of a template has the age of its disk."""
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / made.machine.disk).touch()
        (folder / "manifest.json").write_text(made.model_dump_json(indent=1), encoding="utf-8")
        save_credentials(make_secrets("model", "lab-model").credentials, folder)
    return folder


def boot(_image_dir: Path, /, *, guest_id: str, run_dir: Path, debug: Debug, **_rest: object) -> LiveGuest:
    """Boot the guest that becomes a template."""
    assert debug == "kd"
    run_dir.mkdir(parents=True, exist_ok=True)
    machine = KdMachine(run_dir)
    prints = open_prints(model_manifest(), machine, "utf-8", lambda: KdTransport(lambda: machine.system))
    prints.start()
    return LiveGuest(
        guest_id=guest_id,
        manifest=model_manifest(),
        machine=machine,
        transport=KdTransport(lambda: machine.system),
        prints=prints,
        smp=1,
        boot_s=0.25,
        run_dir=run_dir,
        open_transport=lambda name: KdTransport(lambda: machine.system, name),
    )


def resume_copy(snapshot: Snapshot, folder: Path, run_dir: Path, /, *, name: str) -> tuple[Machine, RamFile | None]:
    return restore(snapshot, folder, run_dir, name=name, waiting=None), None


def restore(_snapshot: Snapshot, folder: Path, run_dir: Path, /, *, name: str, waiting: WaitingSupervisor | None) -> KdMachine:
    del name
    if waiting is not None:
        waiting.close()
    run_dir.mkdir(parents=True, exist_ok=True)
    return KdMachine(run_dir, (folder / _STATE).read_text(encoding="utf-8"))


def take_snapshot(machine: Machine, folder: Path, /, *, ram: RamFile | None, features: QemuFeatures) -> Snapshot:
    assert isinstance(machine, KdMachine)
    assert features is FEATURES
    del ram
    (folder / _STATE).write_text(machine.kernel.save(), encoding="utf-8")
    machine.kill()
    status = (folder / _STATE).stat()
    files = {_STATE: (status.st_size, status.st_mtime_ns)}
    snapshot = Snapshot(method="stream", spec=VmSpec(), state_by="file", files=files)
    write_snapshot(folder, snapshot)
    return snapshot


def check(_wish: TemplateWish, _run_dir: Path, /, *, features: QemuFeatures) -> None:
    """There is no VM that could lack something."""
    assert features is FEATURES


#: What is done without QEMU; the rest is the lab's own.
TEMPLATE_STEPS = TemplateSteps(
    check=check, boot=boot, resume_copy=resume_copy, until_idle=lambda _processor_s: True, take_snapshot=take_snapshot
)
FORK_STEPS = ForkSteps(restore=restore)


def forks_of(source: ImageSource, store: TemplateStore, maker: TemplateMaker, steps: ForkSteps) -> ImageSource:
    """The same source, whose guests are forked by these steps."""
    wish = TemplateWish(
        image_dir=source.image_dir,
        manifest=source.manifest,
        payload=source.payload,
        accelerator=source.accelerator,
        qemu=source.qemu,
        transport=source.transport,
        smp=1,
        files_by=source.files_by,
    )
    forks = Forks(
        wish,
        store,
        maker,
        runs_dir=source.runs_dir,
        on_ready=source.register,
        on_close=source.clean,
        memory_mb=lambda: 8192,
        steps=steps,
    )
    return replace(source, forks=forks)


def forked_source(folder: Path, payload: Payload, progress: Callable[[str], None] = lambda _text: None) -> ImageSource:
    """A source of simulated guests that are forks; its boots are not the model's, and no run with templates needs one."""
    source = ImageSource(
        image_dir=make_image(folder / "image", model_manifest()),
        manifest=model_manifest(),
        payload=payload,
        accelerator="tcg",
        qemu="0.0 (simulated)",
        transport=NAME,
        boot_timeout=None,
        files_by=NAME,
        runs_dir=folder / "runs",
        evidence_dir=folder / "guests",
        kept=DetachedGuests(folder / "kept"),
        progress=progress,
    )
    maker = TemplateMaker(FEATURES, steps=TEMPLATE_STEPS, progress=progress)
    return forks_of(source, TemplateStore(folder / "templates"), maker, FORK_STEPS)
