"""The rows of exit codes and verdicts that a real guest shows: a user's driver, and the failures of its tests.

Rows that need no guest are in tests/cli/test_exit_codes.py.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.e2e.frameworked import NAME, write_frameworked
from tests.e2e.running import FinishedRun, StartedRun, is_qemu, poll

pytestmark = pytest.mark.e2e

#: A device that answers each read with one word.
KETTLE = """\
#include <ntddk.h>

NTKERNELAPI PVOID NTAPI MmGetVirtualForPhysical(PHYSICAL_ADDRESS address);

static NTSTATUS NTAPI Answer(PDEVICE_OBJECT device, PIRP irp)
{
    PIO_STACK_LOCATION at = IoGetCurrentIrpStackLocation(irp);
    ULONG length = 0;
    UNREFERENCED_PARAMETER(device);
    if (at->MajorFunction == IRP_MJ_READ) {
        DbgPrint("kettle asked for %u\\n", at->Parameters.Read.Length);
        ON_READ
        length = min(at->Parameters.Read.Length, 3);
        RtlCopyMemory(irp->AssociatedIrp.SystemBuffer, "hot", length);
    }
    irp->IoStatus.Status = STATUS_SUCCESS;
    irp->IoStatus.Information = length;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\\\DosDevices\\\\Kettle");
    IoDeleteSymbolicLink(&link);
    IoDeleteDevice(driver->DeviceObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\\\Device\\\\Kettle");
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\\\DosDevices\\\\Kettle");
    PDEVICE_OBJECT device;
    NTSTATUS status;
    UNREFERENCED_PARAMETER(path);
    ON_LOAD
    status = IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    if (!NT_SUCCESS(status))
        return status;
    status = IoCreateSymbolicLink(&link, &name);
    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(device);
        return status;
    }
    device->Flags |= DO_BUFFERED_IO;
    driver->MajorFunction[IRP_MJ_CREATE] = Answer;
    driver->MajorFunction[IRP_MJ_CLOSE] = Answer;
    driver->MajorFunction[IRP_MJ_READ] = Answer;
    driver->DriverUnload = Unload;
    device->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}
"""
MANIFEST = (
    "name: kettle\nimage: kettle.sys\nservice: Kettle\nsources: [kettle.c]\nlinks: ['\\\\.\\Kettle']\nclients: [drvprobe]\n"
)

HEAD = "import pytest\n\npytestmark = pytest.mark.lab_driver('kettle')\n\n"
PASSES = """\
def test_passes(reader, prints):
    assert reader.read(length=20)[0].text == "hot"
    prints.expect(["kettle asked for 20"])

"""
PRODUCT = "def test_product(reader):\n    assert reader.read(length=20)[0].text == 'cold'\n\n"
MISTAKE = "def test_mistake(reader):\n    reader.read(lenght=20)\n\n"
SCRIPT = "def test_script(reader):\n    reader.run('open h {link}; raed h 20')\n\n"
#: All of them: a fork that is ready for the next test ends, too.
KILLS = """\
import psutil

def test_kills(reader):
    for process in psutil.Process().children(recursive=True):
        if process.name().startswith("qemu-system"):
            process.kill()
    reader.read(length=20)

