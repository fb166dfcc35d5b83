/*
 * timers.c - one-shot timers that are armed again from their own DPC, and DPCs that are waited for.
 *
 * Seen with Wine 8.0 and 10.0:
 *   - Header.Inserted of a KTIMER is set when the timer is armed and never cleared when it fires. Arming a timer that
 *     counts as inserted cancels it first, and cancelling waits for its callback: a one-shot timer that is armed again
 *     from its own DPC waits for itself for ever.
 *   - KeCancelTimer called from the timer's own DPC waits for itself in the same way.
 *   - KeFlushQueuedDpcs does nothing.
 *
 * Each armed timer has a record with a DPC of its own; its routine clears Header.Inserted of a one-shot timer and then
 * calls the driver's DPC.
 */
#include "replaced.h"

#define POOL_TAG 0x7462614CUL      /* Labt */
#define HEADER_INSERTED 3       /* offset of DISPATCHER_HEADER.Inserted, whose type differs between header versions */

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
    while (InterlockedCompareExchange(&RunningDpcs, 0, 0) != 0 || DpcsAreLeft())
        KeDelayExecutionThread(KernelMode, FALSE, &pause);
}

VOID InitializeTimers(VOID)
{
    InitializeListHead(&Records);
    KeInitializeSpinLock(&Lock);
}

const REPLACEMENT TimerReplacements[] = {
    { L"KeSetTimer", (PVOID)LabSetTimer },
    { L"KeSetTimerEx", (PVOID)LabSetTimerEx },
    { L"KeCancelTimer", (PVOID)LabCancelTimer },
    { L"KeFlushQueuedDpcs", (PVOID)LabFlushQueuedDpcs },
};
const ULONG TimerReplacementCount = RTL_NUMBER_OF(TimerReplacements);
