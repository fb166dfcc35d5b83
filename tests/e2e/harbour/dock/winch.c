#include <ntddk.h>

static ULONG unwound; /* a warning of GCC */

static VOID NTAPI WinchUnload(PDRIVER_OBJECT driver)
{
    UNREFERENCED_PARAMETER(driver);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNREFERENCED_PARAMETER(path);
    driver->DriverUnload = WinchUnload;
    DbgPrint("winch: ready\n");
    return STATUS_SUCCESS;
}
