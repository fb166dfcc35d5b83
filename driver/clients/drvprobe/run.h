/*
 * run.h - runs the operations of a script: one after the other, or at once in threads and processes.
 */
#ifndef LAB_DRVPROBE_RUN_H
#define LAB_DRVPROBE_RUN_H

#include "script.h"

/* Until the script's end. */
void Run(OP *first);

/* At the end of a script: its threads, which have nothing to do any more. */
void EndThreads(void);

#endif
