/*
 * wdm.h - what a driver with one device and one link does as every other: the device, open and close, the end.
 *
 * The example drivers sync and async do without it: each is one file, to be copied alone.
 */
#ifndef LAB_COMMON_WDM_H
#define LAB_COMMON_WDM_H

#include <ntddk.h>

DRIVER_INITIALIZE DriverEntry;

/* End a request. Its IRP is gone afterwards. */
static __inline NTSTATUS Complete(PIRP irp, NTSTATUS status, ULONG_PTR information)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static __inline NTSTATUS NTAPI DispatchOpenClose(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    return Complete(irp, STATUS_SUCCESS, 0);
}

static __inline NTSTATUS NTAPI DispatchOther(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    return Complete(irp, STATUS_NOT_SUPPORTED, 0);
}

/* Open and close succeed. All other requests are refused, until the driver sets routines of its own for them. */
static __inline VOID SetRoutines(PDRIVER_OBJECT driver, PDRIVER_UNLOAD unload)
{
    ULONG i;

    for (i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
        driver->MajorFunction[i] = DispatchOther;
    driver->MajorFunction[IRP_MJ_CREATE] = DispatchOpenClose;
    driver->MajorFunction[IRP_MJ_CLEANUP] = DispatchOpenClose;
    driver->MajorFunction[IRP_MJ_CLOSE] = DispatchOpenClose;
    driver->DriverUnload = unload;
}

/* The device, with an extension of `extension_size` bytes. */
static __inline NTSTATUS CreateDevice(PDRIVER_OBJECT driver, PCWSTR device_name, ULONG extension_size, PDEVICE_OBJECT *device)
{
    UNICODE_STRING name;

    RtlInitUnicodeString(&name, device_name);
    return IoCreateDevice(driver, extension_size, &name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, device);
}

/* The name by which applications open the device. Where there can be none, the device is deleted. */
static __inline NTSTATUS CreateLink(PDEVICE_OBJECT device, PCWSTR link_name, PCWSTR device_name)
{
    UNICODE_STRING link, name;
    NTSTATUS status;

    RtlInitUnicodeString(&link, link_name);
    RtlInitUnicodeString(&name, device_name);
    status = IoCreateSymbolicLink(&link, &name);
    if (!NT_SUCCESS(status))
        IoDeleteDevice(device);
    return status;
}

/* The link, and the device where the driver has one. */
static __inline VOID DeleteLinkAndDevice(PDRIVER_OBJECT driver, PCWSTR link_name)
{
    UNICODE_STRING link;

    RtlInitUnicodeString(&link, link_name);
    IoDeleteSymbolicLink(&link);
    if (driver->DeviceObject != NULL)
        IoDeleteDevice(driver->DeviceObject);
}

#endif
