/*
 * pended.h - overlapped reads that go on while the script does: issued, collected, cancelled.
 */
#ifndef LAB_DRVPROBE_PENDED_H
#define LAB_DRVPROBE_PENDED_H

#include "script.h"

/* Before the first operation. */
void PreparePended(void);

void DoAsyncRead(const OP *op);
void DoWait(const OP *op);
void DoCancel(const OP *op);

#endif
