/*
 * replaced.h - the functions of ntoskrnl.exe that drivers get from this driver, and how they are put there.
 */
#ifndef LAB_REPLACED_H
#define LAB_REPLACED_H

#include <ntifs.h>

typedef struct _REPLACEMENT {
    const WCHAR *name;
    PVOID function;
} REPLACEMENT;

/* labcompat.c: whether Wine takes this process for one that is being debugged. */
VOID CountAsDebugged(BOOLEAN debugged);

/* timers.c */
extern const REPLACEMENT TimerReplacements[];
extern const ULONG TimerReplacementCount;
VOID InitializeTimers(VOID);

/* prints.c */
extern const REPLACEMENT PrintReplacements[];
extern const ULONG PrintReplacementCount;

/* strings.c */
extern const REPLACEMENT StringReplacements[];
extern const ULONG StringReplacementCount;

/* exports.c: puts all of them there; how many it has put. */
NTSTATUS ReplaceExports(PULONG replaced);

#endif
