/*
 * guard.c - a device that does with addresses what programs ask it to, and survives it: METHOD_NEITHER, each use of an address
 * guarded by __try. A program's address says nothing in the free guest, whose drivers live in another process; one that is bad
 * everywhere, and how the driver takes that, is the same there.
 */
#include <ntddk.h>

#include "guard.h"

DRIVER_INITIALIZE DriverEntry;

typedef struct _BLOCK {
    ULONG words[32];
} BLOCK;

static NTSTATUS Complete(PIRP irp, NTSTATUS status, ULONG_PTR information)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

LONG GuardFilter(PEXCEPTION_POINTERS pointers)
{
    const EXCEPTION_RECORD *record = pointers->ExceptionRecord;

    if (record->NumberParameters == 2)
        DbgPrint("guard: %08x by a %s at 0x%I64x\n", record->ExceptionCode, record->ExceptionInformation[0] ? "write" : "read",
                 (ULONG64)record->ExceptionInformation[1]);
    else
        DbgPrint("guard: %08x\n", record->ExceptionCode);
    return EXCEPTION_EXECUTE_HANDLER;
}

static __declspec(noinline) ULONG Fetch(const ULONG *at)
{
    return *at;
}

static VOID Lock(PVOID address, ULONG size)
{
    PMDL mdl = IoAllocateMdl(address, size, FALSE, FALSE, NULL);

    if (mdl == NULL)
        ExRaiseStatus(STATUS_INSUFFICIENT_RESOURCES);
    __try {
        MmProbeAndLockPages(mdl, UserMode, IoReadAccess);
        MmUnlockPages(mdl);
    } __finally {
        IoFreeMdl(mdl);
        DbgPrint("guard: the MDL is free\n");
    }
}

static NTSTATUS Obey(ULONG code, const GUARD_ORDER *input, PULONG output)
{
    NTSTATUS status = STATUS_SUCCESS;
    ULONG word = 0, step = 0;
    GUARD_ORDER order;
    BLOCK block = { { 0 } };
    PVOID address;

    __try {
        ProbeForRead((PVOID)input, sizeof(*input), __alignof(GUARD_ORDER));
        ProbeForWrite(output, sizeof(*output), __alignof(ULONG));
        order = *input;
        address = (PVOID)(ULONG_PTR)order.address;
        step = 1;
        switch (code) {
        case IOCTL_GUARD_READ:
            word = *(ULONG *)address;
            break;
        case IOCTL_GUARD_WRITE:
            *(ULONG *)address = 7;
            break;
        case IOCTL_GUARD_STRUCTURE:
            block = *(BLOCK *)address;
            word = block.words[1];
            break;
        case IOCTL_GUARD_COPY:
            RtlCopyMemory(&block, address, min(order.size, sizeof(block)));
            break;
        case IOCTL_GUARD_CALL:
            word = Fetch(address);
            break;
        case IOCTL_GUARD_DIVIDE:
            word = 100 / order.size;
            break;
        case IOCTL_GUARD_PROBE_READ:
            ProbeForRead(address, order.size, 4);
            break;
        case IOCTL_GUARD_PROBE_WRITE:
            ProbeForWrite(address, order.size, 4);
            break;
        case IOCTL_GUARD_LOCK:
            Lock(address, order.size);
            break;
        case IOCTL_GUARD_RAISE:
            ExRaiseStatus((NTSTATUS)order.status);
            break;
        case IOCTL_GUARD_WALK:
            GuardWalk(&order);
            break;
        case IOCTL_GUARD_OPEN:
            break;
        default:
            status = STATUS_INVALID_DEVICE_REQUEST;
            __leave;
        }
        step = 2;
    } __except (GuardFilter(GetExceptionInformation())) {
        status = GetExceptionCode();
    }
    if (code == IOCTL_GUARD_OPEN && step == 2)
        word = Fetch(address);
    DbgPrint("guard: %08x, step %u\n", status, step);
    if (NT_SUCCESS(status))
        *output = word + step;
    return status;
}

static NTSTATUS NTAPI DispatchControl(PDEVICE_OBJECT device, PIRP irp)
{
    PIO_STACK_LOCATION at = IoGetCurrentIrpStackLocation(irp);
    NTSTATUS status = STATUS_INVALID_PARAMETER;

    UNREFERENCED_PARAMETER(device);
    if (at->Parameters.DeviceIoControl.InputBufferLength >= sizeof(GUARD_ORDER)
        && at->Parameters.DeviceIoControl.OutputBufferLength >= sizeof(ULONG))
        status = Obey(at->Parameters.DeviceIoControl.IoControlCode,
                      (const GUARD_ORDER *)at->Parameters.DeviceIoControl.Type3InputBuffer, (PULONG)irp->UserBuffer);
    return Complete(irp, status, NT_SUCCESS(status) ? sizeof(ULONG) : 0);
}

static NTSTATUS NTAPI DispatchOpen(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    return Complete(irp, STATUS_SUCCESS, 0);
}

static VOID NTAPI DriverUnload(PDRIVER_OBJECT driver)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\Guard");

    IoDeleteSymbolicLink(&link);
    IoDeleteDevice(driver->DeviceObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry_path)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\Guard");
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\Guard");
    PDEVICE_OBJECT device;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(registry_path);
    status = IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    if (!NT_SUCCESS(status))
        return status;
    status = IoCreateSymbolicLink(&link, &name);
    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(device);
        return status;
    }
    driver->MajorFunction[IRP_MJ_CREATE] = DispatchOpen;
    driver->MajorFunction[IRP_MJ_CLOSE] = DispatchOpen;
    driver->MajorFunction[IRP_MJ_CLEANUP] = DispatchOpen;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = DispatchControl;
    driver->DriverUnload = DriverUnload;
    device->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}
