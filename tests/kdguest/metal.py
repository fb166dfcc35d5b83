"""The model's drivers on a real kernel: the bare-metal target of ``tests/prints/kd/target`` in a QEMU, which a run forks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lab.host.accel import QEMU
from lab.host.qemu import probe_features, qemu_version
from lab.image.kind import GuestWords, Recipe
from lab.image.manifest import ImageManifest, MachineSpec, TransportOffer
from lab.image.selfbuilt import SelfBuilt
from lab.lease.detached import DetachedGuests
from lab.lease.image_source import ImageSource
from lab.live.payload import Payload
from lab.snapshot.fork_maker import FORK_STEPS
from lab.snapshot.maker import TemplateMaker
from lab.snapshot.store import TemplateStore
from lab.snapshot.template import qemu_identity
from lab.snapshot.template_steps import TemplateSteps
from lab.vm.spec import Accelerator, KernelBoot, VmSpec
from tests.kdguest.forks import forks_of, make_image
from tests.kdguest.guest import manifest
from tests.kdguest.metal_kernel import SOCKET
from tests.kdguest.transport import NAME as TRANSPORT
from tests.prints.kd.target.build import build_target

NAME: Final = "kd-metal"
_KERNEL: Final = "target.bin"


def metal_manifest() -> ImageManifest:
    """The bare-metal target's, with the model's programs."""
    made = manifest()
    machine = MachineSpec(
        machine="q35", memory_mb=32, disk="disk.qcow2", kernel=_KERNEL, append="scenario=serve", cpu_tcg="max"
    )
    return made.model_copy(
        update={
            "name": NAME,
            "kind": NAME,
            "guest": "bare-metal kernel behind a debugger port, with a model of the drivers",
            "machine": machine,
            "transports": {TRANSPORT: TransportOffer()},
            "boot_timeout_s": 120,
        }
    )


class MetalKind(SelfBuilt):
    """The guest kind ``kd-metal``: no disk, no network, and a third serial port for the model."""

    words = GuestWords(title="bare metal", label="not Windows", about="This guest has no operating system.")
    gdb = False

    def recipe_names(self) -> tuple[str, ...]:
        return ()

    def recipe(self, name: str) -> Recipe:
        raise AssertionError(f"no image of {name} is built")

    def machine(
        self, manifest: ImageManifest, image_dir: Path, *, name: str, accelerator: Accelerator, smp: int | None
    ) -> VmSpec:
        machine = manifest.machine
        return VmSpec(
            name=name,
            accelerator=accelerator,
            machine=machine.machine,
            cpu=machine.cpu_tcg,
            smp=smp or machine.smp,
            memory_mb=machine.memory_mb,
            boot=KernelBoot(image_dir / _KERNEL, append=machine.append),
            console=1,
            extra=(
                *("-chardev", f"socket,id=model,path={SOCKET},server=on,wait=off"),
                *("-device", "isa-serial,chardev=model,index=2"),
            ),
        )


KIND = MetalKind()
#: The entry point with which a run finds the kind.
ENTRIES: Final = {"driver_test_lab.guest_kinds": {NAME: f"{__name__}:KIND"}}


def metal_image(folder: Path) -> Path:
    """Build the target, and the image folder around it."""
    built = build_target(folder / "build")
    image = make_image(folder / "image", metal_manifest())
    if not (image / _KERNEL).exists():
        shutil.copy2(built, image / _KERNEL)
    return image


def metal_source(
    folder: Path, image: Path, payload: Payload, progress: Callable[[str], None] = lambda _text: None
) -> ImageSource:
    """A source of such guests, which are forks."""
    source = ImageSource(
        image_dir=image,
        manifest=metal_manifest(),
        payload=payload,
        accelerator="tcg",
        qemu=qemu_identity(QEMU, qemu_version(QEMU)),
        transport=TRANSPORT,
        boot_timeout=None,
        files_by=TRANSPORT,
        runs_dir=folder / "runs",
        evidence_dir=folder / "guests",
        kept=DetachedGuests(folder / "kept"),
        debug="kd",
        progress=progress,
    )
    # The target polls its ports, so it is never idle.
    steps = TemplateSteps(until_idle=lambda _processor_s: True)
    maker = TemplateMaker(probe_features(QEMU), steps=steps, progress=progress)
    return forks_of(source, TemplateStore(folder / "templates"), maker, FORK_STEPS)
