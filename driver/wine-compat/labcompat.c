/*
 * labcompat.c - cures for Wine's kernel timers and faults, so that drivers run in the free guest as they run on Windows.
 *
 * Seen with Wine 8.0 and 10.0:
 *   - Header.Inserted of a KTIMER is set when the timer is armed and never cleared when it fires. Arming a timer that
 *     counts as inserted cancels it first, and cancelling waits for its callback: a one-shot timer that is armed again
 *     from its own DPC waits for itself for ever.
 *   - KeCancelTimer called from the timer's own DPC waits for itself in the same way.
 *   - KeFlushQueuedDpcs does nothing.
 *   - A driver's fault makes Wine look for a debugger, which takes seconds where there is one and prints lines without
 *     time and process where there is none. Wine skips that when the process is being debugged, and then prints the one
 *     line "err:seh:NtRaiseException Unhandled exception code c0000005 flags 0 addr 0x..." and ends the process.
 *
 * The cure changes neither Wine nor the driver under test. This driver is loaded first into the process that hosts the
 * drivers (same load-order group) and replaces entries in the export table of ntoskrnl.exe, so that drivers loaded after
 * it get the functions below. Each armed timer has a record with a DPC of its own; its routine clears Header.Inserted of
 * a one-shot timer and then calls the driver's DPC. It stays loaded: it has no unload routine.
 */
#include <ntifs.h>

#define POOL_TAG 0x7462614CUL      /* Labt */
#define HEADER_INSERTED 3       /* offset of DISPATCHER_HEADER.Inserted, whose type differs between header versions */
#define THUNK_SIZE 16
#define ALLOCATION_GRANULARITY 0x10000
#define MAX_IMAGE_PAGES 0x4000  /* ntoskrnl.exe is smaller than 64 MB */

typedef NTSTATUS (NTAPI *PROTECT_VIRTUAL_MEMORY)(HANDLE, PVOID *, PSIZE_T, ULONG, PULONG);

typedef struct _TIMER_RECORD {
    LIST_ENTRY link;
    PKTIMER timer;
    PKDPC dpc;              /* the driver's, or NULL */
    LONG period;
    BOOLEAN ignore;         /* cancelled from its own DPC: Wine's timer may still fire */
    HANDLE runner;          /* id of the thread in which the DPC runs now, or NULL */
    LONG references;        /* the list, and each routine that runs */
    KDPC shadow;
} TIMER_RECORD;

static LIST_ENTRY Records;
static KSPIN_LOCK Lock;     /* protects the list and what is in it */
static LONG RunningDpcs;

DRIVER_INITIALIZE DriverEntry;

/* mingw's headers leave out what drivers do not usually ask for. */
NTSYSAPI NTSTATUS NTAPI ZwAllocateVirtualMemory(HANDLE, PVOID *, ULONG_PTR, PSIZE_T, ULONG, ULONG);

static TIMER_RECORD *FindRecord(PKTIMER timer)
{
    PLIST_ENTRY entry;

    for (entry = Records.Flink; entry != &Records; entry = entry->Flink) {
        TIMER_RECORD *record = CONTAINING_RECORD(entry, TIMER_RECORD, link);

        if (record->timer == timer)
            return record;
    }
    return NULL;
}

static VOID Dereference(TIMER_RECORD *record)
{
    if (InterlockedDecrement(&record->references) == 0)
        ExFreePoolWithTag(record, POOL_TAG);
}

static VOID SetInserted(PKTIMER timer, UCHAR inserted)
{
    ((volatile UCHAR *)timer)[HEADER_INSERTED] = inserted;
}

/* What Wine's timer calls when it fires. */
static VOID NTAPI ShadowRoutine(PKDPC shadow, PVOID context, PVOID argument1, PVOID argument2)
{
    TIMER_RECORD *record = (TIMER_RECORD *)context;
    PKDPC dpc = NULL;
    BOOLEAN fire;
    KIRQL irql;

    UNREFERENCED_PARAMETER(shadow);

    InterlockedIncrement(&RunningDpcs);
    KeAcquireSpinLock(&Lock, &irql);
    InterlockedIncrement(&record->references);
    fire = !record->ignore;
    if (fire) {
        dpc = record->dpc;
        record->runner = PsGetCurrentThreadId();
        if (record->period == 0)
            SetInserted(record->timer, 0);
    }
    KeReleaseSpinLock(&Lock, irql);

    if (dpc != NULL && dpc->DeferredRoutine != NULL)
        dpc->DeferredRoutine(dpc, dpc->DeferredContext, argument1, argument2);

    KeAcquireSpinLock(&Lock, &irql);
    if (record->runner == PsGetCurrentThreadId())
        record->runner = NULL;
    KeReleaseSpinLock(&Lock, irql);
    Dereference(record);
    InterlockedDecrement(&RunningDpcs);
}

