"""A user's driver, in a repository of its own: ioctls, a registry value, a header beside the folder, two clients."""

from __future__ import annotations

from pathlib import Path

HEADER = r"""
#define TEAPOT_LINK L"\\DosDevices\\Teapot"
#define TEAPOT_FILE "\\\\.\\Teapot"
#define TEAPOT_POUR CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define TEAPOT_SIZE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_BUFFERED, FILE_ANY_ACCESS)

typedef struct _TEAPOT_ORDER { ULONG cups; ULONG ml; } TEAPOT_ORDER;
"""

DRIVER = r"""
#include <ntddk.h>
#include "../inc/teapot.h"

static ULONG size = 500;    /* ml; the value Size of the service's key */

static NTSTATUS Complete(PIRP irp, NTSTATUS status, ULONG_PTR length)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = length;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static NTSTATUS NTAPI OpenClose(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    return Complete(irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI Control(PDEVICE_OBJECT device, PIRP irp)
{
    PIO_STACK_LOCATION at = IoGetCurrentIrpStackLocation(irp);
    ULONG in = at->Parameters.DeviceIoControl.InputBufferLength, out = at->Parameters.DeviceIoControl.OutputBufferLength;
    TEAPOT_ORDER order;
    ULONG *answer = irp->AssociatedIrp.SystemBuffer;

    UNREFERENCED_PARAMETER(device);
    if (out < sizeof(ULONG))
        return Complete(irp, STATUS_BUFFER_TOO_SMALL, 0);
    switch (at->Parameters.DeviceIoControl.IoControlCode) {
    case TEAPOT_SIZE:
        *answer = size;
        return Complete(irp, STATUS_SUCCESS, sizeof(ULONG));
    case TEAPOT_POUR:
        if (in < sizeof(order))
            return Complete(irp, STATUS_INVALID_PARAMETER, 0);
        order = *(TEAPOT_ORDER *)irp->AssociatedIrp.SystemBuffer;
        if (order.cups * order.ml > size)
            return Complete(irp, STATUS_INSUFFICIENT_RESOURCES, 0);
        *answer = size - order.cups * order.ml;
        DbgPrint("teapot: %lu x %lu ml, %lu left\n", order.cups, order.ml, *answer);
        return Complete(irp, STATUS_SUCCESS, sizeof(ULONG));
    }
    return Complete(irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static VOID ReadSize(PUNICODE_STRING path)
{
    UCHAR room[sizeof(KEY_VALUE_PARTIAL_INFORMATION) + sizeof(ULONG)];
    KEY_VALUE_PARTIAL_INFORMATION *value = (KEY_VALUE_PARTIAL_INFORMATION *)room;
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    ULONG length;
    HANDLE key;

    RtlInitUnicodeString(&name, L"Size");
    InitializeObjectAttributes(&attributes, path, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    if (!NT_SUCCESS(ZwOpenKey(&key, KEY_READ, &attributes)))
        return;
    if (NT_SUCCESS(ZwQueryValueKey(key, &name, KeyValuePartialInformation, value, sizeof(room), &length))
        && value->Type == REG_DWORD)
        size = *(ULONG *)value->Data;
    ZwClose(key);
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    UNICODE_STRING link;

    RtlInitUnicodeString(&link, TEAPOT_LINK);
    IoDeleteSymbolicLink(&link);
    IoDeleteDevice(driver->DeviceObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNICODE_STRING name, link;
    PDEVICE_OBJECT device;
    NTSTATUS status;

    RtlInitUnicodeString(&name, L"\\Device\\Teapot");
    RtlInitUnicodeString(&link, TEAPOT_LINK);
    status = IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    if (!NT_SUCCESS(status))
        return status;
    status = IoCreateSymbolicLink(&link, &name);
    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(device);
        return status;
    }
    ReadSize(path);
    driver->MajorFunction[IRP_MJ_CREATE] = driver->MajorFunction[IRP_MJ_CLOSE] = OpenClose;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Control;
    driver->DriverUnload = Unload;
    device->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}
"""

#: A whole program around one call.
_CLIENT = r"""
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>
#include <winioctl.h>
#include "../inc/teapot.h"

int main(int argc, char **argv)
{
    HANDLE teapot = CreateFileA(TEAPOT_FILE, GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
    TEAPOT_ORDER order = { argc > 1 ? strtoul(argv[1], NULL, 10) : 0, argc > 2 ? strtoul(argv[2], NULL, 10) : 0 };
    ULONG answer = 0;
    DWORD length;

    if (teapot == INVALID_HANDLE_VALUE
        || !DeviceIoControl(teapot, @CODE@, &order, sizeof(order), &answer, sizeof(answer), &length, NULL)) {
        printf("error %lu\n", GetLastError());
        return 1;
    }
    printf("%lu\n", answer);
    return 0;
}
"""
CLIENTS = {"pour": _CLIENT.replace("@CODE@", "TEAPOT_POUR"), "size": _CLIENT.replace("@CODE@", "TEAPOT_SIZE")}

SUITE = '''"""What the teapot promises."""

import pytest

pytestmark = pytest.mark.lab_driver("teapot")


def test_what_is_poured_is_missing_and_printed(client, prints):
    done = client("pour", "2", "150").check()
    assert int(done.stdout) == 300
    prints.expect(["teapot: 2 x 150 ml, 300 left"])


def test_more_than_there_is_cannot_be_poured(client):
    done = client("pour", "7", "100")
    assert (done.exit_code, done.stdout.strip()) == (1, b"error 1450")


def test_the_size_is_that_of_the_registry(client):
    assert int(client("size").check().stdout) == 600


def test_an_ioctl_without_room_for_its_answer_is_refused(reader):
    done = reader.run("open h {link}; ioctl h 0x222008 in=0 out=0")
    assert done.errors == [0, 122]
'''
#: The planted fault in the driver: it forgets that a cup is more than a millilitre.
RIGHT, WRONG = "*answer = size - order.cups * order.ml;", "*answer = size - order.cups;"


def write_repository(folder: Path) -> None:
    """The driver's repository before the lab is used."""
    for name, text in {
        "inc/teapot.h": HEADER,
        "drv/teapot.c": DRIVER,
        "client/pour.c": CLIENTS["pour"],
        "client/size.c": CLIENTS["size"],
        ".gitignore": "out/\n",
        ".github/dependabot.yml": "version: 2\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / ".git").mkdir()


def extend(folder: Path) -> None:
    """What its owner adds to the files of `lab init`: clients, the registry value, a suite."""
    manifest = folder / "drv" / "driver.yaml"
    text = manifest.read_text(encoding="utf-8")
    assert "clients: [drvprobe] " in text
    clients = [f"{{name: {name}, sources: [../client/{name}.c]}}" for name in CLIENTS]
    text = text.replace("clients: [drvprobe] ", f"clients: [drvprobe, {', '.join(clients)}] ")
    manifest.write_text(f"{text}registry: {{Size: 600}}\n", encoding="utf-8")
    (folder / "suites" / "test_pouring.py").write_text(SUITE, encoding="utf-8")
