"""What a lab file adds to a VM, in the real guest: memory, processors and a disk in forks, and a device with its driver."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from lab.report.model import TestEntry
from tests.e2e.running import LAB, ROOT, FinishedRun, launch

pytestmark = pytest.mark.e2e

SUITE = """
import pytest


def said(guest, line):
    return guest.transport.run(line, timeout=60).check().text.strip()


def memory_mb(guest):
    total = next(line for line in said(guest, r"type Z:\\proc\\meminfo").splitlines() if line.startswith("MemTotal"))
    return int(total.split()[1]) // 1024


@pytest.mark.lab_driver("sync")
def test_memory_and_disks(guest, driver):
    assert 900 < memory_mb(guest) < 1024
    assert said(guest, r"type Z:\\sys\\block\\vdb\\size") == "16384"
    assert said(guest, r"type Z:\\sys\\block\\vdb\\serial") == "LAB-DATA"
    assert (said(guest, r"type Z:\\sys\\block\\vdb\\ro"), said(guest, r"type Z:\\sys\\block\\vdc\\ro")) == ("0", "1")
    assert said(guest, "echo %NUMBER_OF_PROCESSORS%") == "2"


@pytest.mark.lab_cpus(2)
def test_two_processors_by_a_marker_are_those_of_the_machine(guest):
    assert said(guest, "echo %NUMBER_OF_PROCESSORS%") == "2"
    assert 900 < memory_mb(guest) < 1024
"""


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A VM that can be forked without losses."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "test_machine_suite.py").write_text(SUITE, encoding="utf-8")
    (folder / "data.img").write_bytes(b"data" * (1 << 21))
    (folder / "lab.yaml").write_text(
        f"""\
suites: [test_machine_suite.py]
drivers: [{ROOT / "driver/sync"}]
workers: 1
vm:
  memory: 1G
  cpus: 2
  devices:
    - driver: virtio-balloon
  disks:
    - {{file: data.img, serial: LAB-DATA}}
    - {{file: data.img, access: read-only}}
  arguments: [-object, 'rng-random,id=mine,filename=/dev/urandom']
""",
        encoding="utf-8",
    )
    run = launch(folder / "out", "--config", str(folder / "lab.yaml")).finish()
    assert (run.out / "run.json").exists(), run.output
    return run


@pytest.fixture(scope="module")
def edu(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The example: a driver, its client, its suite and its lab file, with a device that no fork would have."""
    run = launch(tmp_path_factory.mktemp("edu") / "out", "--config", "driver/edu/lab.yaml").finish()
    assert (run.out / "run.json").exists(), run.output
    return run


def entry(run: FinishedRun, name: str) -> TestEntry:
    [found] = [test for test in run.report.tests if test.nodeid.partition("::")[2] == name]
    return found


def test_memory_processors_and_disks_are_in_the_forks(forked: FinishedRun) -> None:
    assert forked.exit_code == 0, forked.output
    assert [test.verdict for test in forked.report.tests] == ["passed", "passed"]
    assert all(guest.template for guest in forked.report.guests), forked.report.fork_notes


def test_the_report_has_the_vm_settings(forked: FinishedRun) -> None:
    machine = forked.report.machine
    assert machine is not None
    assert (machine.memory_mb, machine.cpus, machine.cpu) == (1024, 2, "max,smap=off")
    assert machine.devices == ["virtio-balloon"]
    data = b"data" * (1 << 21)
    digest = hashlib.sha256(data).hexdigest()
    assert [(disk.access, disk.format, disk.sha256) for disk in machine.disks] == [
        ("overlay", "raw", digest),
        ("read-only", "raw", digest),
    ]
    assert Path(machine.disks[0].file).read_bytes() == data, "guests have overlays of their own"
    page = (forked.out / "report.html").read_text(encoding="utf-8")
    assert "device virtio-balloon" in page
    assert "machine  memory 1024 MB" in forked.output


def test_the_driver_drives_the_device_by_registers_and_interrupts(edu: FinishedRun) -> None:
    assert edu.exit_code == 0, edu.output
    assert {test.verdict for test in edu.report.tests if "memory" not in test.nodeid} == {"passed"}
    found = entry(edu, "test_the_device_says_by_an_interrupt_that_a_factorial_is_there")
    assert [part.text.strip() for part in found.prints if "interrupt 0x" in part.text] == ["edu: interrupt 0x00000001"]


def test_tests_of_what_the_guest_cannot_do_with_the_device_are_skipped_by_name(edu: FinishedRun) -> None:
    assert edu.report.skipped_for == {"dma": 1}


def test_guests_with_a_device_that_a_fork_would_lose_are_booted_with_a_reason(edu: FinishedRun) -> None:
    assert not any(guest.template for guest in edu.report.guests)
    assert edu.report.fork_notes == [
        "guests are booted: device edu would be lost in a fork: QEMU does not save its state in a snapshot"
    ]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("  devices:\n    - driver: edo\n", ":3: vm.devices.0.driver: this QEMU has no device model 'edo'"),
        ("  devices:\n    - {driver: edu, addr: '0x99'}\n", ":3: vm.devices.0: QEMU refuses this virtual machine: "),
        ("  arguments: [-snapshot]\n", ":2: vm.arguments.0: cannot be used: "),
    ],
)
def test_wrong_vm_settings_are_reported_before_anything_is_booted(tmp_path: Path, lines: str, words: str) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(f"vm:\n{lines}", encoding="utf-8")
    run = launch(tmp_path / "out", "--config", str(file), str(ROOT / "suites/sync")).finish()
    assert run.exit_code == 2, run.output
    assert f"{file}{words}" in run.output
    assert not (tmp_path / "out" / "run.json").exists()


def test_dry_run_shows_the_vm_settings(tmp_path: Path) -> None:
    (tmp_path / "data.img").write_bytes(bytes(512))
    file = tmp_path / "lab.yaml"
    file.write_text("vm: {memory: 2G, devices: [{driver: edu}], disks: [{file: data.img}]}\n", encoding="utf-8")
    done = subprocess.run([LAB, "up", "--dry-run", "--config", file], capture_output=True, text=True, check=True, timeout=120)
    assert "-m 2048M" in done.stdout
    assert "-device edu,id=added0" in done.stdout
    assert "file=overlay1.qcow2" in done.stdout
