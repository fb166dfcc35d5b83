"""The source of simulated guests (:mod:`tests.simulated_guest`): boots them, and makes forks of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.errors import LabError
from lab.guest.protocol import Transport
from lab.image.manifest import ImageManifest, MachineSpec, PrintPort, usual_offers
from lab.live.connect import clocked
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.prints.resume import PrintsState
from lab.snapshot.fork_request import ForkFigures, ForkWish
from lab.snapshot.template import Template
from lab.toolchain.files import sha256_of
from lab.toolchain.select import DriverPackage
from lab.vm.processor_time import ProcessorReading
from lab.vm.spec import Clock, VmSpec
from tests.simulated_guest import SimulatedDriver, SimulatedMachine, SimulatedPrints, SimulatedTransport

LINK = r"\\.\SimSync"


def manifest(**changes: object) -> ImageManifest:
    """The manifest of the simulated image."""
    values: dict[str, object] = {
        "name": "simulated",
        "key": "0123",
        "created": "2026-01-01T00:00:00Z",
        "guest": "simulated guest: no operating system at all",
        "kind": "wine",
        "capabilities": ("dbgprint", "driver_load"),
        "machine": MachineSpec(machine="none", memory_mb=1, disk="disk.qcow2"),
        "prints": PrintPort(source="wine", mark_port=1),
        "transports": usual_offers("winrm", "ssh"),
    }
    return ImageManifest.model_validate(values | changes)


def _package(
    name: str, service: str, image: Path, *, links: tuple[str, ...] = (), clients: Mapping[str, Path] | None = None
) -> DriverPackage:
    return DriverPackage(
        name=name,
        service=service,
        image=image,
        sha256=sha256_of(image),
        arch="x64",
        load_order_group="LabDrivers",
        links=links,
        clients=clients or {},
        encoding="utf-8",
    )


@dataclass
class SimulatedHost:
    """The processor figures of a host on which a VM waits for this share of each ten seconds."""

    share: float
    readings: int = 0

    def read(self) -> ProcessorReading:
        self.readings += 1
        now = 10.0 * self.readings
        return ProcessorReading(at=now, waited={1: now * self.share})


class SimulatedForks:
    """Forks of simulated guests: the wanted drivers are loaded, and have printed their load.

    Args:
        errors: Raised by the first forks, one each.
    """

    def __init__(self, errors: Sequence[LabError] = ()) -> None:
        self.figures = ForkFigures()
        self.errors = list(errors)
        self.prepared: list[ForkWish] = []
        self.expected: dict[ForkWish, int] = {}
        self.source: SimulatedSource | None = None

    def fork(self, guest_id: str, wish: ForkWish) -> LiveGuest | None:
        if self.errors:
            self.figures.failed += 1
            raise self.errors.pop(0)
        assert self.source is not None
        machine = SimulatedMachine()
        prints = self.source.prints_of(machine)
        transport = SimulatedTransport(machine, prints, refuse_stop=self.source.refuse_stop)
        for name, package in self.source.payload.drivers.items():
            loaded = name in wish.drivers
            transport.services[package.service] = SimulatedDriver(state="RUNNING" if loaded else "STOPPED")
            if loaded:
                prints.say(f"{package.service} loaded")
        template = Template(
            folder=Path("/nowhere"),
            key="t" + "".join(wish.drivers) + ("" if wish.smp == 1 else str(wish.smp)),
            image="simulated",
            image_key="0123",
            guest="simulated",
            drivers=wish.drivers,
            smp=wish.smp,
            transport="winrm",
            created=1.0,
            boot_s=10.0,
            made_s=11.0,
            prints=PrintsState(),
        )
        self.figures.used[template.key] = template
        return self.source.live(guest_id, machine, prints, transport, smp=wish.smp, template=template)

    def expect(self, counts: Mapping[ForkWish, int], *, beside: Callable[[], AbstractContextManager[None]]) -> None:
        self.expected = dict(counts)

    def prepare(self, guest_id: str, wish: ForkWish) -> None:
        del guest_id
        self.prepared.append(wish)

    def distrust(self, wish: ForkWish, reason: str) -> None:
        self.figures.note(f"forks of {wish} did not resume: {reason}")

    def close(self) -> None:
        """Nothing to do."""


@dataclass
class SimulatedSource:
    """Boots simulated guests.

    Attributes:
        folder: Where the payload's files are made.
        log: A line is appended to this file for each boot.
        boot_errors: Raised by the first boots, one each.
        needs: Driver → the drivers that it needs.
        starved: The share of its time that each guest waits for a processor, in their order; unknown for those after.
        only_guest: Only the first guest can be started.
        prints_of: Makes the print source of a guest.
        clock: Of its guests with one virtual CPU.
    """

    folder: Path
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    boot_errors: list[Exception] = field(default_factory=list)
    refuse_start: bool = False
    refuse_stop: bool = False
    accelerator: str = "tcg"
    qemu: str = "0.0 (simulated)"
    manifest: ImageManifest = field(default_factory=manifest)
    guests: list[LiveGuest] = field(default_factory=list)
    forks: SimulatedForks | None = None
    starved: Sequence[float] = ()
    only_guest: bool = False
    prints_of: Callable[[SimulatedMachine], SimulatedPrints] = SimulatedPrints
    clock: Clock = "real"

    def __post_init__(self) -> None:
        if self.forks is not None:
            self.forks.source = self

    @property
    def payload(self) -> Payload:
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {name: self.folder / name for name in ("sim.sys", "other.sys", "drvprobe.exe", "sim_reader.exe")}
        for name, file in files.items():
            with contextlib.suppress(FileExistsError), file.open("x", encoding="utf-8") as stream:
                stream.write(name)
        clients = {"drvprobe": files["drvprobe.exe"], "sim_reader": files["sim_reader.exe"]}
        packages = (
            _package("sync", "SimSync", files["sim.sys"], links=(LINK,), clients=clients),
            _package("async", "SimAsync", files["other.sys"]),
        )
        return Payload.of(replace(package, needs=self.needs.get(package.name, ())) for package in packages)

    def boot(self, guest_id: str, *, smp: int | None = None, clock: Clock = "real") -> LiveGuest:
        if self.boot_errors:
            raise self.boot_errors.pop(0)
        machine = SimulatedMachine(spec=VmSpec(name="simulated", virtual_clock=0 if clock == "virtual" else None))
        prints = self.prints_of(machine)
        transport = SimulatedTransport(machine, prints, refuse_start=self.refuse_start, refuse_stop=self.refuse_stop)
        prints.say("a print of the boot")
        return self.live(guest_id, machine, prints, transport, smp=smp)

    def live(
        self,
        guest_id: str,
        machine: SimulatedMachine,
        prints: SimulatedPrints,
        transport: SimulatedTransport,
        *,
        smp: int | None = None,
        template: Template | None = None,
        on_close: Callable[[bool], None] = lambda _kept: None,
    ) -> LiveGuest:
        """A guest of these parts, booted or a fork."""

        def open_transport(name: str) -> Transport:
            return SimulatedTransport(machine, prints, name=name)

        number = len(self.guests)
        guest = LiveGuest(
            read_processor=SimulatedHost(self.starved[number]).read if number < len(self.starved) else None,
            guest_id=guest_id,
            manifest=self.manifest,
            machine=machine,
            transport=clocked(transport, machine),
            prints=prints,
            smp=smp or 1,
            boot_s=0.25,
            template=template.key if template else "",
            loaded=frozenset(template.drivers) if template else frozenset(),
            verifier=template.verifier if template else None,
            open_transport=open_transport,
            on_close=on_close,
        )
        self.guests.append(guest)
        return guest
