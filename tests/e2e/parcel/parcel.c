/*
 * parcel.c - a device that shows what a device can be asked for: reads, writes, flushes, device controls of all four
 * methods, and requests that wait until a later one completes them.
 */
#include <ntddk.h>

#include "parcel.h"

#define DEVICE_NAME L"\\Device\\Parcel"
#define LINK_NAME L"\\DosDevices\\Parcel"
#define SHELF_SIZE 64

typedef struct _PARCEL_EXTENSION {
    KSPIN_LOCK lock;      /* protects all of it */
    LIST_ENTRY waiting;   /* IRPs by Tail.Overlay.ListEntry, oldest first */
    BOOLEAN hold;
    ULONG held;           /* bytes on the shelf */
    UCHAR shelf[SHELF_SIZE];
} PARCEL_EXTENSION;

DRIVER_INITIALIZE DriverEntry;

static NTSTATUS Complete(PIRP irp, NTSTATUS status, ULONG_PTR information)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static PARCEL_EXTENSION *Of(PDEVICE_OBJECT device)
{
    return (PARCEL_EXTENSION *)device->DeviceExtension;
}

/* Runs with the system's cancel lock held; this IRP is ours to complete. */
static VOID NTAPI Cancel(PDEVICE_OBJECT device, PIRP irp)
{
    KIRQL irql;

    IoReleaseCancelSpinLock(irp->CancelIrql);
    KeAcquireSpinLock(&Of(device)->lock, &irql);
    RemoveEntryList(&irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&Of(device)->lock, irql);
    DbgPrint("parcel: a request was cancelled\n");
    Complete(irp, STATUS_CANCELLED, 0);
}

static NTSTATUS Wait(PDEVICE_OBJECT device, PIRP irp)
{
    BOOLEAN refused;
    KIRQL irql;

    IoMarkIrpPending(irp);
    KeAcquireSpinLock(&Of(device)->lock, &irql);
    IoSetCancelRoutine(irp, Cancel);
    refused = irp->Cancel && IoSetCancelRoutine(irp, NULL) != NULL;
    if (!refused)
        InsertTailList(&Of(device)->waiting, &irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&Of(device)->lock, irql);
    if (refused)
        Complete(irp, STATUS_CANCELLED, 0);
    return STATUS_PENDING;
}

static PIRP TakeOldest(PARCEL_EXTENSION *extension)
{
    PIRP found = NULL;
    KIRQL irql;

    KeAcquireSpinLock(&extension->lock, &irql);
    while (found == NULL && !IsListEmpty(&extension->waiting)) {
        PLIST_ENTRY entry = RemoveHeadList(&extension->waiting);

        found = CONTAINING_RECORD(entry, IRP, Tail.Overlay.ListEntry);
        if (IoSetCancelRoutine(found, NULL) == NULL) {
            InitializeListHead(entry);  /* Cancel is on its way and will unlink it */
            found = NULL;
        }
    }
    KeReleaseSpinLock(&extension->lock, irql);
    return found;
}

static NTSTATUS Notify(PARCEL_EXTENSION *extension, PIRP irp, PCUCHAR in, ULONG in_size)
{
    PIRP oldest = TakeOldest(extension);
    PIO_STACK_LOCATION at;
    ULONG size = 0;

    if (oldest == NULL)
        return Complete(irp, STATUS_NO_MORE_ENTRIES, 0);
    at = IoGetCurrentIrpStackLocation(oldest);
    if (at->MajorFunction == IRP_MJ_DEVICE_CONTROL) {
        size = min(in_size, at->Parameters.DeviceIoControl.OutputBufferLength);
        RtlCopyMemory(oldest->AssociatedIrp.SystemBuffer, in, size);
    } else if (at->MajorFunction == IRP_MJ_WRITE) {
        size = at->Parameters.Write.Length;
    }
    DbgPrint("parcel: a notice of %u bytes\n", in_size);
    Complete(oldest, STATUS_SUCCESS, size);
    return Complete(irp, STATUS_SUCCESS, 0);
}

static ULONG Upper(PUCHAR buffer, ULONG in_size, ULONG out_size)
{
    ULONG i;

    for (i = 0; i < in_size; i++)
        if (buffer[i] >= 'a' && buffer[i] <= 'z')
            buffer[i] -= 'a' - 'A';
    return min(in_size, out_size);
}

static VOID Turn(PUCHAR out, PCUCHAR in, ULONG size)
{
    ULONG i;

    for (i = 0; i < size; i++)
        out[i] = in[size - 1 - i];
}

static ULONG Sum(PCUCHAR bytes, ULONG size)
{
    ULONG sum = 0;

    while (bytes && size--)
        sum += *bytes++;
    return sum;
}

