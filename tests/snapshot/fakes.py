"""Forks whose VMs and guests are simulated, and a maker of templates of a few bytes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab.errors import GuestExited, LabError
from lab.host.spare import WaitingProcess
from lab.image.manifest import ImageManifest
from lab.live.cd_drive import CdCopy
from lab.live.deploy import deploy
from lab.live.deployment import Deployed
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.snapshot.fork_maker import ForkSteps
from lab.snapshot.fork_request import ForkWish
from lab.snapshot.forks import Forks
from lab.snapshot.store import TemplateStore
from lab.snapshot.supply import MakesTemplates
from lab.snapshot.template import Template, TemplateWish
from lab.vm.cleanup import RunFolder
from lab.vm.process import WaitingSupervisor
from lab.vm.protocol import Machine
from lab.vm.snapshot import Snapshot
from tests.simulated import SimulatedSource, manifest
from tests.simulated_guest import SimulatedDriver, SimulatedMachine, SimulatedPrints, SimulatedTransport
from tests.snapshot.folders import fill

PLAIN = ForkWish(1)
SYNC = ForkWish(1, ("sync",))
#: The maker's record of a template without files of a run.
BASE = ("base",)


@dataclass
class FakeMaker:
    """Makes templates of a few bytes; ``errors`` are raised by the next ones, one each."""

    made: list[tuple[str, ...]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    while_loading: list[Callable[[Template], None]] = field(default_factory=list)

    def boot(self, wish: TemplateWish, key: str, folder: Path) -> None:
        self._make(wish, key, folder)

    def derive(self, base: Template, wish: TemplateWish, key: str, folder: Path) -> None:
        assert base.base
        if self.while_loading:
            self.while_loading.pop()(base)
        self._make(wish, key, folder)

    def _make(self, wish: TemplateWish, key: str, folder: Path) -> None:
        _raise_next(self.errors)
        self.made.append(BASE if wish.is_base else wish.drivers)
        fill(folder, key, drivers=wish.drivers, image=wish.manifest.name, base=wish.is_base)


class StubbornMachine(SimulatedMachine):
    """Raises ``kill_errors``, one each, before it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.kill_errors: list[Exception] = []

    def kill(self) -> None:
        if self.kill_errors:
            raise self.kill_errors.pop(0)
        super().kill()


@dataclass
class FakeHelper:
    """The process of a print channel."""

    alive: bool = True

    def close(self) -> None:
        self.alive = False


class SimulatedVms:
    """The :class:`~lab.snapshot.fork_maker.ForkSteps` for simulated VMs.

    Attributes:
        restore_errors, resume_errors, delivery_errors, continue_errors: Raised by the next call of that step, one each.
        machines: The VMs that were restored.
        folders: Their run folders.
        guests: The guests that answered.
        helpers: The processes of the print channel that were started.
        given: The one that each fork got.
    """

    def __init__(self, source: SimulatedSource) -> None:
        self.source = source
        self.restore_errors: list[Exception] = []
        self.resume_errors: list[Exception] = []
        self.delivery_errors: list[Exception] = []
        self.continue_errors: list[Exception] = []
        self.machines: list[StubbornMachine] = []
        self.folders: list[Path] = []
        self.guests: list[LiveGuest] = []
        self.helpers: list[FakeHelper] = []
        self.given: list[WaitingProcess | None] = []

    @property
    def steps(self) -> ForkSteps:
        return ForkSteps(
            restore=self.restore,
            resume=self.resume,
            deploy=self.deploy,
            continue_guest=self.continue_guest,
            start_helper=self.start_helper,
        )

    def restore(
        self, _snapshot: Snapshot, _folder: Path, run_dir: Path, *, name: str, waiting: WaitingSupervisor | None
    ) -> StubbornMachine:
        del name
        if waiting is not None:
            waiting.close()
        self.folders.append(run_dir)
        _raise_next(self.restore_errors)
        self.machines.append(StubbornMachine())
        return self.machines[-1]

    def resume(
        self,
        machine: Machine,
        template: Template,
        _wish: TemplateWish,
        *,
        guest_id: str,
        begin: float | None,
        drive: CdCopy | None,
        helper: WaitingProcess | None,
        on_close: Callable[[bool], None],
    ) -> LiveGuest:
        del begin, drive
        self.given.append(helper)
        _raise_next(self.resume_errors)
        assert isinstance(machine, SimulatedMachine)
        prints = SimulatedPrints(machine)
        transport = SimulatedTransport(machine, prints)
        live = self.source.live(guest_id, machine, prints, transport, template=template, on_close=on_close)
        self.guests.append(live)
        return live

    def start_helper(self, _manifest: ImageManifest) -> FakeHelper:
        self.helpers.append(FakeHelper())
        return self.helpers[-1]

    def deploy(self, guest: LiveGuest, payload: Payload, *, read_later: bool, clock: Callable[[], float]) -> Deployed:
        _raise_next(self.delivery_errors)
        return deploy(guest, payload, read_later=read_later, clock=clock)

    def continue_guest(self, machine: Machine, _live: LiveGuest) -> None:
        _raise_next(self.continue_errors)
        machine.cont()


