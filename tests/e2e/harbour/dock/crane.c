#include <ntddk.h>

/* Of usbdlib.h, which mingw-w64 has without this function. */
typedef struct _USBD_VERSION_INFORMATION {
    ULONG USBDI_Version;
    ULONG Supported_USB_Version;
} USBD_VERSION_INFORMATION, *PUSBD_VERSION_INFORMATION;
VOID NTAPI USBD_GetUSBDIVersion(PUSBD_VERSION_INFORMATION version);

ULONG TideLevel(ULONG hour);

static ULONG forgotten; /* a warning of GCC */

static VOID NTAPI CraneUnload(PDRIVER_OBJECT driver)
{
    UNREFERENCED_PARAMETER(driver);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    USBD_VERSION_INFORMATION version;

    UNREFERENCED_PARAMETER(path);
    driver->DriverUnload = CraneUnload;
    USBD_GetUSBDIVersion(&version);
    DbgPrint("crane: USB %lx, tide %lu\n", version.Supported_USB_Version, TideLevel(6));
    return STATUS_SUCCESS;
}
