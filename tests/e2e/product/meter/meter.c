#include <ntddk.h>
#include <boiler.h>
#include "settings.h"

int BoilerScale(int level);
extern const char MeterBanner[];

static PDEVICE_OBJECT g_Device;
static ULONG *g_Level;
static UNICODE_STRING g_Link = RTL_CONSTANT_STRING(L"\\DosDevices\\LabMeter");

_Dispatch_type_(IRP_MJ_CREATE) _Dispatch_type_(IRP_MJ_CLOSE) static DRIVER_DISPATCH MeterOpenClose;
_Dispatch_type_(IRP_MJ_DEVICE_CONTROL) static DRIVER_DISPATCH MeterControl;
static DRIVER_UNLOAD MeterUnload;

static NTSTATUS NTAPI MeterOpenClose(PDEVICE_OBJECT device, PIRP irp)
{
    irp->IoStatus.Status = STATUS_SUCCESS;
    irp->IoStatus.Information = 0;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI MeterControl(PDEVICE_OBJECT device, PIRP irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(irp);
    NTSTATUS status = STATUS_INVALID_DEVICE_REQUEST;

    irp->IoStatus.Information = 0;
    if (stack->Parameters.DeviceIoControl.IoControlCode == IOCTL_METER_LEVEL) {
        status = STATUS_BUFFER_TOO_SMALL;
        if (stack->Parameters.DeviceIoControl.OutputBufferLength >= sizeof(ULONG)) {
            KeMemoryBarrier();
            *(ULONG *)irp->AssociatedIrp.SystemBuffer = BoilerScale((int)*g_Level);
            irp->IoStatus.Information = sizeof(ULONG);
            status = STATUS_SUCCESS;
        }
    }
    irp->IoStatus.Status = status;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static VOID NTAPI MeterUnload(PDRIVER_OBJECT driver)
{
    IoDeleteSymbolicLink(&g_Link);
    IoDeleteDevice(g_Device);
    ExFreePoolWithTag(g_Level, BOILER_TAG);
    DbgPrint("meter: unloaded\n");
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    static const PCWSTR values[] = {L"Level", L"Home", L"Names", L"Serial", L"Key"};
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\LabMeter");
    UNICODE_STRING gauge = RTL_CONSTANT_STRING(L"\\Device\\LabBoilerGauge");
    PFILE_OBJECT file;
    PDEVICE_OBJECT needed;
    ULONG i;
    NTSTATUS status = IoGetDeviceObjectPointer(&gauge, FILE_READ_DATA, &file, &needed);

    DbgPrint("meter: built by %s, %s\n", BUILT_BY, MeterBanner);
    DbgPrint("meter: gauge %08lx\n", status);
    if (!NT_SUCCESS(status))
        return status;
    ObDereferenceObject(file);
    PrintValue(path, L"", L"Greeting");
    for (i = 0; i < RTL_NUMBER_OF(values); i++)
        PrintValue(path, L"\\Parameters", values[i]);
    PrintFile(L"\\??\\C:\\lab\\run\\curve.txt");
    PrintFile(L"\\??\\C:\\boiler\\etc\\limits.txt");

    g_Level = (ULONG *)ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(ULONG), BOILER_TAG);
    if (!g_Level)
        return STATUS_INSUFFICIENT_RESOURCES;
    *g_Level = ReadLevel(path);
    status = IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &g_Device);
    if (NT_SUCCESS(status)) {
        status = IoCreateSymbolicLink(&g_Link, &name);
        if (!NT_SUCCESS(status))
            IoDeleteDevice(g_Device);
    }
    if (!NT_SUCCESS(status)) {
        ExFreePoolWithTag(g_Level, BOILER_TAG);
        return status;
    }
    driver->MajorFunction[IRP_MJ_CREATE] = driver->MajorFunction[IRP_MJ_CLOSE] = MeterOpenClose;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = MeterControl;
    driver->DriverUnload = MeterUnload;
    return STATUS_SUCCESS;
}