static NTSTATUS NTAPI DispatchControl(PDEVICE_OBJECT device, PIRP irp)
{
    PIO_STACK_LOCATION at = IoGetCurrentIrpStackLocation(irp);
    ULONG code = at->Parameters.DeviceIoControl.IoControlCode;
    ULONG in_size = at->Parameters.DeviceIoControl.InputBufferLength;
    ULONG out_size = at->Parameters.DeviceIoControl.OutputBufferLength;
    PUCHAR system = (PUCHAR)irp->AssociatedIrp.SystemBuffer;
    PUCHAR mapped = NULL;
    ULONG size;

    if (code != IOCTL_PARCEL_NOTIFY && code != IOCTL_PARCEL_WAIT)
        DbgPrint("parcel: control 0x%08x, in %u, out %u\n", code, in_size, out_size);
    if ((code & 3) == METHOD_IN_DIRECT || (code & 3) == METHOD_OUT_DIRECT)
        mapped = irp->MdlAddress ? (PUCHAR)MmGetSystemAddressForMdlSafe(irp->MdlAddress, NormalPagePriority) : NULL;
    switch (code) {
    case IOCTL_PARCEL_UPPER:
        size = Upper(system, in_size, out_size);
        return Complete(irp, size < in_size ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS, size);
    case IOCTL_PARCEL_SUM:
        DbgPrint("parcel: sum %u + %u\n", Sum(system, in_size), Sum(mapped, out_size));
        return Complete(irp, STATUS_SUCCESS, 0);
    case IOCTL_PARCEL_TURN:
        if (mapped == NULL || out_size < in_size)
            return Complete(irp, STATUS_BUFFER_TOO_SMALL, 0);
        Turn(mapped, system, in_size);
        return Complete(irp, STATUS_SUCCESS, in_size);
    case IOCTL_PARCEL_MARK:  /* in the context of the caller: a driver for use would probe, and guard each access */
        if (out_size < in_size)
            return Complete(irp, STATUS_BUFFER_TOO_SMALL, 0);
        Turn((PUCHAR)irp->UserBuffer, (PUCHAR)at->Parameters.DeviceIoControl.Type3InputBuffer, in_size);
        if (in_size)
            *(PUCHAR)at->Parameters.DeviceIoControl.Type3InputBuffer = 'X';
        return Complete(irp, STATUS_SUCCESS, in_size);
    case IOCTL_PARCEL_WAIT:
        return Wait(device, irp);
    case IOCTL_PARCEL_NOTIFY:
        return Notify(Of(device), irp, system, in_size);
    case IOCTL_PARCEL_HOLD:
        Of(device)->hold = TRUE;
        return Complete(irp, STATUS_SUCCESS, 0);
    case IOCTL_PARCEL_BREAK:
        *(volatile int *)NULL = 1;
        return Complete(irp, STATUS_SUCCESS, 0);
    default:
        return Complete(irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
}

/* What was written is on the shelf, for all readers. */
static NTSTATUS NTAPI DispatchTransfer(PDEVICE_OBJECT device, PIRP irp)
{
    PARCEL_EXTENSION *extension = Of(device);
    PIO_STACK_LOCATION at = IoGetCurrentIrpStackLocation(irp);
    PVOID buffer = irp->AssociatedIrp.SystemBuffer;
    ULONG size = 0;
    KIRQL irql;

    if (at->MajorFunction == IRP_MJ_WRITE && at->Parameters.Write.Length > SHELF_SIZE)
        return Complete(irp, STATUS_INVALID_PARAMETER, 0);
    KeAcquireSpinLock(&extension->lock, &irql);
    if (at->MajorFunction == IRP_MJ_READ) {
        size = min(at->Parameters.Read.Length, extension->held);
        RtlCopyMemory(buffer, extension->shelf, size);
    } else if (at->MajorFunction == IRP_MJ_WRITE) {
        size = extension->held = at->Parameters.Write.Length;
        RtlCopyMemory(extension->shelf, buffer, size);
    }
    KeReleaseSpinLock(&extension->lock, irql);
    if (at->MajorFunction == IRP_MJ_WRITE)
        DbgPrint("parcel: %u bytes written\n", size);
    else if (at->MajorFunction == IRP_MJ_FLUSH_BUFFERS)
        DbgPrint("parcel: flushed\n");
    if (extension->hold && (at->MajorFunction == IRP_MJ_WRITE || at->MajorFunction == IRP_MJ_FLUSH_BUFFERS))
        return Wait(device, irp);
    return Complete(irp, STATUS_SUCCESS, size);
}

static VOID NTAPI DriverUnload(PDRIVER_OBJECT driver)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(LINK_NAME);
    PIRP irp;

    while ((irp = TakeOldest(Of(driver->DeviceObject))) != NULL)
        Complete(irp, STATUS_CANCELLED, 0);
    IoDeleteSymbolicLink(&link);
    IoDeleteDevice(driver->DeviceObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry_path)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(DEVICE_NAME);
    UNICODE_STRING link = RTL_CONSTANT_STRING(LINK_NAME);
    PDEVICE_OBJECT device;
    NTSTATUS status;
    ULONG i;

    UNREFERENCED_PARAMETER(registry_path);
    DbgPrint("parcel: version %d.%d\n", 1, 2);
    status = IoCreateDevice(driver, sizeof(PARCEL_EXTENSION), &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    if (!NT_SUCCESS(status))
        return status;
    RtlZeroMemory(Of(device), sizeof(PARCEL_EXTENSION));
    KeInitializeSpinLock(&Of(device)->lock);
    InitializeListHead(&Of(device)->waiting);
    status = IoCreateSymbolicLink(&link, &name);
    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(device);
        return status;
    }
    device->Flags |= DO_BUFFERED_IO;
    for (i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
        driver->MajorFunction[i] = DispatchTransfer;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = DispatchControl;
    driver->DriverUnload = DriverUnload;
    device->Flags &= ~DO_DEVICE_INITIALIZING;
    DbgPrint("parcel: ready\n");
    return STATUS_SUCCESS;
}
