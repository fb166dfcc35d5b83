"""The finished labrelay.sys in ring 0, with a real debug console: loaded by a stand-in for a kernel, in a QEMU under TCG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.prints.record import GapRecord, MarkRecord, NoteRecord, PrintRecord, Record
from lab.prints.relay.decoder import decode_file
from lab.prints.relay.source import LOG_FILE
from lab.prints.relay.text import describe
from lab.toolchain.build import build_drivers
from lab.toolchain.compile import ARCHES, Arch
from lab.vm.machine import VirtualMachine
from lab.vm.spec import Actions, KernelBoot, SerialPort, VmSpec
from tests.prints.relay.target.build import build_kernel

#: A second each on an idle host.
DEADLINE_S = 120.0
NOT_SUPPORTED = "c00000bb"
NOT_CONNECTED = "c000009d"

pytestmark = pytest.mark.e2e


@dataclass(frozen=True, slots=True)
class Ran:
    """The traces of one load and unload of the driver."""

    report: list[str]
    log: Path | None

    @property
    def records(self) -> list[Record]:
        assert self.log is not None
        with self.log.open("rb") as stream:
            return list(decode_file(stream, "ascii"))

    def answers(self, what: str) -> list[str]:
        return [line.split(" ", 1)[1] for line in self.report if line.startswith(f"{what} ")]


Load = Callable[..., Ran]


@pytest.fixture(scope="module", params=ARCHES)
def kernel_and_driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Arch, Path, Path]:
    arch: Arch = request.param
    folder = tmp_path_factory.mktemp(f"relay-{arch}")
    [driver] = build_drivers(["relay"], arch, folder / "driver")
    return arch, build_kernel(folder / "kernel", arch), driver.path


@pytest.fixture
def load(kernel_and_driver: tuple[Arch, Path, Path], tmp_path: Path) -> Load:
    _, kernel, driver = kernel_and_driver

    def run(options: str = "", *, port: bool = True) -> Ran:
        spec = VmSpec(
            name="relay-driver",
            memory_mb=64,
            boot=KernelBoot(kernel, driver, options),
            serials=(SerialPort("null"), SerialPort("file")),
            debug_port=SerialPort("file") if port else None,
            actions=Actions(reboot="shutdown"),
            paused=True,  # its program ends within a tenth of a second, which may be before the monitor is connected
        )
        folder = tmp_path / "run"
        with VirtualMachine(spec, folder) as machine:
            machine.start()
            machine.cont()
            assert machine.wait_exit(DEADLINE_S) == 0
        report = (folder / "serial1.log").read_text(encoding="ascii").splitlines()
        # In every test: no function was called at an IRQL at which it is not allowed.
        assert not [line for line in report if line.startswith(("forbidden", "interrupts are", "walked too", "a request"))]
        assert [line for line in report if line.startswith("devices=")][1:] == ["devices=0 links=0 callback=0"]
        assert report[-1] == "interrupts 1"
        return Ran(report, folder / LOG_FILE if port else None)

    return run


def test_the_driver_loads_relays_and_unloads(load: Load, kernel_and_driver: tuple[Arch, Path, Path]) -> None:
    ran = load("prints=50")
    assert ran.answers("entry") == ["0"]
    assert "devices=1 links=1 callback=1" in ran.report
    hello, begin, *rest = ran.records
    assert describe(hello) == f"[note] the print relay begins: labrelay 1 {kernel_and_driver[0]}"
    assert isinstance(begin, MarkRecord)
    prints = [record for record in rest if isinstance(record, PrintRecord)]
    assert [(p.text, p.component, p.level, p.cpu) for p in prints[:50]] == [(f"print {n}\n", 77, n, 3) for n in range(50)]
    assert [p.guest_time for p in prints] == list(range(3, 3 + len(prints)))
    # Two prints in the middle of one: given up, and counted.
    assert [type(record) for record in rest[50:]] == [PrintRecord, GapRecord, PrintRecord, MarkRecord, NoteRecord]
    around, gap, empty, end, bye = rest[50:]
    assert isinstance(around, PrintRecord)
    assert isinstance(gap, GapRecord)
    assert isinstance(empty, PrintRecord)
    assert isinstance(end, MarkRecord)
    assert (around.raw, gap.missing, empty.raw, end.token) == (b"around", 2, b"", "end")
    assert "unloaded" in describe(bye)


def test_invalid_requests_are_refused(load: Load) -> None:
    ran = load()
    # A mark, a token with a blank, an empty one, one that is too long, another mark.
    assert ran.answers("mark") == ["0", "c000000d", "c000000d", "c000000d", "0"]
    assert (ran.answers("other"), ran.answers("read")) == (["c0000010"], [NOT_SUPPORTED])
    assert (ran.answers("open"), ran.answers("close")) == (["0"], ["0"])


def test_unloading_visits_each_processor_after_the_callback_is_removed(load: Load) -> None:
    # Processors 0, 2 and 4 are there; the stand-in's own check is that the callback was gone before the first visit.
    assert load().answers("walked") == ["10410"]


def test_a_kernel_of_nt_6_0_has_time_and_processor_too(load: Load) -> None:
    prints = [record for record in load("prints=3 newer=0").records if isinstance(record, PrintRecord)]
    assert [(p.text, p.cpu) for p in prints[:3]] == [(f"print {n}\n", 5) for n in range(3)]
    assert all(p.guest_time is not None and p.guest_time >= 3 for p in prints)


@pytest.mark.parametrize(
    ("options", "port", "words", "status"),
    [
        ("callback=0", True, "this kernel has no DbgSetDebugPrintCallback", NOT_SUPPORTED),
        ("ring=3", True, "does not run in ring 0", NOT_SUPPORTED),
        ("", False, "nothing answers at port 0xe9", NOT_CONNECTED),
    ],
)
def test_a_driver_that_cannot_relay_reports_it_once_and_stays_loadable(
    load: Load, options: str, port: bool, words: str, status: str
) -> None:
    ran = load(options, port=port)
    [said] = ran.answers("labrelay:")
    assert words in said
    assert said.endswith("prints are not relayed")
    # At error level, which passes the default filter.
    assert ran.answers("says") == ["component=77 level=0"]
    assert ran.answers("entry") == ["0"]
    assert ran.answers("mark") == [status, "c000000d", "c000000d", "c000000d", status]
    assert ran.log is None or ran.log.read_bytes() == b""