static BOOLEAN NTAPI LabSetTimerEx(PKTIMER timer, LARGE_INTEGER due, LONG period, PKDPC dpc)
{
    TIMER_RECORD *record, *fresh;
    KIRQL irql;

    fresh = ExAllocatePoolWithTag(NonPagedPool, sizeof(*fresh), POOL_TAG);
    if (fresh == NULL)
        return KeSetTimerEx(timer, due, period, dpc);
    RtlZeroMemory(fresh, sizeof(*fresh));
    fresh->timer = timer;
    fresh->references = 1;
    KeInitializeDpc(&fresh->shadow, ShadowRoutine, fresh);

    KeAcquireSpinLock(&Lock, &irql);
    record = FindRecord(timer);
    if (record == NULL) {
        record = fresh;
        fresh = NULL;
        InsertTailList(&Records, &record->link);
    }
    record->dpc = dpc;
    record->period = period;
    record->ignore = FALSE;
    KeReleaseSpinLock(&Lock, irql);
    if (fresh != NULL)
        ExFreePoolWithTag(fresh, POOL_TAG);

    return KeSetTimerEx(timer, due, period, &record->shadow);
}

static BOOLEAN NTAPI LabSetTimer(PKTIMER timer, LARGE_INTEGER due, PKDPC dpc)
{
    return LabSetTimerEx(timer, due, 0, dpc);
}

static BOOLEAN NTAPI LabCancelTimer(PKTIMER timer)
{
    BOOLEAN was_inserted = ((volatile UCHAR *)timer)[HEADER_INSERTED] != 0;
    TIMER_RECORD *record;
    KIRQL irql;

    KeAcquireSpinLock(&Lock, &irql);
    record = FindRecord(timer);
    if (record != NULL && record->runner == PsGetCurrentThreadId()) {
        /* Its own DPC: Wine's KeCancelTimer would wait for this very call to end. */
        record->ignore = TRUE;
        SetInserted(timer, 0);
        KeReleaseSpinLock(&Lock, irql);
        return was_inserted;
    }
    KeReleaseSpinLock(&Lock, irql);

    KeCancelTimer(timer);  /* waits for a callback that runs now: after it the record has no more users */

    KeAcquireSpinLock(&Lock, &irql);
    record = FindRecord(timer);
    if (record != NULL && ((volatile UCHAR *)timer)[HEADER_INSERTED] == 0)
        RemoveEntryList(&record->link);
    else
        record = NULL;
    KeReleaseSpinLock(&Lock, irql);
    if (record != NULL)
        Dereference(record);
    return was_inserted;
}

static VOID NTAPI LabFlushQueuedDpcs(VOID)
{
    LARGE_INTEGER pause;

    pause.QuadPart = -10000;  /* 1 ms */
    while (InterlockedCompareExchange(&RunningDpcs, 0, 0) != 0)
        KeDelayExecutionThread(KernelMode, FALSE, &pause);
}

static const struct {
    const WCHAR *name;
    PVOID function;
} Replacements[] = {
    { L"KeSetTimer", (PVOID)LabSetTimer },
    { L"KeSetTimerEx", (PVOID)LabSetTimerEx },
    { L"KeCancelTimer", (PVOID)LabCancelTimer },
    { L"KeFlushQueuedDpcs", (PVOID)LabFlushQueuedDpcs },
};

static PVOID KernelRoutine(const WCHAR *name)
{
    UNICODE_STRING text;

    RtlInitUnicodeString(&text, name);
    return MmGetSystemRoutineAddress(&text);
}

