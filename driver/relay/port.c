/* port.c - what the writer needs (platform.h), by Windows' kernel and the debug console's port. */
#include <ntddk.h>
#ifdef _MSC_VER
#include <intrin.h>
#else
#include <x86intrin.h>
/* mingw declares these two and has them nowhere. */
#define _disable() __asm__ __volatile__("cli" : : : "memory")
#define _enable() __asm__ __volatile__("sti" : : : "memory")
#endif

#include "platform.h"
#include "port.h"

/* -device isa-debugcon,iobase=0xe9: what is written goes to its chardev; what is read is the port's own number. */
#define CONSOLE_PORT 0xE9
#define CONSOLE_ANSWER 0xE9

#define INTERRUPT_FLAG 0x200

/* As wdm.h declares them for later kernels; here a header for NT 5.2 is enough. */
typedef ULONG64 (NTAPI *QUERY_TIME_PRECISE)(PULONG64 counter);
typedef ULONG (NTAPI *QUERY_PROCESSOR)(PVOID number);

static QUERY_TIME_PRECISE QueryTimePrecise;     /* NULL before NT 6.2 */
static QUERY_PROCESSOR QueryProcessor;          /* NULL before NT 6.1: there are no more than 64 processors then */

PVOID RelayKernelRoutine(const WCHAR *name)
{
    UNICODE_STRING text;

    RtlInitUnicodeString(&text, name);
    return MmGetSystemRoutineAddress(&text);
}

BOOLEAN RelayPortAnswers(VOID)
{
    return __inbyte(CONSOLE_PORT) == CONSOLE_ANSWER;
}

VOID RelayPortStart(VOID)
{
    QueryTimePrecise = (QUERY_TIME_PRECISE)(ULONG_PTR)RelayKernelRoutine(L"KeQueryInterruptTimePrecise");
    QueryProcessor = (QUERY_PROCESSOR)(ULONG_PTR)RelayKernelRoutine(L"KeGetCurrentProcessorNumberEx");
}

unsigned long long RelayTime(void)
{
    ULONG64 counter;

    return QueryTimePrecise != NULL ? QueryTimePrecise(&counter) : KeQueryInterruptTime();
}

unsigned int RelayProcessor(void)
{
    return QueryProcessor != NULL ? QueryProcessor(NULL) : KeGetCurrentProcessorNumber();
}

void RelayOut(const unsigned char *bytes, unsigned int count)
{
    __outbytestring(CONSOLE_PORT, (unsigned char *)(ULONG_PTR)bytes, count);
}

unsigned long RelayInterruptsOff(void)
{
    unsigned long flags = (unsigned long)__readeflags();

    _disable();
    return flags;
}

void RelayInterruptsBack(unsigned long before)
{
    if (before & INTERRUPT_FLAG)
        _enable();
}

void RelayPause(void)
{
    YieldProcessor();
}