"""
READS = "def test_reads(reader):\n    reader.read(length=20)\n\n"


@dataclass(frozen=True)
class Row:
    """One row: what the driver does, the suite, and how the run ends."""

    code: int
    suite: str
    verdicts: dict[str, int]
    said: str
    on_read: str = ""
    on_load: str = ""


ROWS = {
    "passed": Row(0, PASSES, {"passed": 1}, "The only test passed"),
    "a driver's wrong answer": Row(1, PASSES + PRODUCT, {"passed": 1, "product": 1}, "'hot' == 'cold'"),
    "a driver that refuses to load": Row(
        1, READS, {"product": 1}, "product", on_load="if (path) return STATUS_DEVICE_CONFIGURATION_ERROR;"
    ),
    "a driver that writes to address 0": Row(3, READS, {"crash": 1}, "0xC0000005", on_read="*(volatile int *)0 = 1;"),
    "a mistake in a test, in its script, and a test that passes": Row(
        4, PASSES + MISTAKE + SCRIPT, {"passed": 1, "test": 2}, "raed"
    ),
    "a function that the guest's kernel only declares": Row(
        5,
        READS,
        {"skipped": 1},
        "MmGetVirtualForPhysical",
        on_read="{ PHYSICAL_ADDRESS at = {{0}}; if (!MmGetVirtualForPhysical(at)) length = 1; }",
    ),
    "QEMU killed behind the lab's back, and a test that passes": Row(
        10, KILLS + PASSES, {"infra": 1, "passed": 1}, "QEMU was killed by signal 9"
    ),
}


def kettle(folder: Path, row: Row) -> tuple[str, str]:
    """Write the driver and the suite of a row; returns both as arguments of `lab run`."""
    driver = folder / "kettle"
    driver.mkdir()
    source = KETTLE.replace("ON_READ", row.on_read).replace("ON_LOAD", row.on_load)
    (driver / "kettle.c").write_text(source, encoding="utf-8")
    (driver / "driver.yaml").write_text(MANIFEST, encoding="utf-8")
    suite = folder / "test_kettle.py"
    suite.write_text(HEAD + row.suite, encoding="utf-8")
    return f"--driver={driver}", str(suite)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_exit_code_and_verdicts(row: Row, tmp_path: Path, finish_run: Callable[..., FinishedRun]) -> None:
    run = finish_run(*kettle(tmp_path, row), "--workers", "1")
    assert run.exit_code == row.code, run.output
    assert run.report.totals == row.verdicts, run.output
    assert run.report.exit_code == row.code
    assert row.said in run.output
    if row.code not in (3, 10):
        assert not [guest.ended for guest in run.report.guests if guest.ended.startswith(("crash", "exited"))]


def test_a_module_that_the_guest_lacks_is_nothing_checked(tmp_path: Path, finish_run: Callable[..., FinishedRun]) -> None:
    driver = write_frameworked(tmp_path)
    suite = tmp_path / "test_frameworked.py"
    suite.write_text(f"import pytest\n\n@pytest.mark.lab_driver('{NAME}')\ndef test_loads(driver):\n    assert driver\n")
    run = finish_run(f"--driver={driver}", str(suite), "--workers", "1")
    assert run.exit_code == 5, run.output
    assert run.report.totals == {"skipped": 1}
    assert "this guest has no module wdfldr.sys" in run.output
    assert not run.report.guests, "it is known before a guest is started"


def test_an_own_driver_that_no_test_uses_is_nothing_checked(tmp_path: Path, finish_run: Callable[..., FinishedRun]) -> None:
    driver, _ = kettle(tmp_path, ROWS["passed"])
    run = finish_run(driver, "--workers", "1", "suites/sync", "-k", "first_five")
    assert run.exit_code == 5, run.output
    assert run.report.unused_drivers == ["kettle"]
    assert run.report.totals == {"passed": 1}
    assert "nothing was checked of the driver kettle" in run.output


def test_an_interrupt_is_130_and_leaves_no_guest(tmp_path: Path, start_run: Callable[..., StartedRun]) -> None:
    started = str(tmp_path / "started")
    waits = f"import pathlib, threading\ndef test_waits(reader):\n    pathlib.Path({started!r}).touch()\n"
    waits += "    threading.Event().wait(600)\n\n"
    row = Row(130, PRODUCT + waits + PASSES, {}, "")
    run = start_run(*kettle(tmp_path, row), "--workers", "1")
    poll("the test that waits", (tmp_path / "started").exists, timeout=400)
    guests = [process for process in run.descendants() if is_qemu(process)]
    run.process.send_signal(signal.SIGINT)
    done = run.finish()
    assert done.exit_code == 130, done.output
    assert done.report.totals == {"product": 1}
    assert [nodeid.rpartition("::")[2] for nodeid in done.report.not_run] == ["test_waits", "test_passes"]
    assert "lab failure" not in done.output
    _, alive = psutil.wait_procs(guests, timeout=30)
    assert not alive
