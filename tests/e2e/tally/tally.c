/*
 * tally.c - a device that shows what it sees of its clients: which process opens and closes it, and what becomes of reads.
 *
 * A read waits until the next write, which completes all that wait. The output of the one device control is the process of
 * the caller.
 */
#include <ntddk.h>

#define DEVICE_NAME L"\\Device\\Tally"
#define LINK_NAME L"\\DosDevices\\Tally"
#define IOCTL_TALLY_WHO CTL_CODE(FILE_DEVICE_UNKNOWN, 0x900, METHOD_BUFFERED, FILE_ANY_ACCESS)

typedef struct _TALLY_EXTENSION {
    KSPIN_LOCK lock;     /* protects the list */
    LIST_ENTRY waiting;  /* IRPs by Tail.Overlay.ListEntry */
} TALLY_EXTENSION;

DRIVER_INITIALIZE DriverEntry;

static NTSTATUS Complete(PIRP irp, NTSTATUS status, ULONG_PTR information)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static TALLY_EXTENSION *Of(PDEVICE_OBJECT device)
{
    return (TALLY_EXTENSION *)device->DeviceExtension;
}

static ULONG Caller(VOID)
{
    return (ULONG)(ULONG_PTR)PsGetCurrentProcessId();
}

/* Runs with the system's cancel lock held; this IRP is ours to complete. */
static VOID NTAPI Cancel(PDEVICE_OBJECT device, PIRP irp)
{
    KIRQL irql;

    IoReleaseCancelSpinLock(irp->CancelIrql);
    KeAcquireSpinLock(&Of(device)->lock, &irql);
    RemoveEntryList(&irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&Of(device)->lock, irql);
    DbgPrint("tally: a read was cancelled\n");
    Complete(irp, STATUS_CANCELLED, 0);
}

static NTSTATUS NTAPI DispatchRead(PDEVICE_OBJECT device, PIRP irp)
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

static ULONG CompleteAll(TALLY_EXTENSION *extension, NTSTATUS status)
{
    ULONG count = 0;
    KIRQL irql;
    PIRP irp;

    do {
        irp = NULL;
        KeAcquireSpinLock(&extension->lock, &irql);
        while (irp == NULL && !IsListEmpty(&extension->waiting)) {
            PLIST_ENTRY entry = RemoveHeadList(&extension->waiting);

            irp = CONTAINING_RECORD(entry, IRP, Tail.Overlay.ListEntry);
            if (IoSetCancelRoutine(irp, NULL) == NULL) {
                InitializeListHead(entry);  /* Cancel is on its way and will unlink it */
                irp = NULL;
            }
        }
        KeReleaseSpinLock(&extension->lock, irql);
        if (irp != NULL) {
            Complete(irp, status, 0);
            count++;
        }
    } while (irp != NULL);
    return count;
}

static NTSTATUS NTAPI DispatchWrite(PDEVICE_OBJECT device, PIRP irp)
{
    return Complete(irp, STATUS_SUCCESS, CompleteAll(Of(device), STATUS_SUCCESS));
}

static NTSTATUS NTAPI DispatchControl(PDEVICE_OBJECT device, PIRP irp)
{
    PIO_STACK_LOCATION at = IoGetCurrentIrpStackLocation(irp);

    UNREFERENCED_PARAMETER(device);
    if (at->Parameters.DeviceIoControl.IoControlCode != IOCTL_TALLY_WHO)
        return Complete(irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    if (at->Parameters.DeviceIoControl.OutputBufferLength < sizeof(ULONG))
        return Complete(irp, STATUS_BUFFER_TOO_SMALL, 0);
    *(ULONG *)irp->AssociatedIrp.SystemBuffer = Caller();
    return Complete(irp, STATUS_SUCCESS, sizeof(ULONG));
}

static NTSTATUS NTAPI DispatchOpenClose(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    if (IoGetCurrentIrpStackLocation(irp)->MajorFunction == IRP_MJ_CREATE)
        DbgPrint("tally: opened\n");
    else if (IoGetCurrentIrpStackLocation(irp)->MajorFunction == IRP_MJ_CLOSE)
        DbgPrint("tally: closed\n");
    return Complete(irp, STATUS_SUCCESS, 0);
}

static VOID NTAPI DriverUnload(PDRIVER_OBJECT driver)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(LINK_NAME);

    CompleteAll(Of(driver->DeviceObject), STATUS_CANCELLED);
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
    status = IoCreateDevice(driver, sizeof(TALLY_EXTENSION), &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    if (!NT_SUCCESS(status))
        return status;
    KeInitializeSpinLock(&Of(device)->lock);
    InitializeListHead(&Of(device)->waiting);
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
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = DispatchControl;
    driver->DriverUnload = DriverUnload;
    device->Flags |= DO_BUFFERED_IO;
    device->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}
