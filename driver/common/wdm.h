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

/* Requests that the driver does not set a routine for afterwards are refused; open and close succeed. */
static __inline VOID SetDispatchRoutines(PDRIVER_OBJECT driver, PDRIVER_DISPATCH read)
{
    ULONG i;

    for (i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
        driver->MajorFunction[i] = DispatchOther;
    driver->MajorFunction[IRP_MJ_CREATE] = DispatchOpenClose;
    driver->MajorFunction[IRP_MJ_CLOSE] = DispatchOpenClose;
    driver->MajorFunction[IRP_MJ_READ] = read;
}

/* The device, with an extension of `extension_size` bytes. */
static __inline NTSTATUS CreateDevice(PDRIVER_OBJECT driver, PCWSTR device_name, ULONG extension_size, PDEVICE_OBJECT *device)
{
    UNICODE_STRING name;

    RtlInitUnicodeString(&name, device_name);
    return IoCreateDevice(driver, extension_size, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, device);
}

/* The name by which applications open the device. */
static __inline NTSTATUS CreateLink(PCWSTR link_name, PCWSTR device_name)
{
    UNICODE_STRING link, name;

    RtlInitUnicodeString(&link, link_name);
    RtlInitUnicodeString(&name, device_name);
    return IoCreateSymbolicLink(&link, &name);
}

static __inline VOID DeleteLink(PCWSTR link_name)
{
    UNICODE_STRING link;

    RtlInitUnicodeString(&link, link_name);
    IoDeleteSymbolicLink(&link);
}

/* The link, and the device where the driver has one. */
static __inline VOID DeleteLinkAndDevice(PDRIVER_OBJECT driver, PCWSTR link_name)
{
    DeleteLink(link_name);
    if (driver->DeviceObject != NULL)
        IoDeleteDevice(driver->DeviceObject);
}

#endif
