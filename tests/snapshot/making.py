"""A real maker of templates, whose VMs and guests are simulated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from lab.config.machine import Machine as Hardware
from lab.guest.protocol import Transport
from lab.guest.transport_kind import GuestAccess, Parked, TransportName
from lab.host.qemu import QemuFeatures
from lab.live.delivery import FilesBy
from lab.live.deploy import deploy
from lab.live.deployment import Deployed
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.live.print_wiring import Debug
from lab.live.verifier import InForce, VerifierWish
from lab.prints.resume import PrintsState
from lab.snapshot.maker import TemplateMaker
from lab.snapshot.template import Template, TemplateWish
from lab.snapshot.template_steps import TemplateSteps
from lab.vm.protocol import Machine
from lab.vm.ramfile import RamFile
from lab.vm.snapshot import Snapshot, write_snapshot
from lab.vm.spec import Clock, MemoryFile, VmSpec
from tests.simulated import SimulatedSource
from tests.simulated_guest import SimulatedMachine, SimulatedPrints, SimulatedTransport

FEATURES = QemuFeatures(
    x_ignore_shared=True,
    mapped_ram=False,
    file_migration=True,
    text_migration=False,
    read_only_ram_file=True,
    blockdev_change_medium=True,
    panic_none=True,
    dump_formats=(),
)


class StoppingPrints(SimulatedPrints):
    """Prints whose stream can be stopped, unless the guest prints all the time."""

    def __init__(self, machine: SimulatedMachine, steps: SimulatedSteps) -> None:
        super().__init__(machine)
        self._steps = steps

    @property
    def resumable(self) -> StoppingPrints:  # type: ignore[override]
        return self

    def mark(self, token: str, *, timeout: float) -> int:
        self._steps.do("mark")
        return super().mark(token, timeout=timeout)

    def hang_up(self) -> None:
        assert not self.machine.paused
        self._steps.do("hang up")

    def snapshot_state(self, *, replay: bool = False) -> PrintsState | None:
        assert self.machine.paused
        if self._steps.prints_all_the_time:
            return None
        file = b"simulated prints\n" if replay else b""
        return PrintsState(numbers={"next_line": len(self.log)}, texts={"last": "print"}, replay=file)

    def resume(self, seconds: float, entropy: bytes, *, let_run: Callable[[], None], timeout: float) -> None:
        del seconds, entropy, timeout
        let_run()


class ParkingKind:
    """A transport that leaves a shell in the guest."""

    title = "simulated"
    port = None
    files_by = "winrm"

    def __init__(self, steps: SimulatedSteps) -> None:
        self._steps = steps

    def connect(self, access: GuestAccess) -> Transport:
        raise AssertionError(f"the maker opens no connection of its own to {access.image}")

    def park(self, transport: Transport, access: GuestAccess, *, timeout: float, progress: Callable[[str], None]) -> Parked:
        del access, timeout, progress
        self._steps.do("park")
        transport.close()
        return Parked(state={"shell": "S"}, release=lambda: self._steps.do("release"))

    def resume(self, access: GuestAccess, state: Mapping[str, str], *, timeout: float) -> Transport:
        raise AssertionError(f"the maker resumes by its own step, not {state} of {access.image} within {timeout:g} s")


class SimulatedSteps:
    """The steps with the VM and the guest of a template: recorded, and failing where a test says so.

    Attributes:
        errors: Step → raised by its next calls, one each.
        done: The steps so far.
        machines: The VMs so far.
        prints_all_the_time: The guest never stops printing.
        gets_idle: Whether the guest gets idle.
        debug: What a guest must be booted with.
        waited_s: Seconds of polling, which take no time.
        said: The maker's progress lines.
    """

    def __init__(self, source: SimulatedSource) -> None:
        self._source = source
        self.errors: dict[str, list[Exception]] = defaultdict(list)
        self.done: list[str] = []
        self.machines: list[SimulatedMachine] = []
        self.prints_all_the_time = False
        self.gets_idle = True
        self.waited_s = 0.0
        self.debug: Debug = "none"
        self.said: list[str] = []

    def maker(self) -> TemplateMaker:
        """Makes templates by these steps."""
        steps = TemplateSteps(
            check=self._check,
            boot=self._boot,
            resume_copy=self._resume_copy,
            resume=self._resume,
            deploy=self._deploy,
            transport=lambda _name: ParkingKind(self),
            until_idle=self._until_idle,
            take_snapshot=self._take_snapshot,
        )
        return TemplateMaker(FEATURES, progress=self.said.append, steps=steps, clock=lambda: self.waited_s, sleep=self._sleep)

    def do(self, step: str) -> None:
        """Record a step, or make it fail."""
        self.done.append(step)
        if self.errors[step]:
            raise self.errors[step].pop(0)

    def _sleep(self, seconds: float) -> None:
        self.waited_s += seconds

    def _machine(self, run_dir: Path) -> SimulatedMachine:
        run_dir.mkdir()
        (run_dir / "serial0.log").write_bytes(b"simulated console\n")
        (run_dir / "serial1.log").write_bytes(b"simulated prints\n")
        machine = SimulatedMachine(run_dir)
        machine.ports = {5985: 40001, 22: 40002}
        self.machines.append(machine)
        return machine

    def _guest(self, machine: SimulatedMachine, template: Template | None = None) -> LiveGuest:
        prints = StoppingPrints(machine, self)
        transport = SimulatedTransport(machine, prints, refuse_start=bool(self.errors["load"]))
        return self._source.live("template", machine, prints, transport, template=template)

    def _check(self, wish: TemplateWish, run_dir: Path, /, *, features: QemuFeatures) -> None:
        assert wish.is_base
        assert features is FEATURES
        assert not run_dir.exists()
        self.do("check")

    def _boot(
        self,
        _image_dir: Path,
        /,
        *,
        guest_id: str,
        run_dir: Path,
        accelerator: Literal["kvm", "tcg"],
        smp: int | None,
        clock: Clock,
        transport: TransportName,
        timeout: float | None,
        encoding: str | None,
        debug: Debug,
        memory: MemoryFile | None,
        hardware: Hardware,
        files_by: FilesBy,
        verifier: VerifierWish | None,
        progress: Callable[[str], None],
    ) -> LiveGuest:
        del accelerator, smp, clock, transport, timeout, encoding, hardware, progress
        assert (guest_id, files_by, debug) == ("template", "winrm", self.debug)
        assert memory is not None
        machine = self._machine(run_dir)
        try:
            self.do("boot")
        except Exception:
            machine.close()  # as the real one does
            raise
        guest = self._guest(machine)
        if verifier is not None:
            guest.verifier = InForce(profile=verifier.name, way="now", checks=("pool_tracking",), drivers=verifier.drivers)
        return guest

    def _resume_copy(
        self, _snapshot: Snapshot, _folder: Path, run_dir: Path, /, *, name: str
    ) -> tuple[Machine, RamFile | None]:
        assert name == "template"
        self.do("copy")
        return self._machine(run_dir), RamFile(1)

    def _resume(self, machine: Machine, template: Template, _wish: TemplateWish, /, *, guest_id: str) -> LiveGuest:
        assert guest_id == "template"
        self.do("resume")
        assert isinstance(machine, SimulatedMachine)
        return self._guest(machine, template)

    def _deploy(self, guest: LiveGuest, payload: Payload, /, *, clock: Callable[[], float]) -> Deployed:
        self.do("deploy")
        return deploy(guest, payload, clock=clock)

    def _until_idle(self, processor_s: Callable[[], float]) -> bool:
        assert processor_s() > 0
        self.do("idle")
        return self.gets_idle

    def _take_snapshot(self, machine: Machine, folder: Path, /, *, ram: RamFile | None, features: QemuFeatures) -> Snapshot:
        assert features is FEATURES
        assert ram is not None
        assert isinstance(machine, SimulatedMachine)
        assert machine.paused
        self.do("snapshot")
        machine.alive = False
        (folder / "state").write_bytes(b"device state")
        status = (folder / "state").stat()
        snapshot = Snapshot(
            method="shared", spec=VmSpec(), state_by="file", files={"state": (status.st_size, status.st_mtime_ns)}
        )
        write_snapshot(folder, snapshot)
        return snapshot


def guest_ram_in_memory() -> int:
    """How many memory files of guests this process holds."""
    return sum("lab-guest-ram" in _target(link) for link in Path("/proc/self/fd").iterdir())


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""  # the folder's own
