/*
 * lantern.c - a device that flashes: each read gets the next letter of the alphabet, each write is taken as a whole.
 */
#include <ntddk.h>

#define DEVICE_NAME L"\\Device\\Lantern"
#define LINK_NAME L"\\DosDevices\\Lantern"
#define FIRST 'a'
#define LETTERS 26

typedef struct _LANTERN_EXTENSION {
    volatile LONG flashes;  /* number of reads so far */
} LANTERN_EXTENSION;

DRIVER_INITIALIZE DriverEntry;

static NTSTATUS Complete(PIRP irp, NTSTATUS status, ULONG_PTR information)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static CHAR Letter(LONG number)
{
    return (CHAR)(FIRST + number % LETTERS);
}

static NTSTATUS NTAPI DispatchRead(PDEVICE_OBJECT device, PIRP irp)
{
    LANTERN_EXTENSION *extension = (LANTERN_EXTENSION *)device->DeviceExtension;

    if (IoGetCurrentIrpStackLocation(irp)->Parameters.Read.Length == 0)
        return Complete(irp, STATUS_SUCCESS, 0);
    *(CHAR *)irp->AssociatedIrp.SystemBuffer = Letter(InterlockedIncrement(&extension->flashes) - 1);
    return Complete(irp, STATUS_SUCCESS, 1);
}

static NTSTATUS NTAPI DispatchWrite(PDEVICE_OBJECT device, PIRP irp)
{
    ULONG length = IoGetCurrentIrpStackLocation(irp)->Parameters.Write.Length;

    UNREFERENCED_PARAMETER(device);
    return Complete(irp, STATUS_SUCCESS, length);
}

static NTSTATUS NTAPI DispatchOpenClose(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    return Complete(irp, STATUS_SUCCESS, 0);
}

static VOID NTAPI DriverUnload(PDRIVER_OBJECT driver)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(LINK_NAME);

    IoDeleteSymbolicLink(&link);
    IoDeleteDevice(driver->DeviceObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry_path)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(DEVICE_NAME);
    UNICODE_STRING link = RTL_CONSTANT_STRING(LINK_NAME);
    PDEVICE_OBJECT device;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(registry_path);
    status = IoCreateDevice(driver, sizeof(LANTERN_EXTENSION), &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    if (!NT_SUCCESS(status))
        return status;
    status = IoCreateSymbolicLink(&link, &name);
    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(device);
        return status;
    }
    driver->MajorFunction[IRP_MJ_CREATE] = DispatchOpenClose;
    driver->MajorFunction[IRP_MJ_CLEANUP] = DispatchOpenClose;
    driver->MajorFunction[IRP_MJ_CLOSE] = DispatchOpenClose;
    driver->MajorFunction[IRP_MJ_READ] = DispatchRead;
    driver->MajorFunction[IRP_MJ_WRITE] = DispatchWrite;
    driver->DriverUnload = DriverUnload;
    device->Flags |= DO_BUFFERED_IO;
    device->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}
