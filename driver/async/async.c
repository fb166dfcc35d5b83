/*
 * async.c - reverse communication: an application leaves reads with the driver, which completes them when it wants to.
 *
 * Every read is pended. A one-shot timer ticks once a second; each tick completes the oldest read. A read can be
 * cancelled at any time, and closing a handle cancels what was left on it. All strings are UTF-8.
 *
 * Who owns a pended IRP is decided by its cancel routine: the code that takes it out (IoSetCancelRoutine returns non-NULL)
 * completes the IRP, once. The list and the stop flag belong to the spin lock.
 *
 * This file stands alone: copy the folder, change it, and build it with `lab driver build PATH` or Visual Studio.
 */
#include <ntddk.h>

#define DEVICE_NAME L"\\Device\\LySharkAsync"
#define LINK_NAME L"\\DosDevices\\LySharkAsync"

#define TICK_PERIOD_MS 1000
#define UNITS_PER_MS 10000  /* a due time counts 100 ns; negative means from now */

static const CHAR Answer[] = "hello lyshark";
#define ANSWER_SIZE (sizeof(Answer) - 1)  /* the terminating zero is not sent */

typedef struct _ASYNC_EXTENSION {
    KSPIN_LOCK lock;     /* protects the next two */
    LIST_ENTRY pended;   /* IRPs by Tail.Overlay.ListEntry, oldest first */
    BOOLEAN stopping;    /* set once, at unload: the timer is not armed again */
    KTIMER timer;
    LARGE_INTEGER due;
    KDPC dpc;
} ASYNC_EXTENSION;

DRIVER_INITIALIZE DriverEntry;

