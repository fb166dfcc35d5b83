/* Built without the lab: what the lab gets of it is a finished file with its symbols. */
#include <ntddk.h>

static ULONG __attribute__((noinline)) Twice(volatile ULONG *value)
{
    *value *= 2; /* the line of the fault */
    return *value;
}

static VOID NTAPI FinishedUnload(PDRIVER_OBJECT driver)
{
    (void)driver;
    DbgPrint("finished: unloaded\n");
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    static ULONG value = 21;
#ifdef FAULTY
    ULONG *where = NULL;
#else
    ULONG *where = &value;
#endif
    (void)path;
    (void)value;
    driver->DriverUnload = FinishedUnload;
    DbgPrint("finished: %lu\n", Twice(where));
    return STATUS_SUCCESS;
}
