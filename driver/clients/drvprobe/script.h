/*
 * script.h - the script language: a text becomes a list of operations.
 */
#ifndef LAB_DRVPROBE_SCRIPT_H
#define LAB_DRVPROBE_SCRIPT_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define MAX_BUFFER 0x100000  /* bytes of one buffer; two digits each in a line */

typedef enum {
    OPEN, READ, AREAD, WRITE, AWRITE, IOCTL, AIOCTL, FLUSH, AFLUSH, WAIT, CANCEL, SLEEP, CLOSE, EXIT, TICK, GO, SERVICE, GATE
} VERB;

/* Bytes that a script gives; the rest of their buffer holds the fill. */
typedef struct _GIVEN {
    const BYTE *bytes;
    DWORD size;
} GIVEN;

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
    const char *kind;     /* read, write, ioctl or flush, also where it goes on after its operation; else NULL */
    DWORD asked;          /* bytes that the call asks for */
    DWORD in, out;        /* sizes of the buffers */
    GIVEN data, before;   /* what they begin with */
    DWORD times, fill;
    DWORD code, ms;
} OP;

/* The whole script, cut in place into operations. The program ends where the script is wrong. */
OP *Parse(char *script);

#endif
