/*
 * exceptions.c - structured exception handling as NT has it: __try, __except, __finally, and the functions that raise.
 *
 * Compilers write a table for each function with a __try, and name __C_specific_handler of ntoskrnl.exe as its reader. Wine 10
 * has one that differs in two ways. It enters an __except block with 0 in the register in which NT hands over the exception's code,
 * so that `status = GetExceptionCode()` is STATUS_SUCCESS there. And when it looks for the __finally blocks on its way to that
 * block, it takes the place of the block for a place outside of every __try around it, so that code of Clang, which puts the block
 * after the function, sees an outer __finally run too early, and once more later. The layout of both tables:
 * https://learn.microsoft.com/cpp/build/exception-handling-x64
 *
 * Wine's ProbeForRead and ProbeForWrite never raise. Its ExRaiseStatus, ExRaiseAccessViolation and
 * ExRaiseDatatypeMisalignment are only declared; RtlRaiseStatus works.
 */
#include "replaced.h"

/* MmUserProbeAddress of x64: the first address after a program's memory. */
#define USER_END 0x7FFFFFFF0000ULL
#define UNWINDING 0x66          /* unwinding, exit unwind, target unwind, collided unwind */
#define TARGET_UNWIND 0x20
#define EVERY_EXCEPTION 1       /* in the place of a filter */

typedef struct _SCOPE {
    ULONG begin;
    ULONG end;
    ULONG handler;              /* filter of an __except, or __finally */
    ULONG target;               /* of an __except: its block */
} SCOPE;

typedef struct _SCOPES {
    ULONG count;
    SCOPE scope[1];
} SCOPES;

/* DISPATCHER_CONTEXT of x64. */
typedef struct _FRAME {
    ULONG64 pc;
    ULONG64 base;
    PVOID function;
    ULONG64 establisher;
    ULONG64 target;
    PCONTEXT context;
    PVOID language_handler;
    const SCOPES *scopes;
    PVOID history;
    ULONG index;
} FRAME;

typedef LONG (*FILTER)(PEXCEPTION_POINTERS pointers, PVOID establisher);
typedef VOID (*FINALLY)(BOOLEAN abnormal, PVOID establisher);

NTSYSAPI VOID NTAPI RtlUnwindEx(PVOID frame, PVOID target, PEXCEPTION_RECORD record, PVOID value, PCONTEXT context, PVOID history);

/* On the way to the __except block of this frame or of one above: the __finally blocks in between. */
static VOID RunFinally(PVOID establisher, FRAME *frame, ULONG pc, ULONG target, BOOLEAN to_this_frame)
{
    while (frame->index < frame->scopes->count) {
        const SCOPE *scope = &frame->scopes->scope[frame->index++];

        if (pc < scope->begin || pc >= scope->end)
            continue;
        /* Scopes come from the inside to the outside; what is around the block itself is not left. */
        if (to_this_frame && (scope->target == target || (target >= scope->begin && target < scope->end)))
            return;
        if (scope->target == 0)
            ((FINALLY)(ULONG_PTR)(frame->base + scope->handler))(TRUE, establisher);
    }
}

static EXCEPTION_DISPOSITION LabSpecificHandler(PEXCEPTION_RECORD record, PVOID establisher, PCONTEXT context, FRAME *frame)
{
    ULONG pc = (ULONG)(frame->pc - frame->base);
    EXCEPTION_POINTERS pointers = { record, context };
    ULONG index;

    if (record->ExceptionFlags & UNWINDING) {
        RunFinally(establisher, frame, pc, (ULONG)(frame->target - frame->base), (record->ExceptionFlags & TARGET_UNWIND) != 0);
        return ExceptionContinueSearch;
    }
    for (index = frame->index; index < frame->scopes->count; index++) {
        const SCOPE *scope = &frame->scopes->scope[index];
        LONG answer = EXCEPTION_EXECUTE_HANDLER;

        if (pc < scope->begin || pc >= scope->end || scope->target == 0)
            continue;
        if (scope->handler != EVERY_EXCEPTION)
            answer = ((FILTER)(ULONG_PTR)(frame->base + scope->handler))(&pointers, establisher);
        if (answer < 0)
            return ExceptionContinueExecution;
        if (answer > 0)
            RtlUnwindEx(establisher, (PVOID)(ULONG_PTR)(frame->base + scope->target), record,
                        (PVOID)(ULONG_PTR)(ULONG)record->ExceptionCode, frame->context, frame->history);
    }
    return ExceptionContinueSearch;
}

/* RtlRaiseStatus, which mingw's import library of ntoskrnl.exe lacks. */
PVOID LabStatusRaiser;

/* The exception is to have the address of the driver's call, and RtlRaiseStatus takes that of its own caller: jump to it. */
VOID NTAPI LabRaiseStatus(NTSTATUS status);
VOID NTAPI LabRaiseAccessViolation(VOID);
VOID NTAPI LabRaiseDatatypeMisalignment(VOID);
__asm__(".globl LabRaiseAccessViolation\n"
        "LabRaiseAccessViolation:\n"
        "    movl $0xC0000005, %ecx\n"
        "    jmp LabRaiseStatus\n"
        ".globl LabRaiseDatatypeMisalignment\n"
        "LabRaiseDatatypeMisalignment:\n"
        "    movl $0x80000002, %ecx\n"
        ".globl LabRaiseStatus\n"
        "LabRaiseStatus:\n"
        "    jmp *LabStatusRaiser(%rip)\n");

static VOID CheckRange(ULONG_PTR address, SIZE_T length, ULONG alignment)
{
    if (address & (alignment - 1))
        LabRaiseDatatypeMisalignment();
    if (address + length < address || address + length > USER_END)
        LabRaiseAccessViolation();
}

VOID TouchPages(PVOID start, SIZE_T length, BOOLEAN write)
{
    volatile UCHAR *at = (volatile UCHAR *)start, *end = at + length;

    for (; at < end; at = (volatile UCHAR *)(((ULONG_PTR)at | (PAGE_SIZE - 1)) + 1)) {
        UCHAR byte = *at;

        if (write)
            *at = byte;
    }
}

/* As on NT, memory is not touched: the driver's own read finds out whether it is there. */
static VOID NTAPI LabProbeForRead(PVOID address, SIZE_T length, ULONG alignment)
{
    if (length != 0)
        CheckRange((ULONG_PTR)address, length, alignment);
}

static VOID NTAPI LabProbeForWrite(PVOID address, SIZE_T length, ULONG alignment)
{
    if (length == 0)
        return;
    CheckRange((ULONG_PTR)address, length, alignment);
    TouchPages(address, length, TRUE);
}

BOOLEAN InitializeExceptions(VOID)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"RtlRaiseStatus");

    LabStatusRaiser = MmGetSystemRoutineAddress(&name);
    return LabStatusRaiser != NULL;
}

const REPLACEMENT ExceptionReplacements[] = {
    { L"__C_specific_handler", (PVOID)LabSpecificHandler },
    { L"ExRaiseAccessViolation", (PVOID)LabRaiseAccessViolation },
    { L"ExRaiseDatatypeMisalignment", (PVOID)LabRaiseDatatypeMisalignment },
    { L"ExRaiseStatus", (PVOID)LabRaiseStatus },
    { L"ProbeForRead", (PVOID)LabProbeForRead },
    { L"ProbeForWrite", (PVOID)LabProbeForWrite },
};
const ULONG ExceptionReplacementCount = RTL_NUMBER_OF(ExceptionReplacements);
