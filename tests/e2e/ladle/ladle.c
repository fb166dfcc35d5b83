/*
 * ladle.c - adds up the bytes of a request. The end-to-end test of coverage has counted by hand how often each line runs.
 */
#include <ntddk.h>

#include "ladle.h"

#define DEVICE_NAME L"\\Device\\Ladle"
#define LINK_NAME L"\\DosDevices\\Ladle"

DRIVER_INITIALIZE DriverEntry;

static NTSTATUS NTAPI Open(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    return Finish(irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI Pour(PDEVICE_OBJECT device, PIRP irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(irp);
    const UCHAR *bytes = (const UCHAR *)irp->AssociatedIrp.SystemBuffer;
    ULONG all = 0, i;

    UNREFERENCED_PARAMETER(device);
    if (stack->Parameters.DeviceIoControl.IoControlCode == IOCTL_LADLE_SPILL)
        *(volatile ULONG *)NULL = all;
    if (stack->Parameters.DeviceIoControl.IoControlCode != IOCTL_LADLE_POUR)
        return Finish(irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    for (i = 0; i < stack->Parameters.DeviceIoControl.InputBufferLength; i++)
        all += bytes[i];
    if (all > LADLE_SIZE) {
        DbgPrint("ladle: too much\n");
        return Finish(irp, STATUS_BUFFER_OVERFLOW, 0);
    }
    DbgPrint("ladle: %u\n", all);
    return Finish(irp, STATUS_SUCCESS, 0);
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    UNICODE_STRING link;

    RtlInitUnicodeString(&link, LINK_NAME);
    IoDeleteSymbolicLink(&link);
    IoDeleteDevice(driver->DeviceObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry_path)
{
    UNICODE_STRING name, link;
    PDEVICE_OBJECT device;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(registry_path);
    RtlInitUnicodeString(&name, DEVICE_NAME);
    status = IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    if (!NT_SUCCESS(status))
        return status;
    driver->MajorFunction[IRP_MJ_CREATE] = Open;
    driver->MajorFunction[IRP_MJ_CLOSE] = Open;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Pour;
    driver->DriverUnload = Unload;
    RtlInitUnicodeString(&link, LINK_NAME);
    return IoCreateSymbolicLink(&link, &name);
}
