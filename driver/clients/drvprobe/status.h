/*
 * status.h - the NTSTATUS of an operation's line.
 */
#ifndef LAB_DRVPROBE_STATUS_H
#define LAB_DRVPROBE_STATUS_H

#include "report.h"

void SetStatus(RESULT *result, ULONG_PTR status);

/* The NTSTATUS of the error with which a call of this thread has just failed. Nothing where it is not known. */
void SetLastStatus(RESULT *result, DWORD error);

/* At the beginning of a script: what failed in an earlier one is not behind any error of this one. */
void ForgetLastStatus(void);

#endif
