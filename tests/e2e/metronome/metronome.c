/*
 * metronome.c - a driver that prints by itself, when nobody asks it for anything.
 *
 * After the first device control it prints "beat 1", "beat 2" and so on, so many milliseconds apart, until it is unloaded or
 * another control comes; after the second it prints "late" once, so many milliseconds later. Their input is that number (a ULONG).
 */
#include <ntddk.h>

#define DEVICE_NAME L"\\Device\\Metronome"
#define LINK_NAME L"\\DosDevices\\Metronome"
#define IOCTL_METRONOME_BEAT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x900, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_METRONOME_ONCE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x901, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define UNITS_PER_MS 10000LL  /* a due time counts 100 ns; negative means from now */

static KTIMER Timer;
static KDPC Beat;
static KDPC Once;
static LONG Beats;

DRIVER_INITIALIZE DriverEntry;

static NTSTATUS Complete(PIRP irp, NTSTATUS status)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = 0;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static VOID NTAPI OnBeat(PKDPC dpc, PVOID context, PVOID argument1, PVOID argument2)
{
    UNREFERENCED_PARAMETER(dpc);
    UNREFERENCED_PARAMETER(context);
    UNREFERENCED_PARAMETER(argument1);
    UNREFERENCED_PARAMETER(argument2);
    DbgPrint("beat %d\n", InterlockedIncrement(&Beats));
}

static VOID NTAPI OnOnce(PKDPC dpc, PVOID context, PVOID argument1, PVOID argument2)
{
    UNREFERENCED_PARAMETER(dpc);
    UNREFERENCED_PARAMETER(context);
    UNREFERENCED_PARAMETER(argument1);
    UNREFERENCED_PARAMETER(argument2);
    DbgPrint("late\n");
}

static VOID Stop(VOID)
{
    KeCancelTimer(&Timer);
    KeFlushQueuedDpcs();
}

static NTSTATUS NTAPI DispatchControl(PDEVICE_OBJECT device, PIRP irp)
{
    PIO_STACK_LOCATION at = IoGetCurrentIrpStackLocation(irp);
    ULONG code = at->Parameters.DeviceIoControl.IoControlCode;
    LARGE_INTEGER due;
    ULONG period;

    UNREFERENCED_PARAMETER(device);
    if (code != IOCTL_METRONOME_BEAT && code != IOCTL_METRONOME_ONCE)
        return Complete(irp, STATUS_INVALID_DEVICE_REQUEST);
    if (at->Parameters.DeviceIoControl.InputBufferLength < sizeof(period))
        return Complete(irp, STATUS_BUFFER_TOO_SMALL);
    period = *(ULONG *)irp->AssociatedIrp.SystemBuffer;
    Stop();
    Beats = 0;
    due.QuadPart = -(LONGLONG)period * UNITS_PER_MS;
    DbgPrint("armed\n");
    if (code == IOCTL_METRONOME_BEAT)
        KeSetTimerEx(&Timer, due, (LONG)period, &Beat);
    else
        KeSetTimer(&Timer, due, &Once);
    return Complete(irp, STATUS_SUCCESS);
}

static NTSTATUS NTAPI DispatchOpenClose(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    return Complete(irp, STATUS_SUCCESS);
}

static VOID NTAPI DriverUnload(PDRIVER_OBJECT driver)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(LINK_NAME);

    Stop();
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
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Beat, OnBeat, NULL);
    KeInitializeDpc(&Once, OnOnce, NULL);
    status = IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    if (!NT_SUCCESS(status))
        return status;
    status = IoCreateSymbolicLink(&link, &name);
    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(device);
        return status;
    }
    driver->MajorFunction[IRP_MJ_CREATE] = DispatchOpenClose;
    driver->MajorFunction[IRP_MJ_CLOSE] = DispatchOpenClose;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = DispatchControl;
    driver->DriverUnload = DriverUnload;
    device->Flags |= DO_BUFFERED_IO;
    device->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}
