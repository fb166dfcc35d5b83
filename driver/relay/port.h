/* port.h - the kernel's and the port's part of the print relay, for relay.c. */
#ifndef LAB_RELAY_PORT_H
#define LAB_RELAY_PORT_H

#include <ntddk.h>

/* A routine of the kernel by its name; NULL where this kernel does not have it. */
PVOID RelayKernelRoutine(const WCHAR *name);

/* Whether a debug console answers at its port. Only in ring 0. */
BOOLEAN RelayPortAnswers(VOID);

/* Before the first record: looks up what only later kernels have. */
VOID RelayPortStart(VOID);

#endif