static NTSTATUS Complete(PIRP irp, NTSTATUS status, ULONG_PTR information)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static NTSTATUS NTAPI DispatchOpenClose(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    return Complete(irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI DispatchOther(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    return Complete(irp, STATUS_NOT_SUPPORTED, 0);
}

/* Runs with the system's cancel lock held; this routine completes the IRP, and no one else may. */
static VOID NTAPI CancelRead(PDEVICE_OBJECT device, PIRP irp)
{
    ASYNC_EXTENSION *extension = (ASYNC_EXTENSION *)device->DeviceExtension;
    KIRQL irql;

    IoReleaseCancelSpinLock(irp->CancelIrql);

    /* Code that took the entry off the list and then found the routine gone has left it linked to itself. */
    KeAcquireSpinLock(&extension->lock, &irql);
    RemoveEntryList(&irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&extension->lock, irql);

    Complete(irp, STATUS_CANCELLED, 0);
}

static NTSTATUS NTAPI DispatchRead(PDEVICE_OBJECT device, PIRP irp)
{
    ASYNC_EXTENSION *extension = (ASYNC_EXTENSION *)device->DeviceExtension;
    BOOLEAN refused;
    KIRQL irql;

    IoMarkIrpPending(irp);

    KeAcquireSpinLock(&extension->lock, &irql);
    IoSetCancelRoutine(irp, CancelRead);
    /*
     * Cancelled, or unloaded, before it had a cancel routine: if the routine is still in place, no one calls it, so
     * the IRP ends here. If it is gone, CancelRead is waiting for the lock and needs the entry on the list.
     */
    refused = (irp->Cancel || extension->stopping) && IoSetCancelRoutine(irp, NULL) != NULL;
    if (!refused)
        InsertTailList(&extension->pended, &irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&extension->lock, irql);

    if (refused)
        Complete(irp, STATUS_CANCELLED, 0);
    return STATUS_PENDING;
}

/* The oldest pended IRP, off the list and without its cancel routine; NULL when there is none. Lock held. */
static PIRP TakeOldest(ASYNC_EXTENSION *extension)
{
    while (!IsListEmpty(&extension->pended)) {
        PLIST_ENTRY entry = RemoveHeadList(&extension->pended);
        PIRP irp = CONTAINING_RECORD(entry, IRP, Tail.Overlay.ListEntry);

        if (IoSetCancelRoutine(irp, NULL) != NULL)
            return irp;
        InitializeListHead(entry);  /* CancelRead is on its way and will unlink it */
    }
    return NULL;
}

/* Cancel the pended reads of one file object, or all of them when it is NULL. */
static VOID CancelPended(ASYNC_EXTENSION *extension, PFILE_OBJECT file)
{
    LIST_ENTRY taken;
    PLIST_ENTRY entry;
    KIRQL irql;

    InitializeListHead(&taken);

    KeAcquireSpinLock(&extension->lock, &irql);
    entry = extension->pended.Flink;
    while (entry != &extension->pended) {
        PIRP irp = CONTAINING_RECORD(entry, IRP, Tail.Overlay.ListEntry);
        PLIST_ENTRY next = entry->Flink;

        if ((file == NULL || IoGetCurrentIrpStackLocation(irp)->FileObject == file)
            && IoSetCancelRoutine(irp, NULL) != NULL) {
            RemoveEntryList(entry);
            InsertTailList(&taken, entry);
        }
        entry = next;
    }
    KeReleaseSpinLock(&extension->lock, irql);

    while (!IsListEmpty(&taken)) {
        entry = RemoveHeadList(&taken);
        Complete(CONTAINING_RECORD(entry, IRP, Tail.Overlay.ListEntry), STATUS_CANCELLED, 0);
    }
}

/* The last handle of a file object is closed: what is still pended on it would never find a reader. */
static NTSTATUS NTAPI DispatchCleanup(PDEVICE_OBJECT device, PIRP irp)
{
    CancelPended((ASYNC_EXTENSION *)device->DeviceExtension, IoGetCurrentIrpStackLocation(irp)->FileObject);
    return Complete(irp, STATUS_SUCCESS, 0);
}

static VOID AnswerRead(PIRP irp)
{
    ULONG asked = IoGetCurrentIrpStackLocation(irp)->Parameters.Read.Length;
    ULONG length = asked < ANSWER_SIZE ? asked : (ULONG)ANSWER_SIZE;
    PVOID buffer = NULL;

    DbgPrint("当前DPC Irp: 0x%x\n", (ULONG)(ULONG_PTR)irp);
    DbgPrint("读取DPC长度: %d\n", asked);

    /* A zero-length read arrives without an MDL on Windows, and with an empty one elsewhere. */
    if (asked != 0 && irp->MdlAddress != NULL)
        buffer = MmGetSystemAddressForMdlSafe(irp->MdlAddress, NormalPagePriority);
    if (buffer == NULL) {
        Complete(irp, STATUS_UNSUCCESSFUL, 0);
        return;
    }
    RtlCopyMemory(buffer, Answer, length);
    Complete(irp, STATUS_SUCCESS, length);
}

static VOID NTAPI Tick(PKDPC dpc, PVOID context, PVOID argument1, PVOID argument2)
{
    ASYNC_EXTENSION *extension = (ASYNC_EXTENSION *)context;
    PIRP irp;

    UNREFERENCED_PARAMETER(dpc);
    UNREFERENCED_PARAMETER(argument1);
    UNREFERENCED_PARAMETER(argument2);

    KeAcquireSpinLockAtDpcLevel(&extension->lock);
    irp = TakeOldest(extension);
    KeReleaseSpinLockFromDpcLevel(&extension->lock);

    if (irp != NULL)
        AnswerRead(irp);

    /* Under the lock, so that a timer armed here is one that DriverUnload has yet to cancel. */
    KeAcquireSpinLockAtDpcLevel(&extension->lock);
    if (!extension->stopping)
        KeSetTimer(&extension->timer, extension->due, &extension->dpc);
    KeReleaseSpinLockFromDpcLevel(&extension->lock);
}

static VOID NTAPI DriverUnload(PDRIVER_OBJECT driver)
{
    PDEVICE_OBJECT device = driver->DeviceObject;
    ASYNC_EXTENSION *extension;
    UNICODE_STRING link;
    KIRQL irql;

    RtlInitUnicodeString(&link, LINK_NAME);
    IoDeleteSymbolicLink(&link);
    if (device == NULL)
        return;
    extension = (ASYNC_EXTENSION *)device->DeviceExtension;

    KeAcquireSpinLock(&extension->lock, &irql);
    extension->stopping = TRUE;
    KeReleaseSpinLock(&extension->lock, irql);

    KeCancelTimer(&extension->timer);  /* from here on no tick starts ... */
    KeFlushQueuedDpcs();               /* ... and none is running */

    /* Windows unloads only when every handle is closed, and then nothing is pended. A stand-in may not wait. */
    CancelPended(extension, NULL);
    IoDeleteDevice(device);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry_path)
{
    UNICODE_STRING name, link;
    ASYNC_EXTENSION *extension;
    PDEVICE_OBJECT device;
    NTSTATUS status;
    ULONG i;

    UNREFERENCED_PARAMETER(registry_path);

    RtlInitUnicodeString(&name, DEVICE_NAME);
    status = IoCreateDevice(driver, sizeof(ASYNC_EXTENSION), &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    if (!NT_SUCCESS(status))
        return status;

    extension = (ASYNC_EXTENSION *)device->DeviceExtension;
    RtlZeroMemory(extension, sizeof(*extension));
    KeInitializeSpinLock(&extension->lock);
    InitializeListHead(&extension->pended);
    KeInitializeTimer(&extension->timer);
    KeInitializeDpc(&extension->dpc, Tick, extension);
    extension->due.QuadPart = -(LONGLONG)TICK_PERIOD_MS * UNITS_PER_MS;

    device->Flags |= DO_DIRECT_IO;
    device->AlignmentRequirement = FILE_WORD_ALIGNMENT;

    for (i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
        driver->MajorFunction[i] = DispatchOther;
    driver->MajorFunction[IRP_MJ_CREATE] = DispatchOpenClose;
    driver->MajorFunction[IRP_MJ_CLOSE] = DispatchOpenClose;
    driver->MajorFunction[IRP_MJ_CLEANUP] = DispatchCleanup;
    driver->MajorFunction[IRP_MJ_READ] = DispatchRead;
    driver->DriverUnload = DriverUnload;

    RtlInitUnicodeString(&link, LINK_NAME);
    status = IoCreateSymbolicLink(&link, &name);
    if (NT_SUCCESS(status))
        KeSetTimer(&extension->timer, extension->due, &extension->dpc);
    else
        IoDeleteDevice(device);
    return status;
}
