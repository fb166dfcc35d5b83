"""The ladder on a real QEMU, whose guest is a boot sector that spins."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.crash.hang import HangLimits, collect_hang_evidence
from lab.crash.hostdump import dump_guest
from lab.errors import ConfigError
from lab.vm.machine import VirtualMachine
from lab.vm.spec import Disk, VmSpec

pytestmark = pytest.mark.e2e

#: Writes a letter to COM1, so that the test knows when it runs, then jumps to itself with interrupts off.
SPIN = bytes.fromhex("fa baf803 b053 ee ebfe")
MEMORY_MB = 32


@pytest.fixture
def spinning(tmp_path: Path) -> Iterator[VirtualMachine]:
    """A VM whose guest spins already."""
    disk = tmp_path / "spin.raw"
    disk.write_bytes(SPIN.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    spec = VmSpec(
        name="spin",
        memory_mb=MEMORY_MB,
        display=True,
        disks=(Disk(disk, interface="ide", overlay=False, format="raw", bootindex=1),),
    )
    with VirtualMachine(spec, tmp_path / "run") as machine:
        machine.start()
        deadline = time.monotonic() + 60
        while machine.console_tail() != "S":
            assert time.monotonic() < deadline, "the boot sector was not started"
            time.sleep(0.01)
        yield machine


def test_evidence_of_a_spinning_guest(spinning: VirtualMachine, tmp_path: Path) -> None:
    pid = spinning.pid
    evidence = collect_hang_evidence(spinning, tmp_path / "hang", reason="it spins", limits=HangLimits(nmi=0.5))
    picture, dump = evidence.files
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert dump.suffix == ".elf"
    with dump.open("rb") as stream:
        assert stream.read(4) == b"\x7fELF"
    assert dump.stat().st_size > MEMORY_MB << 20
    # Why there is no Windows dump: the guest has no driver that provides the header.
    assert "win-dmp: " in evidence.step("dump").detail
    assert not (tmp_path / "hang" / "hang.dmp").exists()
    assert evidence.step("nmi").ok
    assert "no reaction" in evidence.step("nmi").detail
    assert evidence.step("kill").ok
    assert not spinning.alive
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_guest_runs_on_after_a_dump(spinning: VirtualMachine, tmp_path: Path) -> None:
    dump = dump_guest(spinning, tmp_path / "first", timeout=60)
    assert (dump.format, dump.path.stat().st_size) == ("elf", dump.size)
    assert spinning.status == "running"
    assert dump_guest(spinning, tmp_path / "second", formats=["elf"], timeout=60).path == tmp_path / "second.elf"


def test_a_file_that_cannot_be_made_is_refused_before_the_guest_is_stopped(spinning: VirtualMachine, tmp_path: Path) -> None:
    before = spinning.qmp.event_count
    with pytest.raises(ConfigError, match="no dump can be written here: File name too long"):
        dump_guest(spinning, tmp_path / ("x" * 300), timeout=60)
    assert spinning.qmp.event_count == before


def test_many_dumps_in_a_row_are_all_whole(spinning: VirtualMachine, tmp_path: Path) -> None:
    # QEMU reports a dump before it has cleaned up after it; the failed win-dmp of each pair comes just before its elf.
    sizes = {dump_guest(spinning, tmp_path / f"{number}", timeout=60).size for number in range(20)}
    assert len(sizes) == 1
    spinning.pause()
    assert dump_guest(spinning, tmp_path / "paused", timeout=60).size in sizes
    assert spinning.status == "paused"


def test_a_dead_qemu_is_recorded_and_raises_nothing(spinning: VirtualMachine, tmp_path: Path) -> None:
    spinning.kill()
    evidence = collect_hang_evidence(spinning, tmp_path / "hang", reason="it died")
    assert [step.ok for step in evidence.steps] == [False, False, False, False, True]
    assert evidence.files == ()
