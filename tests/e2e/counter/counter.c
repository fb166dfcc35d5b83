/* Requests in a cancel-safe queue, MDLs of a client's buffers, and a client's event. */
#include <ntddk.h>
#include "counter.h"

static IO_CSQ Queue;
static LIST_ENTRY Line;
static KSPIN_LOCK Lock;
static IO_CSQ_IRP_CONTEXT Contexts[8];
static ULONG Came;
static PDEVICE_OBJECT Device;

DRIVER_INITIALIZE DriverEntry;

static VOID NTAPI Insert(PIO_CSQ queue, PIRP irp)
{
    UNREFERENCED_PARAMETER(queue);
    InsertTailList(&Line, &irp->Tail.Overlay.ListEntry);
}

static VOID NTAPI Remove(PIO_CSQ queue, PIRP irp)
{
    UNREFERENCED_PARAMETER(queue);
    RemoveEntryList(&irp->Tail.Overlay.ListEntry);
}

static PIRP NTAPI PeekNext(PIO_CSQ queue, PIRP irp, PVOID context)
{
    PLIST_ENTRY next = irp != NULL ? irp->Tail.Overlay.ListEntry.Flink : Line.Flink;

    UNREFERENCED_PARAMETER(queue);
    UNREFERENCED_PARAMETER(context);
    return next == &Line ? NULL : CONTAINING_RECORD(next, IRP, Tail.Overlay.ListEntry);
}

static VOID NTAPI Acquire(PIO_CSQ queue, PKIRQL irql)
{
    UNREFERENCED_PARAMETER(queue);
    KeAcquireSpinLock(&Lock, irql);
}

static VOID NTAPI Release(PIO_CSQ queue, KIRQL irql)
{
    UNREFERENCED_PARAMETER(queue);
    KeReleaseSpinLock(&Lock, irql);
}

static NTSTATUS Complete(PIRP irp, NTSTATUS status, ULONG size)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = size;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static VOID NTAPI Cancelled(PIO_CSQ queue, PIRP irp)
{
    UNREFERENCED_PARAMETER(queue);
    DbgPrint("counter: one has left the line\n");
    Complete(irp, STATUS_CANCELLED, 0);
}

/* The address of a client's buffer, as a driver of direct input and output has it. */
static PUCHAR Map(PVOID buffer, ULONG size, LOCK_OPERATION operation, PMDL *mdl)
{
    *mdl = IoAllocateMdl(buffer, size, FALSE, TRUE, NULL);
    if (*mdl == NULL)
        return NULL;
    MmProbeAndLockPages(*mdl, UserMode, operation);
    return MmGetSystemAddressForMdlSafe(*mdl, NormalPagePriority | MdlMappingNoExecute);
}

static VOID Unmap(PMDL mdl)
{
    if (mdl == NULL)
        return;
    MmUnlockPages(mdl);
    if (mdl->MdlFlags & (MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA))
        DbgPrint("counter: still locked\n");
    IoFreeMdl(mdl);
}

static NTSTATUS Turn(PIRP irp, PIO_STACK_LOCATION stack, PULONG size)
{
    ULONG wanted = stack->Parameters.DeviceIoControl.InputBufferLength, at;
    NTSTATUS status = STATUS_INSUFFICIENT_RESOURCES;
    PMDL from = NULL, to = NULL;
    PUCHAR source, target;

    if (stack->Parameters.DeviceIoControl.OutputBufferLength < wanted)
        return STATUS_BUFFER_TOO_SMALL;
    source = Map(stack->Parameters.DeviceIoControl.Type3InputBuffer, wanted, IoReadAccess, &from);
    target = Map(irp->UserBuffer, wanted, IoWriteAccess, &to);
    if (source != NULL && target != NULL) {
        UCHAR copy[16];

        if (wanted > sizeof(copy))
            wanted = sizeof(copy);
        RtlCopyMemory(copy, source, wanted);
        for (at = 0; at < wanted; at++)
            target[at] = copy[wanted - 1 - at];
        *size = wanted;
        status = STATUS_SUCCESS;
    }
    Unmap(from);
    Unmap(to);
    return status;
}

static NTSTATUS Ring(HANDLE handle)
{
    PVOID event;
    NTSTATUS status = ObReferenceObjectByHandle(handle, SYNCHRONIZE | EVENT_MODIFY_STATE, *ExEventObjectType, UserMode, &event, NULL);

    DbgPrint("counter: event %08x\n", status);
    if (NT_SUCCESS(status)) {
        KeSetEvent(event, IO_NO_INCREMENT, FALSE);
        ObDereferenceObject(event);
    }
    return status;
}

static NTSTATUS NTAPI Control(PDEVICE_OBJECT device, PIRP irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(irp);
    PIRP other;
    ULONG size = 0;
    NTSTATUS status = STATUS_SUCCESS;

    UNREFERENCED_PARAMETER(device);
    switch (stack->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_WAIT:
        if (Came == RTL_NUMBER_OF(Contexts))
            return Complete(irp, STATUS_DEVICE_NOT_READY, 0);
        IoCsqInsertIrp(&Queue, irp, Came % 2 ? &Contexts[Came] : NULL);
        Came++;
        return STATUS_PENDING;
    case IOCTL_NEXT:
        other = IoCsqRemoveNextIrp(&Queue, NULL);
        if (other != NULL)
            Complete(other, STATUS_SUCCESS, 0);
        else
            status = STATUS_NO_MORE_ENTRIES;
        break;
    case IOCTL_LAST:
        other = IoCsqRemoveIrp(&Queue, &Contexts[Came - 1]);
        if (other != NULL)
            Complete(other, STATUS_SUCCESS, 0);
        else
            status = STATUS_NO_MORE_ENTRIES;
        break;
    case IOCTL_TURN:
        status = Turn(irp, stack, &size);
        break;
    case IOCTL_RING:
        status = stack->Parameters.DeviceIoControl.InputBufferLength < sizeof(HANDLE)
                     ? STATUS_INVALID_PARAMETER
                     : Ring(*(PHANDLE)irp->AssociatedIrp.SystemBuffer);
        break;
    default:
        status = STATUS_INVALID_DEVICE_REQUEST;
    }
    return Complete(irp, status, size);
}

static NTSTATUS NTAPI Open(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    return Complete(irp, STATUS_SUCCESS, 0);
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\LabCounter");

    UNREFERENCED_PARAMETER(driver);
    IoDeleteSymbolicLink(&link);
    IoDeleteDevice(Device);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\LabCounter"), link = RTL_CONSTANT_STRING(L"\\DosDevices\\LabCounter");
    NTSTATUS status;

    UNREFERENCED_PARAMETER(path);
    InitializeListHead(&Line);
    KeInitializeSpinLock(&Lock);
    IoCsqInitialize(&Queue, Insert, Remove, PeekNext, Acquire, Release, Cancelled);
    status = IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(status))
        return status;
    status = IoCreateSymbolicLink(&link, &name);
    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(Device);
        return status;
    }
    driver->DriverUnload = Unload;
    driver->MajorFunction[IRP_MJ_CREATE] = driver->MajorFunction[IRP_MJ_CLOSE] = Open;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Control;
    return STATUS_SUCCESS;
}
