"""Guests that really end themselves, in a real QEMU: boot sectors that panic, reset or spin on command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.crash.hang import HangLimits
from lab.crash.signs import crash_sign
from lab.host.unix_socket import connect_unix
from lab.live.crashwatch import Crash, CrashWatch
from lab.live.evidence import SavedEvidence, event_count, events_of, save_crash, save_hang
from lab.live.guest import LiveGuest
from lab.toolchain.select import DriverPackage
from lab.vm.machine import VirtualMachine
from lab.vm.spec import Actions, Disk, SerialPort, VmSpec
from tests.simulated import manifest
from tests.simulated_guest import SimulatedPrints, SimulatedTransport

pytestmark = pytest.mark.e2e

#: Writes "S" to COM1 and waits for a byte there; then does what follows, and halts with interrupts off.
_WAIT = bytes.fromhex("fa baf803 b053 ee bafd03 ec a801 74fb")
_HALT = bytes.fromhex("fa f4 ebfd")
#: Byte 1 to the panic device's port: "the kernel has panicked".
PANIC = _WAIT + bytes.fromhex("ba0505 b001 ee") + _HALT
#: Reset by the keyboard controller.
RESET = _WAIT + bytes.fromhex("b0fe e664") + _HALT
MEMORY_MB = 16


class Sector:
    """A VM that runs a boot sector, as a guest."""

    def __init__(self, code: bytes, folder: Path) -> None:
        disk = folder / "sector.raw"
        disk.write_bytes(code.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
        self.machine = VirtualMachine(
            VmSpec(
                name="sector",
                memory_mb=MEMORY_MB,
                display=True,
                vmcoreinfo=True,
                panic_device=True,
                disks=(Disk(disk, interface="ide", overlay=False, format="raw", bootindex=1),),
                serials=(SerialPort("socket"),),
                actions=Actions(reboot="shutdown", shutdown="pause"),
            ),
            folder / "run",
        )
        self.machine.start()
        prints = SimulatedPrints(self.machine)  # type: ignore[arg-type]
        self.guest = LiveGuest(
            guest_id="sector",
            manifest=manifest(capabilities=("bugcheck",)),
            machine=self.machine,
            transport=SimulatedTransport(self.machine, prints),  # type: ignore[arg-type]
            prints=prints,
            smp=1,
            boot_s=0.0,
            run_dir=self.machine.run_dir,
            open_transport=lambda name: SimulatedTransport(self.machine, prints, name=name),  # type: ignore[arg-type]
        )
        self._wait("the boot sector did not start", lambda: self.machine.console_tail() == "S")

    def tell(self) -> None:
        """Start its action."""
        with connect_unix(self.machine.run_dir / "serial0.sock") as port:
            port.sendall(b"g")

    @staticmethod
    def _wait(what: str, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, what
            time.sleep(0.01)


@pytest.fixture
def sectors(tmp_path: Path) -> Iterator[list[Sector]]:
    """VMs that end with the test."""
    started: list[Sector] = []
    yield started
    for sector in started:
        sector.machine.close()


def package(folder: Path) -> DriverPackage:
    image, symbols = folder / "x.sys", folder / "x.dbg"
    image.write_bytes(b"MZ")
    symbols.write_bytes(b"MZ symbols")
    return DriverPackage(
        name="x",
        service="x",
        image=image,
        sha256="5e1f",
        arch="x64",
        load_order_group="",
        links=(),
        clients={},
        encoding="utf-8",
        symbols=(symbols,),
    )


@pytest.mark.parametrize(
    ("code", "event", "words"),
    [(PANIC, "GUEST_PANICKED", "by its panic device"), (RESET, "SHUTDOWN", "the guest reset itself")],
    ids=["panic", "reset"],
)
def test_the_evidence_is_saved_at_once_and_the_vm_is_ended(
    sectors: list[Sector], tmp_path: Path, code: bytes, event: str, words: str
) -> None:
    sector = Sector(code, tmp_path)
    sectors.append(sector)
    saved: list[SavedEvidence] = []
    crashes: list[Crash] = []
    done = threading.Event()

    def save(crash: Crash) -> None:
        crashes.append(crash)
        saved.append(save_crash(sector.guest, tmp_path / "evidence", [package(tmp_path)], dump=True, bugcheck=crash.bugcheck))
        done.set()

    watch = CrashWatch(sector.guest, save, poll=0.02)
    watch.start()
    assert watch.check() is None
    sector.tell()
    assert done.wait(60)
    watch.stop()
    assert not sector.machine.alive
    [crash] = crashes
    assert crash.sign is not None
    assert crash.sign.event == event
    assert words in crash.sign.text
    steps = {step.name: step for step in saved[0].steps}
    assert {name: step.ok for name, step in steps.items()} == dict.fromkeys(steps, True), saved[0].steps
    # The guest provided no header, so QEMU writes the format that needs none.
    assert "win-dmp: " in steps["dump"].detail
    files = {file.kind: file.path for file in saved[0].files}
    assert files["screenshot"].read_bytes()[:4] == b"\x89PNG"
    with files["dump"].open("rb") as stream:
        assert stream.read(4) == b"\x7fELF"
    assert files["dump"].stat().st_size > MEMORY_MB << 20
    assert event in files["events"].read_text(encoding="utf-8")
    assert files["driver"].read_bytes() == b"MZ"
    assert files["symbols"].read_bytes() == b"MZ symbols"
    assert (tmp_path / "evidence" / "guest" / "qemu.cmd").is_file()


def test_the_vm_of_a_guest_that_reset_itself_keeps_its_memory(sectors: list[Sector], tmp_path: Path) -> None:
    sector = Sector(RESET, tmp_path)
    sectors.append(sector)
    before = event_count(sector.machine)
    sector.tell()
    sector.machine.qmp.wait_event("SHUTDOWN", timeout=60)
    assert sector.machine.guest_ended
    assert sector.machine.alive
    assert crash_sign(events_of(sector.machine, after=before)) is not None
    saved = save_crash(sector.guest, tmp_path / "evidence", [], dump=True)
    assert any(file.kind == "dump" for file in saved.files)


def test_a_hang_leaves_everything_and_is_no_crash(sectors: list[Sector], tmp_path: Path) -> None:
    sector = Sector(_WAIT + bytes.fromhex("ebfe"), tmp_path)
    sectors.append(sector)
    before = event_count(sector.machine)
    sector.tell()
    saved = save_hang(
        sector.guest, tmp_path / "evidence", [package(tmp_path)], reason="it spins", dump=True, limits=HangLimits(nmi=0.5)
    )
    steps = {step.name: step for step in saved.steps}
    assert saved.hang == "unknown"
    assert [name for name, step in steps.items() if not step.ok] == ["break-in"]
    assert "no kernel debugger" in steps["break-in"].detail
    assert {file.kind for file in saved.files} >= {"screenshot", "dump", "console", "events", "driver", "symbols", "guest-log"}
    assert crash_sign(events_of(sector.machine, after=before)) is None
    assert not sector.machine.alive
