/*
 * transfer.h - one read, write, device control or flush: its buffers, its call, and what its line shows.
 */
#ifndef LAB_DRVPROBE_TRANSFER_H
#define LAB_DRVPROBE_TRANSFER_H

#include "report.h"

typedef struct _TRANSFER {
    const OP *op;
    BYTE *in, *out;
} TRANSFER;

/* With buffers that hold what the operation says. */
void PrepareTransfer(TRANSFER *transfer, const OP *op);
void DropTransfer(TRANSFER *transfer);

/* 0, or the error; ERROR_IO_PENDING when it goes on. */
DWORD BeginTransfer(TRANSFER *transfer, HANDLE handle, DWORD *moved, OVERLAPPED *overlapped);

/* The bytes of an overlapped call that has ended at once, with an error: a warning, such as STATUS_BUFFER_OVERFLOW, has some. */
DWORD MovedAtOnce(const OVERLAPPED *overlapped);

/* What the line of an ended transfer shows of its buffers. */
void ShowBuffers(const TRANSFER *transfer, RESULT *result);

void DoTransfer(const OP *op);  /* read, write, ioctl, flush: to its end, on either kind of handle */

#endif
