/*
 * csq.c - cancel-safe queues of IRPs, which Wine only declares. Written from what Microsoft's documentation says of them:
 * https://learn.microsoft.com/windows-hardware/drivers/kernel/cancel-safe-irp-queues
 *
 * IoCsqInitializeEx and IoCsqInsertIrpEx are not here: Wine does not export them at all, and only exports can be replaced.
 *
 * While an IRP is queued, DriverContext[3] leads to its queue, or to the context that it was inserted with; each begins with its
 * type, which says which of the two it is. The one that clears the cancel routine first, IoCancelIrp or a removal, owns the IRP.
 */
#include "replaced.h"

static PIO_CSQ QueueOf(PIRP irp, PIO_CSQ_IRP_CONTEXT *context)
{
    PVOID left = irp->Tail.Overlay.DriverContext[3];

    *context = NULL;
    if (*(ULONG *)left != IO_TYPE_CSQ_IRP_CONTEXT)
        return left;
    *context = left;
    return (*context)->Csq;
}

/* With the queue's lock held. */
static VOID TakeOut(PIO_CSQ csq, PIRP irp)
{
    PIO_CSQ_IRP_CONTEXT context;

    QueueOf(irp, &context);
    csq->CsqRemoveIrp(csq, irp);
    if (context != NULL)
        context->Irp = NULL;
    irp->Tail.Overlay.DriverContext[3] = NULL;
}

static VOID NTAPI Cancel(PDEVICE_OBJECT device, PIRP irp)
{
    PIO_CSQ_IRP_CONTEXT context;
    PIO_CSQ csq;
    KIRQL irql;

    UNREFERENCED_PARAMETER(device);
    IoReleaseCancelSpinLock(irp->CancelIrql);
    csq = QueueOf(irp, &context);
    csq->CsqAcquireLock(csq, &irql);
    TakeOut(csq, irp);
    csq->CsqReleaseLock(csq, irql);
    csq->CsqCompleteCanceledIrp(csq, irp);
}

static NTSTATUS NTAPI LabCsqInitialize(PIO_CSQ csq, PIO_CSQ_INSERT_IRP insert, PIO_CSQ_REMOVE_IRP remove,
                                       PIO_CSQ_PEEK_NEXT_IRP peek, PIO_CSQ_ACQUIRE_LOCK acquire, PIO_CSQ_RELEASE_LOCK release,
                                       PIO_CSQ_COMPLETE_CANCELED_IRP complete)
{
    csq->Type = IO_TYPE_CSQ;
    csq->CsqInsertIrp = insert;
    csq->CsqRemoveIrp = remove;
    csq->CsqPeekNextIrp = peek;
    csq->CsqAcquireLock = acquire;
    csq->CsqReleaseLock = release;
    csq->CsqCompleteCanceledIrp = complete;
    csq->ReservePointer = NULL;
    return STATUS_SUCCESS;
}

static VOID NTAPI LabCsqInsertIrp(PIO_CSQ csq, PIRP irp, PIO_CSQ_IRP_CONTEXT context)
{
    BOOLEAN cancelled;
    KIRQL irql;

    if (context != NULL) {
        context->Type = IO_TYPE_CSQ_IRP_CONTEXT;
        context->Irp = irp;
        context->Csq = csq;
    }
    csq->CsqAcquireLock(csq, &irql);
    irp->Tail.Overlay.DriverContext[3] = context != NULL ? (PVOID)context : (PVOID)csq;
    csq->CsqInsertIrp(csq, irp);
    IoMarkIrpPending(irp);
    (void)IoSetCancelRoutine(irp, Cancel);
    /* Cancelled before it had the routine: no one else completes it. */
    cancelled = irp->Cancel && IoSetCancelRoutine(irp, NULL) != NULL;
    if (cancelled)
        TakeOut(csq, irp);
    csq->CsqReleaseLock(csq, irql);
    if (cancelled)
        csq->CsqCompleteCanceledIrp(csq, irp);
}

static PIRP NTAPI LabCsqRemoveIrp(PIO_CSQ csq, PIO_CSQ_IRP_CONTEXT context)
{
    PIRP irp;
    KIRQL irql;

    csq->CsqAcquireLock(csq, &irql);
    irp = context->Irp;
    if (irp != NULL && IoSetCancelRoutine(irp, NULL) == NULL)
        irp = NULL; /* its cancel routine is on the way */
    if (irp != NULL)
        TakeOut(csq, irp);
    csq->CsqReleaseLock(csq, irql);
    return irp;
}

static PIRP NTAPI LabCsqRemoveNextIrp(PIO_CSQ csq, PVOID peek_context)
{
    PIRP irp;
    KIRQL irql;

    csq->CsqAcquireLock(csq, &irql);
    irp = csq->CsqPeekNextIrp(csq, NULL, peek_context);
    while (irp != NULL && IoSetCancelRoutine(irp, NULL) == NULL)
        irp = csq->CsqPeekNextIrp(csq, irp, peek_context);
    if (irp != NULL)
        TakeOut(csq, irp);
    csq->CsqReleaseLock(csq, irql);
    return irp;
}

const REPLACEMENT CsqReplacements[] = {
    { L"IoCsqInitialize", (PVOID)LabCsqInitialize },
    { L"IoCsqInsertIrp", (PVOID)LabCsqInsertIrp },
    { L"IoCsqRemoveIrp", (PVOID)LabCsqRemoveIrp },
    { L"IoCsqRemoveNextIrp", (PVOID)LabCsqRemoveNextIrp },
};
const ULONG CsqReplacementCount = RTL_NUMBER_OF(CsqReplacements);
