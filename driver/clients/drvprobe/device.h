/*
 * device.h - handles.
 */
#ifndef LAB_DRVPROBE_DEVICE_H
#define LAB_DRVPROBE_DEVICE_H

#include "report.h"

typedef struct _DEVICE {
    struct _DEVICE *next;
    const char *name;
    HANDLE handle;
    BOOL overlapped;
    BOOL open;            /* false after close: the name is free again */
} DEVICE;

/* Protects the list of handles and that of pended transfers. */
extern CRITICAL_SECTION Lock;
extern DEVICE *Devices;

/* Before the first operation. */
void PrepareDevices(void);

/* The open handle that an operation names; the script is wrong when there is none. */
DEVICE *Device(const OP *op);

/* Manual-reset, not signalled. */
HANDLE NewEvent(void);

void DoOpen(const OP *op);
void DoClose(const OP *op);

/* At the end of a script: what is still open, the oldest first. */
void CloseDevices(void);

#endif
