/*
 * script.h - the script language: a text becomes a list of operations.
 */
#ifndef LAB_DRVPROBE_SCRIPT_H
#define LAB_DRVPROBE_SCRIPT_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

typedef enum { OPEN, READ, AREAD, WAIT, CANCEL, WRITE, IOCTL, SLEEP, CLOSE, EXIT, TICK, GO, SERVICE, GATE } VERB;

typedef struct _OP {
    struct _OP *next;
    VERB verb;
    const char *verb_name;
    const char *thread;   /* list it belongs to; "main" runs at once */
    BOOL process;         /* the list is for a process of its own */
    const char *text;     /* as written, for messages */
    const char *target;   /* handle, or tag, or "all" */
    const char *path;     /* of an open; start, stop or query of a service */
    const char *tag;
    DWORD access, share, overlapped;
    DWORD length, times, buffer, fill;
    DWORD code, in, out, ms;
} OP;

/* The whole script, cut in place into operations. The program ends where the script is wrong. */
OP *Parse(char *script);

/* What separates the words of an operation. */
BOOL Blank(char c);

#endif
