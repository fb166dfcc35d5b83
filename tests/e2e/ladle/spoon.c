/* spoon.c - a second source, so that the counters of a driver are those of several. */
#include <ntddk.h>

#include "ladle.h"

NTSTATUS Finish(PIRP irp, NTSTATUS status, ULONG_PTR information)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}