/* Where the image that contains this address begins; images begin on a page, and so does their MZ header. */
static UCHAR *ImageBase(PVOID inside)
{
    UCHAR *page = (UCHAR *)((ULONG_PTR)inside & ~(ULONG_PTR)0xFFF);
    ULONG count;

    for (count = 0; count < MAX_IMAGE_PAGES; count++, page -= 0x1000) {
        LONG offset;

        if (page[0] != 'M' || page[1] != 'Z')
            continue;
        offset = *(LONG *)(page + 0x3C);
        if (offset > 0 && offset < 0x1000 && *(ULONG *)(page + offset) == 0x00004550)
            return page;
    }
    return NULL;
}

/* Executable memory within the 4 GB above the image's base: an export table holds 32-bit offsets from it. */
static UCHAR *AllocateThunks(UCHAR *base, SIZE_T image_size)
{
    ULONG_PTR at = ((ULONG_PTR)base + image_size + ALLOCATION_GRANULARITY) & ~(ULONG_PTR)(ALLOCATION_GRANULARITY - 1);
    ULONG_PTR end = (ULONG_PTR)base + 0x7FFF0000;

    for (; at < end; at += ALLOCATION_GRANULARITY) {
        PVOID address = (PVOID)at;
        SIZE_T size = 0x1000;

        if (NT_SUCCESS(ZwAllocateVirtualMemory((HANDLE)-1, &address, 0, &size, MEM_RESERVE | MEM_COMMIT,
                                               PAGE_EXECUTE_READWRITE)))
            return (UCHAR *)address;
    }
    return NULL;
}

/* mov rax, function; jmp rax */
static VOID WriteThunk(UCHAR *thunk, PVOID function)
{
    thunk[0] = 0x48;
    thunk[1] = 0xB8;
    *(ULONG64 UNALIGNED *)(thunk + 2) = (ULONG64)(ULONG_PTR)function;
    thunk[10] = 0xFF;
    thunk[11] = 0xE0;
}

/* Sets PEB.BeingDebugged of the process that hosts the drivers, which is all that Wine looks at. */
static VOID SkipDebugger(VOID)
{
    UCHAR *peb = (UCHAR *)__readgsqword(0x60);

    peb[2] = 1;
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    PROTECT_VIRTUAL_MEMORY protect = (PROTECT_VIRTUAL_MEMORY)KernelRoutine(L"ZwProtectVirtualMemory");
    PVOID known = KernelRoutine(L"KeSetTimerEx");
    UCHAR *base = known != NULL ? ImageBase(known) : NULL;
    UCHAR *headers, *thunks, *exports;
    ULONG *functions;
    ULONG count, index, which, replaced = 0, old_protection;
    SIZE_T size;
    PVOID table;

    UNREFERENCED_PARAMETER(driver);
    UNREFERENCED_PARAMETER(path);

    if (protect == NULL || base == NULL) {
        DbgPrint("labcompat: this is not the kernel it was made for, nothing is changed\n");
        return STATUS_NOT_SUPPORTED;
    }
    headers = base + *(LONG *)(base + 0x3C) + 24;            /* optional header, PE32+ */
    thunks = AllocateThunks(base, *(ULONG *)(headers + 56)); /* SizeOfImage */
    exports = base + *(ULONG *)(headers + 112);              /* first data directory */
    functions = (ULONG *)(base + *(ULONG *)(exports + 28));
    count = *(ULONG *)(exports + 20);
    if (thunks == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;

    InitializeListHead(&Records);
    KeInitializeSpinLock(&Lock);

    table = functions;
    size = count * sizeof(*functions);
    if (!NT_SUCCESS(protect((HANDLE)-1, &table, &size, PAGE_READWRITE, &old_protection)))
        return STATUS_ACCESS_DENIED;
    for (which = 0; which < RTL_NUMBER_OF(Replacements); which++) {
        UCHAR *thunk = thunks + which * THUNK_SIZE;
        PVOID original = KernelRoutine(Replacements[which].name);

        WriteThunk(thunk, Replacements[which].function);
        for (index = 0; index < count; index++) {
            if (original != NULL && base + functions[index] == original) {
                functions[index] = (ULONG)(thunk - base);
                replaced++;
                break;
            }
        }
    }
    protect((HANDLE)-1, &table, &size, old_protection, &old_protection);
    SkipDebugger();

    DbgPrint("labcompat: %u of %u functions replaced\n", replaced, (ULONG)RTL_NUMBER_OF(Replacements));
    return replaced == RTL_NUMBER_OF(Replacements) ? STATUS_SUCCESS : STATUS_NOT_SUPPORTED;
}
