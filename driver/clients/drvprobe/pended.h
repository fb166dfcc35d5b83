/*
 * pended.h - transfers that go on while the script does: issued, collected, cancelled.
 */
#ifndef LAB_DRVPROBE_PENDED_H
#define LAB_DRVPROBE_PENDED_H

#include "script.h"

/* Before the first operation. */
void PreparePended(void);

void DoAsync(const OP *op);  /* aread, awrite, aioctl, aflush */
void DoWait(const OP *op);
void DoCancel(const OP *op);

/* Whether a driver still has one of the requests. */
BOOL AnyPending(void);

/* At the end of a script, when there is none: what was not collected is dropped. */
void ForgetPended(void);

#endif
