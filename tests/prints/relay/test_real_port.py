"""The print relay's source and a real debug console: a bare-metal program in a QEMU under TCG, with the driver's C files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.host.assets import data_root
from lab.prints.record import GapRecord, MarkRecord, NoteRecord, PrintRecord, Record
from lab.prints.relay.source import LOG_FILE, RelayPrintSource
from lab.vm.machine import VirtualMachine
from lab.vm.spec import Actions, KernelBoot, SerialPort, VmSpec
from tests.prints.relay.target.build import build_target

#: A few seconds each on an idle host.
DEADLINE_S = 120.0

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_target(tmp_path_factory.mktemp("relay-target"))


@dataclass(frozen=True, slots=True)
class Seen:
    """The result of one run of the program."""

    records: list[Record]
    report: str
    log: Path

    @property
    def prints(self) -> list[PrintRecord]:
        return [record for record in self.records if isinstance(record, PrintRecord)]

    @property
    def gaps(self) -> list[GapRecord]:
        return [record for record in self.records if isinstance(record, GapRecord)]

    @property
    def marks(self) -> list[str]:
        return [record.token for record in self.records if isinstance(record, MarkRecord)]

    def texts(self, cpu: int) -> list[str]:
        return [record.text.rstrip("\n.") for record in self.prints if record.cpu == cpu]


def boot(target: Path, folder: Path, options: str, *, smp: int = 1, reboot: bool = False) -> Seen:
    spec = VmSpec(
        name="relay-target",
        memory_mb=32,
        smp=smp,
        boot=KernelBoot(target, append=options),
        serials=(SerialPort("null"), SerialPort("file")),
        debug_port=SerialPort("file"),
        actions=Actions(reboot="reset" if reboot else "shutdown"),
        paused=True,  # its program may end before the monitor is connected
    )

    def no_mark(token: str, timeout: float) -> None:
        raise AssertionError("this program takes no marks")

    with VirtualMachine(spec, folder / "run") as machine:
        source = RelayPrintSource(folder / "run" / LOG_FILE, no_mark, encoding="ascii")
        source.start()
        machine.start()
        machine.cont()
        assert machine.wait_exit(DEADLINE_S) == 0
        source.close()
    report = (folder / "run" / "serial1.log").read_text(encoding="ascii")
    return Seen(source.records_since(0), report, folder / "run" / LOG_FILE)


def lines(count: int, cpu: int = 0) -> list[str]:
    return [f"cpu {cpu} line {number:08}" for number in range(count)]


def test_no_print_of_a_flood_is_lost(target: Path, tmp_path: Path) -> None:
    count = int(os.environ.get("LAB_RELAY_PRINTS", "100000"))
    seen = boot(target, tmp_path, f"count={count} length=40")
    assert seen.texts(0) == lines(count)
    assert seen.gaps == []
    assert seen.marks == ["begin", "end"]
    assert f"end records={count + 3}" in seen.report
    first = seen.prints[0]
    assert (first.component, first.level, first.cpu) == (77, 3, 0)
    times = [record.guest_time or 0.0 for record in seen.prints]
    assert times == sorted(times)
    # The log decodes to what was seen live.
    argv = [sys.executable, "-m", "lab", "relay", "decode", "--jsonl", "--encoding", "ascii", str(seen.log)]
    done = subprocess.run(argv, cwd=data_root(), capture_output=True, check=True, timeout=DEADLINE_S)
    decoded: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["text"] for record in decoded if record["kind"] == "print"] == [record.text for record in seen.prints]


def test_processors_that_really_run_at_the_same_time_never_mix_their_bytes(target: Path, tmp_path: Path) -> None:
    count = 5000
    seen = boot(target, tmp_path, f"count={count} processors=2", smp=2)
    assert seen.texts(0) == lines(count, 0)
    assert seen.texts(1) == lines(count, 1)
    assert [record for record in seen.records if not isinstance(record, PrintRecord | MarkRecord)] == seen.records[:1]
    cpus = [record.cpu or 0 for record in seen.prints]
    assert cpus != sorted(cpus), "they did take turns"


def test_without_the_lock_processors_mix_their_bytes(target: Path, tmp_path: Path) -> None:
    seen = boot(target, tmp_path, "count=5000 processors=2 lock=0", smp=2)
    # The test before could have seen this: torn records, each of which is noticed.
    assert len(seen.prints) < 10000
    assert seen.gaps
    assert set(seen.texts(0)) < set(lines(5000, 0))
    assert set(seen.texts(1)) < set(lines(5000, 1))


def test_prints_that_were_given_up_are_counted_where_they_are_missing(target: Path, tmp_path: Path) -> None:
    seen = boot(target, tmp_path, "count=300 lose=17 at=100")
    assert seen.texts(0) == lines(300)
    [gap] = seen.gaps
    assert gap.missing == 17
    place = seen.records.index(gap)
    before, after = seen.records[place - 1], seen.records[place + 1]
    assert isinstance(before, PrintRecord)
    assert isinstance(after, PrintRecord)
    assert (before.text, after.text) == ("cpu 0 line 00000099\n", "cpu 0 line 00000100\n")


def test_foreign_bytes_at_the_port_lose_no_print(target: Path, tmp_path: Path) -> None:
    seen = boot(target, tmp_path, "count=300 noise=1")
    assert seen.texts(0) == lines(300)
    assert seen.gaps == []
    notes = [record.raw for record in seen.records if isinstance(record, NoteRecord)]
    assert notes[1:3] == [b"somebody else's line\n", b"\xfeTAP\x01\x01\xfeTA"]


def test_a_reset_in_the_middle_of_a_record_is_a_gap_and_a_new_beginning(target: Path, tmp_path: Path) -> None:
    seen = boot(target, tmp_path, "count=20 again=1", reboot=True)
    assert seen.texts(0) == lines(20) * 2
    assert seen.marks == ["begin", "end"] * 2
    [gap] = seen.gaps
    assert gap.reason.startswith("the guest started again")
