/*
 * process.h - drvprobes of their own for `$NAME` operations.
 */
#ifndef LAB_DRVPROBE_PROCESS_H
#define LAB_DRVPROBE_PROCESS_H

#include "script.h"

#define THREAD_STACK (64 * 1024)

/* What `go` starts: the listed operations of a thread or of a process. */
typedef struct _THREAD {
    struct _THREAD *next;
    const char *name;
    OP *first, **last;
    HANDLE done;           /* signalled when all of it is done */
    BOOL process;
    HANDLE child, output;  /* the process, and the pipe that it writes to */
} THREAD;

/*
 * Start a drvprobe of its own for the listed operations. It adds one to the semaphore `ready`, and begins when the event
 * `barrier` is signalled; it inherits both.
 */
void StartProcess(THREAD *process, HANDLE ready, HANDLE barrier);

/* After the last line of a process: one that gives its exit code as `error`. */
void EndProcess(THREAD *process, ULONGLONG start);

/* In a process that another drvprobe started: say that it is ready, wait until all are released. */
void DoGate(const OP *op);

#endif