def _raise_next(errors: list[Exception]) -> None:
    if errors:
        raise errors.pop(0)


class World:
    """Forks whose VMs and guests are simulated, and the folders of their templates and runs."""

    def __init__(self, tmp_path: Path) -> None:
        self.maker = FakeMaker()
        self.closed: list[tuple[str, bool]] = []
        self.memory_mb = 8192
        self.store = TemplateStore(tmp_path / "templates")
        self.source = SimulatedSource(tmp_path / "payload")
        self.vms = SimulatedVms(self.source)
        disk = tmp_path / "image" / "disk.qcow2"
        disk.parent.mkdir()
        disk.write_bytes(b"disk")
        credentials = disk.with_name("credentials.json")
        credentials.write_text('{"username": "lab", "password": "made up"}', encoding="utf-8")
        credentials.chmod(0o600)
        self.wish = TemplateWish(
            image_dir=disk.parent,
            manifest=manifest(),
            payload=self.source.payload,
            accelerator="tcg",
            qemu="7.2",
            transport="winrm",
            smp=1,
        )
        self.runs_dir = tmp_path / "runs"

    def make(self, maker: MakesTemplates | None = None, *, steps: ForkSteps | None = None) -> Forks:
        return Forks(
            self.wish,
            self.store,
            maker or self.maker,
            runs_dir=self.runs_dir,
            on_close=self.on_close,
            memory_mb=lambda: self.memory_mb,
            steps=steps or self.vms.steps,
        )

    def on_close(self, folder: RunFolder, kept: bool) -> None:
        self.closed.append((folder.path.name.rpartition("-")[0], kept))
        folder.remove()


def failing(forks: Forks, world: World, errors: int) -> Callable[[], None]:
    def once() -> None:
        world.vms.resume_errors = [GuestExited("QEMU ended with exit code 1") for _ in range(errors)]
        for _ in range(errors):
            with pytest.raises(LabError):
                forks.fork("gw0-1", SYNC)
        forks.distrust(SYNC, "QEMU ended with exit code 1")

    return once


def expecting(world: World, count: int, wish: ForkWish = SYNC) -> Forks:
    """Forks of a run that announces what it will ask for."""
    forks = world.make()
    forks.expect({wish: count}, beside=nullcontext)
    return forks


class Beside:
    """Counts how often it is entered."""

    def __init__(self) -> None:
        self.entered = 0

    def __call__(self) -> AbstractContextManager[None]:
        self.entered += 1
        return nullcontext()


def self_check(held: bool) -> None:
    assert held


def services_of(guest: LiveGuest) -> dict[str, SimulatedDriver]:
    assert isinstance(guest.transport, SimulatedTransport)
    return guest.transport.services


def values(wish: TemplateWish) -> dict[str, Any]:
    return {name: getattr(wish, name) for name in TemplateWish.__slots__}
