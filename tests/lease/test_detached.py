"""The register of detached guests."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.lease.detached import DetachedGuest, DetachedGuests, end_detached, let_run, process_start
from lab.vm.machine import VirtualMachine
from lab.vm.spec import VmSpec


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs, as a double of QEMU."""
    running = subprocess.Popen(["sleep", "600"])
    yield running
    running.kill()
    running.wait()


@pytest.fixture
def guests(tmp_path: Path) -> DetachedGuests:
    return DetachedGuests(tmp_path / "guests")


def guest(name: str, pid: int, tmp_path: Path) -> DetachedGuest:
    return DetachedGuest(
        name=name,
        guest="free guest",
        image_dir=tmp_path / "image",
        run_dir=tmp_path / name,
        pid=pid,
        pid_started=process_start(pid) or 0.0,
        ports={5985: 40001, 22: 40002},
        transport="winrm",
        created=1.0,
    )


def test_what_was_added_is_found(guests: DetachedGuests, tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    one = guest("one", process.pid, tmp_path)
    guests.add(one)
    assert guests.all() == [one]
    assert guests.find("one") == one
    assert guests.find(None) == one


def test_the_files_are_the_users_own(guests: DetachedGuests, tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    guests.add(guest("one", process.pid, tmp_path))
    folder = tmp_path / "guests"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()] == [("one.json", 0o600)]


def test_a_guest_whose_process_is_gone_is_forgotten(
    guests: DetachedGuests, tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    guests.add(guest("one", process.pid, tmp_path))
    process.kill()
    process.wait()
    assert guests.all() == []
    assert list((tmp_path / "guests").iterdir()) == []


def test_another_process_of_the_same_id_is_no_guest(guests: DetachedGuests, tmp_path: Path) -> None:
    old = guest("one", os.getpid(), tmp_path)
    guests.add(replace(old, pid_started=old.pid_started - 60))
    assert guests.all() == []


def test_a_damaged_file_is_forgotten(guests: DetachedGuests, tmp_path: Path) -> None:
    (tmp_path / "guests" / "bad.json").write_text("{", encoding="utf-8")
    assert guests.all() == []


def test_no_name_is_needed_only_for_a_single_guest(
    guests: DetachedGuests, tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(ConfigError, match="no guest is running"):
        guests.find(None)
    guests.add(guest("one", process.pid, tmp_path))
    guests.add(guest("two", process.pid, tmp_path))
    with pytest.raises(ConfigError, match="several guests are running: one, two"):
        guests.find(None)
    with pytest.raises(ConfigError, match="no guest 'three' is running; running are one, two"):
        guests.find("three")


def test_names_are_free_or_refused(guests: DetachedGuests, tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    assert guests.free_name(None, "wine") == "wine"
    guests.add(guest("wine", process.pid, tmp_path))
    assert guests.free_name(None, "wine") == "wine-2"
    guests.add(guest("wine-2", process.pid, tmp_path))
    assert guests.free_name(None, "wine") == "wine-3"
    assert guests.free_name("mine", "wine") == "mine"
    with pytest.raises(ConfigError, match="is running already"):
        guests.free_name("wine", "wine")
    for bad in ("", "../x", "a/b", ".hidden", "-x", "a" * 80):
        with pytest.raises(ConfigError, match="is not a guest name"):
            guests.free_name(bad, "wine")


def test_of_two_that_take_one_name_the_second_loses(
    guests: DetachedGuests, tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    guests.add(guest("one", process.pid, tmp_path))
    with pytest.raises(ConfigError, match="is running already"):
        guests.add(guest("one", os.getpid(), tmp_path))
    assert guests.find("one").pid == process.pid
    guests.remove("one")
    guests.remove("one")
    assert guests.all() == []


def test_ending_a_guest_without_a_vm_removes_its_folder(tmp_path: Path) -> None:
    gone = guest("one", 2**22 + 1, tmp_path)
    gone.run_dir.mkdir()
    (gone.run_dir / "serial0.log").touch()
    end_detached(gone)
    assert not gone.run_dir.exists()


@pytest.mark.parametrize(("clock", "status"), [(0, "running"), (None, "paused")])
def test_a_stopped_guest_with_a_virtual_clock_runs_for_who_uses_it(tmp_path: Path, clock: int | None, status: str) -> None:
    # As a run leaves it that is killed between two commands. With a real clock, it was stopped on purpose.
    with VirtualMachine(VmSpec(name="one", memory_mb=32, virtual_clock=clock), tmp_path / "one") as machine:
        machine.start(detached=True)
        machine.pause()
        one = guest("one", machine.pid, tmp_path)
    try:
        let_run(one)
        with VirtualMachine.attach(one.run_dir) as machine:
            assert machine.status == status
            let_run(one)  # its monitor is taken: it is left alone
    finally:
        end_detached(one)


def test_a_guest_without_a_vm_is_not_let_run(tmp_path: Path) -> None:
    let_run(guest("one", os.getpid(), tmp_path))
