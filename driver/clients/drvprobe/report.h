/*
 * report.h - the line of an operation.
 */
#ifndef LAB_DRVPROBE_REPORT_H
#define LAB_DRVPROBE_REPORT_H

#include "lines.h"
#include "script.h"

typedef struct _RESULT {
    const char *op, *thread, *handle, *tag;
    const char *kind;      /* read, write, ioctl or flush, or NULL */
    DWORD code;            /* of an ioctl */
    BOOL transfers;        /* asked and returned make sense */
    ULONGLONG asked, returned;
    DWORD error;
    BOOL has_status;
    DWORD status;          /* NTSTATUS */
    const BYTE *buffer;    /* NULL: no data */
    DWORD held;            /* returned bytes in it */
    BOOL tail_intact;      /* the rest is as it was before */
    const BYTE *input;     /* NULL: none */
    DWORD input_size;
    BOOL input_intact;
    ULONGLONG start, end;
} RESULT;

/* What the main thread is called in the lines; a process has the parent's name for it. */
extern const char *MainName;

/* What the thread of an operation is called in the lines. */
const char *Shown(const OP *op);

/* The line of an operation: filled in as far as it is known at its start, and printed at its end. */
RESULT Started(const OP *op);
void Finish(RESULT *result, DWORD error);
void Report(const RESULT *result);  /* when the end is known already */

/* The guest cannot do what the script asks for: say so, with the capability that it would need, and leave. */
DECLSPEC_NORETURN void Lacks(const OP *op, const char *capability, const char *what);

#endif
