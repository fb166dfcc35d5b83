"""Snapshots and forks of a guest of a few bytes that counts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lab.errors import GuestExited, SnapshotFailed
from lab.host.process import run
from lab.host.qemu import QemuFeatures, probe_features
from lab.vm import statefile
from lab.vm.machine import VirtualMachine
from lab.vm.ramfile import RamFile
from lab.vm.snapshot import Snapshot, fork, load_snapshot, resume_copy, take_snapshot
from tests.vm.counter import COUNTER, Counter, spec_of

RomMaker = Callable[..., Path]


@pytest.fixture(scope="module")
def features() -> QemuFeatures:
    return probe_features("qemu-system-x86_64")


@pytest.fixture
def base_disk(tmp_path: Path) -> Path:
    disk = tmp_path / "image.raw"
    disk.write_bytes(bytes(1 << 20))
    return disk


@pytest.fixture(params=["shared", "stream"])
def template(
    request: pytest.FixtureRequest, tmp_path: Path, make_rom: RomMaker, base_disk: Path, features: QemuFeatures
) -> Path:
    """Snapshot of a counter that has counted to two."""
    folder = tmp_path / "template"
    folder.mkdir()
    spec = spec_of(make_rom(COUNTER), base_disk)
    ram = RamFile(spec.memory_mb) if request.param == "shared" else None
    machine = VirtualMachine(replace(spec, memory=ram.memory) if ram else spec, tmp_path / "first")
    machine.start()
    counter = Counter(machine)
    assert [counter.count(), counter.count()] == [1, 2]
    take_snapshot(machine, folder, ram=ram, features=features)
    assert not machine.alive
    if ram:
        ram.close()
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def start(folder: Path, run_dir: Path) -> VirtualMachine:
    return fork(load_snapshot(folder), folder, run_dir, name=run_dir.name)


def test_forks_continue_from_the_snapshot_independently(template: Path, tmp_path: Path) -> None:
    before = hashes(template)
    with start(template, tmp_path / "a") as one, start(template, tmp_path / "b") as other:
        for machine in (one, other):
            assert machine.status in ("paused", "prelaunch")
            machine.cont()
        first, second = Counter(one), Counter(other)
        assert [first.count() for _ in range(3)] == [3, 4, 5]
        assert second.count() == 3
        assert first.count() == 6
    assert hashes(template) == before
    load_snapshot(template)


def test_a_forks_console_begins_with_output_from_before_the_snapshot(template: Path, tmp_path: Path) -> None:
    (template / "serial0.log").write_bytes(b"boot\r\nready\r\n")
    (template / "console.before.log").write_bytes(b"firmware\n")
    with start(template, tmp_path / "a") as machine:
        assert machine.console_tail() == "firmware\nboot\nready"
        (machine.run_dir / "serial0.log").write_bytes(b"panic\n")
        assert machine.console_tail() == "firmware\nboot\nready\npanic"
        assert machine.console_tail(2) == "ready\npanic"
        assert machine.console_tail(1) == "panic"


def test_a_fork_writes_to_an_overlay_of_its_own(template: Path, tmp_path: Path) -> None:
    with start(template, tmp_path / "a") as machine:
        chain = run(["qemu-img", "info", "-U", "--backing-chain", machine.run_dir / "overlay.qcow2"], 60).stdout
        assert str(machine.run_dir / "base0.qcow2") in chain
        assert str(tmp_path / "image.raw") in chain
    assert (tmp_path / "a" / "base0.qcow2").resolve() == template / "base0.qcow2"


def test_a_template_may_move_before_it_is_used(template: Path, tmp_path: Path) -> None:
    moved = template.rename(tmp_path / "moved")
    with start(moved, tmp_path / "a") as machine:
        machine.cont()
        assert Counter(machine).count() == 3


def test_a_resumed_copy_becomes_another_snapshot(template: Path, tmp_path: Path, features: QemuFeatures) -> None:
    before = hashes(template)
    machine, ram = resume_copy(load_snapshot(template), template, tmp_path / "resumed", name="resumed")
    machine.cont()
    assert Counter(machine).count() == 3
    later = tmp_path / "later"
    later.mkdir()
    take_snapshot(machine, later, ram=ram, features=features)
    if ram:
        ram.close()
    assert hashes(template) == before
    for path in template.iterdir():
        path.unlink()  # the later one does not need it
    with start(later, tmp_path / "a") as machine:
        machine.cont()
        assert Counter(machine).count() == 4


def test_a_missing_monitor_leaves_no_descriptor(template: Path, tmp_path: Path, open_fds: Callable[[], Iterable[str]]) -> None:
    before = len(list(open_fds()))
    with start(template, tmp_path / "a") as machine:
        pid = machine.pid
    assert not psutil.pid_exists(pid)
    assert len(list(open_fds())) == before


@pytest.mark.parametrize("victim", ["state", "base0.qcow2", "snapshot.json"])
def test_a_touched_or_damaged_template_is_refused(template: Path, victim: str) -> None:
    (template / victim).chmod(0o600)
    with (template / victim).open("r+b") as file:
        file.write(b"?")
    with pytest.raises(SnapshotFailed):
        load_snapshot(template)


def test_a_missing_file_is_named(template: Path) -> None:
    (template / "state").unlink()
    with pytest.raises(SnapshotFailed, match="state"):
        load_snapshot(template)


def test_a_state_that_qemu_does_not_understand_ends_the_fork_with_qemus_words(template: Path, tmp_path: Path) -> None:
    snapshot = load_snapshot(template)
    (template / "state").chmod(0o600)
    (template / "state").write_bytes(b"this is no state at all" * 100)
    with pytest.raises((SnapshotFailed, GuestExited)) as caught:
        fork(snapshot, template, tmp_path / "a", name="a")
    assert "QEMU" in caught.value.message
    assert not [p for p in psutil.Process().children(recursive=True) if p.name().startswith("qemu-system")]


def test_a_stream_without_an_end_is_given_up_at_the_deadline(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = load_snapshot(template)
    (template / "state").chmod(0o600)
    (template / "state").unlink()
    os.mkfifo(template / "state")
    writer = os.open(template / "state", os.O_RDWR)  # a reader that opens it would wait for a writer
    monkeypatch.setattr(statefile, "_POLL_S", 0.01)
    with pytest.raises((SnapshotFailed, GuestExited), match=r"load the snapshot's state within 1 s|QEMU"):
        fork(snapshot, template, tmp_path / "a", name="a", timeout=1)
    os.close(writer)


def test_zeroes_are_left_out_of_a_stored_ram_file(tmp_path: Path) -> None:
    ram = RamFile(8)
    data = {0: b"first", 3 << 20: bytes(1 << 20), (5 << 20) + 17: b"middle", (8 << 20) - 4: b"last"}
    with ram.memory.path.open("r+b") as file:
        for at, piece in data.items():
            file.seek(at)
            file.write(piece)
    ram.store(tmp_path / "ram")
    expected = ram.memory.path.read_bytes()
    ram.close()
    assert (tmp_path / "ram").read_bytes() == expected
    assert (tmp_path / "ram").stat().st_blocks * 512 <= 4 * 64 << 10
    again = RamFile(8)
    again.load(tmp_path / "ram")
    assert again.memory.path.read_bytes() == expected
    again.close()
    again.close()


def test_a_partial_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ram = RamFile(1)
    with ram.memory.path.open("r+b") as file:
        file.write(os.urandom(200_000))
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:10_000], at))
    ram.store(tmp_path / "ram")
    assert (tmp_path / "ram").read_bytes() == ram.memory.path.read_bytes()
    ram.close()


def test_the_snapshot_record_is_read_back(template: Path) -> None:
    snapshot = load_snapshot(template)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.spec.memory is None
    assert snapshot.spec.incoming == ""
    assert snapshot.spec.disks[0].blank is None
