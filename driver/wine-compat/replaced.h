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
VOID InitializePrints(VOID);

/* strings.c */
extern const REPLACEMENT StringReplacements[];
extern const ULONG StringReplacementCount;

/* dpcs.c */
extern const REPLACEMENT DpcReplacements[];
extern const ULONG DpcReplacementCount;
VOID InitializeDpcs(VOID);
BOOLEAN DpcsAreLeft(VOID);

/* pci.c; the second ones are functions of hal.dll. Buses and slots are numbered as in HalGetBusData. */
extern const REPLACEMENT PciReplacements[];
extern const ULONG PciReplacementCount;
extern const REPLACEMENT HalReplacements[];
extern const ULONG HalReplacementCount;
ULONG ConfigurationSpace(ULONG bus, ULONG slot, PVOID buffer, ULONG offset, ULONG length, BOOLEAN write);
NTSTATUS OpenUioFile(ULONG bus, ULONG slot, HANDLE *file);
VOID ForEachPciDevice(BOOLEAN (*visit)(ULONG bus, ULONG slot, PVOID context), PVOID context);

/* interrupts.c */
extern const REPLACEMENT InterruptReplacements[];
extern const ULONG InterruptReplacementCount;
VOID InitializeInterrupts(VOID);
ULONG NTAPI LabGetInterruptVector(INTERFACE_TYPE type, ULONG bus, ULONG level, ULONG vector, PKIRQL irql, PKAFFINITY affinity);

/* csq.c */
extern const REPLACEMENT CsqReplacements[];
extern const ULONG CsqReplacementCount;

/* requestor.c */
extern const REPLACEMENT RequestorReplacements[];
extern const ULONG RequestorReplacementCount;

/* exceptions.c; TouchPages reads a byte of each page, and writes it back where that is asked for. */
extern const REPLACEMENT ExceptionReplacements[];
extern const ULONG ExceptionReplacementCount;
BOOLEAN InitializeExceptions(VOID);
VOID TouchPages(PVOID start, SIZE_T length, BOOLEAN write);

/* labcompat.c: ends the process as the call of a function does that Wine only declares. */
VOID SayLacking(const char *module, const char *function);

/* exports.c: puts all of them there; how many it has put, and how many there are. */
NTSTATUS ReplaceExports(PULONG replaced, PULONG wanted);

#endif
