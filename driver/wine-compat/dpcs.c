/*
 * dpcs.c - DPCs that a driver queues itself, as a service routine does. Wine's KeInsertQueueDpc does nothing and says that it has.
 *
 * One thread runs them in their order, one after the other. A DPC is queued once, however often it is asked for before it runs.
 * It may be freed or queued again as soon as its routine has begun.
 */
#include "replaced.h"

#define POOL_TAG 0x7162614CUL   /* Labq */

typedef struct _QUEUED {
    LIST_ENTRY link;
    PKDPC dpc;
    PVOID argument1;
    PVOID argument2;
} QUEUED;

static LIST_ENTRY Queue;
static KSPIN_LOCK Lock;         /* protects the queue and what is running */
static KEVENT Filled;
static LONG Started;
static LONG Left;               /* queued, or running */

static QUEUED *Find(PKDPC dpc)
{
    PLIST_ENTRY entry;

    for (entry = Queue.Flink; entry != &Queue; entry = entry->Flink) {
        QUEUED *queued = CONTAINING_RECORD(entry, QUEUED, link);

        if (queued->dpc == dpc)
            return queued;
    }
    return NULL;
}

static VOID NTAPI Run(PVOID context)
{
    UNREFERENCED_PARAMETER(context);
    for (;;) {
        QUEUED *queued = NULL;
        KIRQL irql;

        KeWaitForSingleObject(&Filled, Executive, KernelMode, FALSE, NULL);
        for (;;) {
            PKDEFERRED_ROUTINE routine = NULL;
            PVOID argument = NULL;

            KeAcquireSpinLock(&Lock, &irql);
            queued = IsListEmpty(&Queue) ? NULL : CONTAINING_RECORD(RemoveHeadList(&Queue), QUEUED, link);
            if (queued != NULL) {
                routine = queued->dpc->DeferredRoutine;
                argument = queued->dpc->DeferredContext;
            }
            KeReleaseSpinLock(&Lock, irql);
            if (queued == NULL)
                break;
            routine(queued->dpc, argument, queued->argument1, queued->argument2);
            ExFreePoolWithTag(queued, POOL_TAG);
            InterlockedDecrement(&Left);
        }
    }
}

static BOOLEAN NTAPI LabInsertQueueDpc(PKDPC dpc, PVOID argument1, PVOID argument2)
{
    QUEUED *queued = ExAllocatePoolWithTag(NonPagedPool, sizeof(*queued), POOL_TAG);
    BOOLEAN inserted;
    HANDLE thread;
    KIRQL irql;

    if (queued == NULL)
        return FALSE;
    if (InterlockedCompareExchange(&Started, 1, 0) == 0) {
        if (!NT_SUCCESS(PsCreateSystemThread(&thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Run, NULL)))
            SayLacking("ntoskrnl.exe", "KeInsertQueueDpc");
        else
            ZwClose(thread);
    }
    queued->dpc = dpc;
    queued->argument1 = argument1;
    queued->argument2 = argument2;
    KeAcquireSpinLock(&Lock, &irql);
    inserted = Find(dpc) == NULL;
    if (inserted) {
        InsertTailList(&Queue, &queued->link);
        InterlockedIncrement(&Left);
    }
    KeReleaseSpinLock(&Lock, irql);
    if (inserted)
        KeSetEvent(&Filled, IO_NO_INCREMENT, FALSE);
    else
        ExFreePoolWithTag(queued, POOL_TAG);
    return inserted;
}

static BOOLEAN NTAPI LabRemoveQueueDpc(PKDPC dpc)
{
    QUEUED *queued;
    KIRQL irql;

    KeAcquireSpinLock(&Lock, &irql);
    queued = Find(dpc);
    if (queued != NULL) {
        RemoveEntryList(&queued->link);
        InterlockedDecrement(&Left);
    }
    KeReleaseSpinLock(&Lock, irql);
    if (queued != NULL)
        ExFreePoolWithTag(queued, POOL_TAG);
    return queued != NULL;
}

BOOLEAN DpcsAreLeft(VOID)
{
    return InterlockedCompareExchange(&Left, 0, 0) != 0;
}

VOID InitializeDpcs(VOID)
{
    InitializeListHead(&Queue);
    KeInitializeSpinLock(&Lock);
    KeInitializeEvent(&Filled, SynchronizationEvent, FALSE);
}

const REPLACEMENT DpcReplacements[] = {
    { L"KeInsertQueueDpc", (PVOID)LabInsertQueueDpc },
    { L"KeRemoveQueueDpc", (PVOID)LabRemoveQueueDpc },
};
const ULONG DpcReplacementCount = RTL_NUMBER_OF(DpcReplacements);
