/*
 * prints.c - DbgPrint and its variants, so that they print what NT prints.
 *
 * Seen with Wine 10.0: %Z and %wZ print the letter Z and take no argument, so that each later conversion prints the wrong
 * argument; and a print that does not fit into its 1020 bytes, with some 70 of header, ends the process with 0x80000005.
 * Here the text is made first, and Wine is given it whole. One call stays one line, component and level stay what they are.
 *
 * As on Windows, a call prints 511 bytes at most; of a longer text the last one becomes a newline. Wide text comes out as
 * UTF-8, whatever the IRQL, where Windows converts it to its ANSI code page, and only at PASSIVE_LEVEL; and a floating-point
 * conversion, which NT's DbgPrint does not have, is left to Wine. Prints with one of these are marked, so that their
 * text is not taken for NT's.
 *
 * A print at level 0, as every DbgPrint is, raises an exception for a debugger when its process counts as being debugged,
 * which it does for another reason (labcompat.c): 10,000 prints took 8 s, and take 1 s without. So the process does not count
 * as debugged while Wine writes the line. A thread that faults in just this moment gets Wine's other fault line, without a time
 * stamp, which the lab understands as well; two threads that print at once cost one of them an exception.
 *
 * Wine stamps a line with the tick count of KUSER_SHARED_DATA. wineserver writes it when it is asked for something, and every
 * 16 ms while it has timers: the stamps of a driver that ticks once a second were wrong by up to 9 ms on an idle guest, and by
 * half a second on a busy host. So wineserver is asked for something first, where its count is not the clock's.
 */
#include "replaced.h"
#include "format.h"

#define LONGEST 511
/* In the component of a print: NT would print another text. lab/prints/decode.py takes it out again. */
#define UNLIKE_NT 0x40000000

NTSYSAPI ULONG NTAPI vDbgPrintEx(ULONG component, ULONG level, PCCH format, va_list arguments);

/* KUSER_SHARED_DATA.TickCount, at the address that all processes have it. */
#define SHARED_TICKS ((const volatile ULONG *)0x7ffe0320)

static HANDLE Refresher;

VOID InitializePrints(VOID)
{
    if (!NT_SUCCESS(ZwCreateEvent(&Refresher, EVENT_ALL_ACCESS, NULL, SynchronizationEvent, FALSE)))
        Refresher = NULL;
}

/* Both count milliseconds since the guest's start: wineserver makes its count from the counter that is read here. */
static VOID RefreshTicks(VOID)
{
    LARGE_INTEGER frequency, counter = KeQueryPerformanceCounter(&frequency);

    if (Refresher != NULL && (ULONG)(counter.QuadPart / (frequency.QuadPart / 1000)) != *SHARED_TICKS)
        ZwSetEvent(Refresher, NULL);
}

static ULONG Write(ULONG component, ULONG level, PCCH format, va_list arguments)
{
    ULONG status;

    RefreshTicks();
    CountAsDebugged(FALSE);
    status = vDbgPrintEx(component, level, format, arguments);
    CountAsDebugged(TRUE);
    return status;
}

static ULONG __cdecl Say(ULONG component, ULONG level, PCCH format, ...)
{
    va_list arguments;
    ULONG status;

    va_start(arguments, format);
    status = Write(component, level, format, arguments);
    va_end(arguments);
    return status;
}

static ULONG Print(PCCH prefix, ULONG component, ULONG level, PCCH format, va_list arguments)
{
    CHAR text[LONGEST + 1];
    SIZE_T length = 0, index, kept = 0;
    int unlike_nt;

    while (prefix != NULL && prefix[length] != 0 && length < LONGEST) {
        text[length] = prefix[length];
        length++;
    }
    length += FormatNarrowTelling(text + length, LONGEST - length, format, arguments, &unlike_nt);
    if (length > LONGEST) {
        length = LONGEST;
        text[LONGEST - 1] = '\n';
    }
    for (index = 0; index < length; index++)  /* a zero byte inside would end the text for Wine */
        if (text[index] != 0)
            text[kept++] = text[index];
    text[kept] = 0;
    return Say(unlike_nt ? component | UNLIKE_NT : component, level, "%s", text);
}

static ULONG NTAPI LabVDbgPrintEx(ULONG component, ULONG level, PCCH format, va_list arguments)
{
    return FormatHasFloatNarrow(format) ? Write(component | UNLIKE_NT, level, format, arguments)
                                        : Print(NULL, component, level, format, arguments);
}

static ULONG NTAPI LabVDbgPrintExWithPrefix(PCCH prefix, ULONG component, ULONG level, PCCH format, va_list arguments)
{
    return Print(prefix, component, level, format, arguments);
}

static ULONG __cdecl LabDbgPrintEx(ULONG component, ULONG level, PCCH format, ...)
{
    va_list arguments;
    ULONG status;

    va_start(arguments, format);
    status = LabVDbgPrintEx(component, level, format, arguments);
    va_end(arguments);
    return status;
}

/* Wine's DbgPrint, and DbgPrintReturnControlC, which Wine does not have: component and level are 0. */
static ULONG __cdecl LabDbgPrint(PCCH format, ...)
{
    va_list arguments;
    ULONG status;

    va_start(arguments, format);
    status = LabVDbgPrintEx(0, 0, format, arguments);
    va_end(arguments);
    return status;
}

const REPLACEMENT PrintReplacements[] = {
    { L"DbgPrint", (PVOID)LabDbgPrint },
    { L"DbgPrintEx", (PVOID)LabDbgPrintEx },
    { L"DbgPrintReturnControlC", (PVOID)LabDbgPrint },
    { L"vDbgPrintEx", (PVOID)LabVDbgPrintEx },
    { L"vDbgPrintExWithPrefix", (PVOID)LabVDbgPrintExWithPrefix },
};
const ULONG PrintReplacementCount = RTL_NUMBER_OF(PrintReplacements);
