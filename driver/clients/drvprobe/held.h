/*
 * held.h - memory that is needed until the end of a script.
 */
#ifndef LAB_DRVPROBE_HELD_H
#define LAB_DRVPROBE_HELD_H

#include "../../common/memory.h"

/* Before the first operation. */
void PrepareHeld(void);

/* As Take, but it is not for Drop. Any thread may call it. */
void *Hold(SIZE_T size);

/* At the end of a script, when none of its threads runs any more. */
void ReleaseHeld(void);

#endif
