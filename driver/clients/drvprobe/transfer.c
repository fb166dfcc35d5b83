/*
 * transfer.c - one read, write, device control or flush: its buffers, its call, and what its line shows.
 */
#include "transfer.h"

#include "device.h"
#include "status.h"

static void FillBuffer(BYTE *buffer, DWORD size, const GIVEN *given, DWORD fill)
{
    Copy(buffer, given->bytes, given->size);
    Fill(buffer + given->size, fill, size - given->size);
}

/* Whether a buffer holds from here on what it was filled with. */
static BOOL Intact(const BYTE *buffer, DWORD from, DWORD size, const GIVEN *given, DWORD fill)
{
    for (; from < size; from++)
        if (buffer[from] != (from < given->size ? given->bytes[from] : (BYTE)fill))
            return FALSE;
    return TRUE;
}

void PrepareTransfer(TRANSFER *transfer, const OP *op)
{
    transfer->op = op;
    transfer->in = Take(op->in);
    transfer->out = Take(op->out);
    FillBuffer(transfer->in, op->in, &op->data, op->fill);
    FillBuffer(transfer->out, op->out, &op->before, op->fill);
}

void DropTransfer(TRANSFER *transfer)
{
    Drop(transfer->in);
    Drop(transfer->out);
}

DWORD BeginTransfer(TRANSFER *transfer, HANDLE handle, DWORD *moved, OVERLAPPED *overlapped)
{
    const OP *op = transfer->op;
    BOOL done;

    switch (op->verb) {
    case READ:
    case AREAD:
        done = ReadFile(handle, transfer->out, op->asked, moved, overlapped);
        break;
    case WRITE:
    case AWRITE:
        done = WriteFile(handle, transfer->in, op->asked, moved, overlapped);
        break;
    case FLUSH:
    case AFLUSH:
        done = FlushFileBuffers(handle);  /* knows no overlapped: it waits on every handle */
        break;
    default:
        done = DeviceIoControl(handle, op->code, op->in ? transfer->in : NULL, op->in, op->out ? transfer->out : NULL,
                               op->out, moved, overlapped);
        break;
    }
    return done ? 0 : GetLastError();
}

DWORD MovedAtOnce(const OVERLAPPED *overlapped)
{
    return ((DWORD)overlapped->Internal >> 30) == 3 ? 0 : (DWORD)overlapped->InternalHigh;
}

void ShowBuffers(const TRANSFER *transfer, RESULT *result)
{
    const OP *op = transfer->op;
    DWORD held = result->returned < op->out ? (DWORD)result->returned : op->out;

    if (Same(op->kind, "read") || Same(op->kind, "ioctl")) {
        result->buffer = transfer->out;
        result->held = held;
        result->tail_intact = Intact(transfer->out, held, op->out, &op->before, op->fill);
    }
    if (Same(op->kind, "write") || Same(op->kind, "ioctl")) {
        result->input = transfer->in;
        result->input_size = op->in;
        result->input_intact = Intact(transfer->in, 0, op->in, &op->data, op->fill);
    }
}

/* One transfer that has ended when this returns, on either kind of handle. */
static void Transfer(const DEVICE *device, TRANSFER *transfer, RESULT *result)
{
    BOOL waits = device->overlapped && !Same(transfer->op->kind, "flush");
    OVERLAPPED overlapped = {0};
    DWORD moved = 0, error;

    if (waits)
        overlapped.hEvent = NewEvent();
    error = BeginTransfer(transfer, device->handle, &moved, waits ? &overlapped : NULL);
    if (waits && (error == ERROR_IO_PENDING || error == 0)) {
        error = 0;
        moved = 0;
        if (!GetOverlappedResult(device->handle, &overlapped, &moved, TRUE))
            error = GetLastError();
        SetStatus(result, overlapped.Internal);
    } else {
        if (waits)
            moved = MovedAtOnce(&overlapped);
        SetLastStatus(result, error);
    }
    if (waits)
        CloseHandle(overlapped.hEvent);
    result->returned = moved;
    result->error = error;
}

void DoTransfer(const OP *op)
{
    const DEVICE *device = Device(op);
    DWORD i;

    for (i = 0; i < op->times; i++) {
        TRANSFER transfer;
        RESULT result;

        PrepareTransfer(&transfer, op);
        result = Started(op);
        Transfer(device, &transfer, &result);
        result.end = Now();
        ShowBuffers(&transfer, &result);
        Report(&result);
        DropTransfer(&transfer);
    }
}
