/*
 * flood.c - prints as fast as it can: a read of N bytes makes N prints, "flood 1", "flood 2", ... counted over all
 * readers since the driver was loaded, so that a print that is missing shows. The reader's buffer is left alone.
 */
#include "../../../driver/common/wdm.h"

#define DEVICE_NAME L"\\Device\\LabFlood"
#define LINK_NAME L"\\DosDevices\\LabFlood"

static NTSTATUS NTAPI DispatchRead(PDEVICE_OBJECT device, PIRP irp)
{
    volatile LONG *count = (volatile LONG *)device->DeviceExtension;
    ULONG left = IoGetCurrentIrpStackLocation(irp)->Parameters.Read.Length;

    while (left-- != 0)
        DbgPrint("flood %ld\n", InterlockedIncrement(count));
    return Complete(irp, STATUS_SUCCESS, 0);
}

static VOID NTAPI DriverUnload(PDRIVER_OBJECT driver)
{
    DeleteLinkAndDevice(driver, LINK_NAME);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry_path)
{
    PDEVICE_OBJECT device;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(registry_path);

    status = CreateDevice(driver, DEVICE_NAME, sizeof(LONG), &device);
    if (!NT_SUCCESS(status))
        return status;
    *(LONG *)device->DeviceExtension = 0;
    device->Flags |= DO_BUFFERED_IO;

    SetRoutines(driver, DriverUnload);
    driver->MajorFunction[IRP_MJ_READ] = DispatchRead;
    return CreateLink(device, LINK_NAME, DEVICE_NAME);
}
