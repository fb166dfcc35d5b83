/*
 * labcompat.c - cures for Wine's kernel timers, prints and faults, so that drivers run in the free guest as on Windows.
 *
 * timers.c, dpcs.c, prints.c, strings.c, pci.c, interrupts.c, csq.c, requestor.c and exceptions.c say what was seen and what is
 * done about it. Beside that: a driver's fault makes Wine look for a debugger, which takes seconds where there is one and prints lines without time and process where there is none.
 * Wine skips that when the process is being debugged, and then prints the one line
 * "err:seh:NtRaiseException Unhandled exception code c0000005 flags 0 addr 0x..." and ends the process.
 *
 * The cure changes neither Wine nor the driver under test. This driver is loaded first into the process that hosts the
 * drivers (same load-order group) and replaces entries in the export table of ntoskrnl.exe, so that drivers loaded after
 * it get its functions. It stays loaded: it has no unload routine.
 */
#include "replaced.h"

NTSYSAPI VOID NTAPI RtlRaiseException(PEXCEPTION_RECORD record);

DRIVER_INITIALIZE DriverEntry;

/* PEB.BeingDebugged of the process that hosts the drivers, which is all that Wine looks at. */
VOID CountAsDebugged(BOOLEAN debugged)
{
    volatile UCHAR *peb = (volatile UCHAR *)__readgsqword(0x60);

    peb[2] = debugged;
}

/*
 * What the guest cannot do although the function is there. Wine's own stubs raise this exception with these two names, upon which
 * Wine says "Call from ... to unimplemented function ntoskrnl.exe.MmMapIoSpace, aborting", and the lab that the guest lacks it.
 */
VOID SayLacking(const char *module, const char *function)
{
    EXCEPTION_RECORD record;

    RtlZeroMemory(&record, sizeof(record));
    record.ExceptionCode = (NTSTATUS)0x80000100;
    record.ExceptionFlags = EXCEPTION_NONCONTINUABLE;
    record.NumberParameters = 2;
    record.ExceptionInformation[0] = (ULONG_PTR)module;
    record.ExceptionInformation[1] = (ULONG_PTR)function;
    RtlRaiseException(&record);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    ULONG replaced, wanted;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(driver);
    UNREFERENCED_PARAMETER(path);

    InitializeTimers();
    InitializeDpcs();
    InitializeInterrupts();
    InitializePrints();
    status = InitializeExceptions() ? ReplaceExports(&replaced, &wanted) : STATUS_NOT_SUPPORTED;
    if (status == STATUS_NOT_SUPPORTED)
        DbgPrint("labcompat: this is not the kernel it was made for, nothing is changed\n");
    if (!NT_SUCCESS(status))
        return status;
    CountAsDebugged(TRUE);
    DbgPrint("labcompat: %u of %u functions replaced\n", replaced, wanted);
    return replaced == wanted ? STATUS_SUCCESS : STATUS_NOT_SUPPORTED;
}
