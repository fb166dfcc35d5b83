/*
 * exports.c - puts this driver's functions into the export table of ntoskrnl.exe.
 *
 * Drivers that are loaded later into the same process are linked to them. The table holds 32-bit offsets from the image's
 * base, so each entry leads to a jump within the 4 GB above it.
 */
#include "replaced.h"

#define THUNK_SIZE 16
#define THUNK_MEMORY 0x1000
#define ALLOCATION_GRANULARITY 0x10000
#define MAX_IMAGE_PAGES 0x4000  /* ntoskrnl.exe is smaller than 64 MB */

typedef NTSTATUS (NTAPI *PROTECT_VIRTUAL_MEMORY)(HANDLE, PVOID *, PSIZE_T, ULONG, PULONG);

/* mingw's headers leave out what drivers do not usually ask for. */
NTHALAPI ULONG NTAPI HalGetBusData(ULONG type, ULONG bus, ULONG slot, PVOID buffer, ULONG length);
NTSYSAPI NTSTATUS NTAPI ZwAllocateVirtualMemory(HANDLE, PVOID *, ULONG_PTR, PSIZE_T, ULONG, ULONG);

typedef struct _TABLE {
    UCHAR *base;            /* of ntoskrnl.exe */
    ULONG *functions;       /* offsets from it */
    ULONG count;
    ULONG *names;           /* of those that have one */
    USHORT *numbers;        /* which function each name is of */
    ULONG named;
    UCHAR *thunks;          /* where the next one goes */
} TABLE;

static PVOID KernelRoutine(const WCHAR *name)
{
    UNICODE_STRING text;

    RtlInitUnicodeString(&text, name);
    return MmGetSystemRoutineAddress(&text);
}

/* Where the image that contains this address begins; images begin on a page, and so does their MZ header. */
static UCHAR *ImageBase(PVOID inside)
{
    UCHAR *page = (UCHAR *)((ULONG_PTR)inside & ~(ULONG_PTR)0xFFF);
    ULONG count;

    for (count = 0; count < MAX_IMAGE_PAGES; count++, page -= 0x1000) {
        LONG offset;

        if (page[0] != 'M' || page[1] != 'Z')
            continue;
        offset = *(LONG *)(page + 0x3C);
        if (offset > 0 && offset < 0x1000 && *(ULONG *)(page + offset) == 0x00004550)
            return page;
    }
    return NULL;
}

/* Executable memory within the 4 GB above the image's base: an export table holds 32-bit offsets from it. */
static UCHAR *AllocateThunks(UCHAR *base, SIZE_T image_size)
{
    ULONG_PTR at = ((ULONG_PTR)base + image_size + ALLOCATION_GRANULARITY) & ~(ULONG_PTR)(ALLOCATION_GRANULARITY - 1);
    ULONG_PTR end = (ULONG_PTR)base + 0x7FFF0000;

    for (; at < end; at += ALLOCATION_GRANULARITY) {
        PVOID address = (PVOID)at;
        SIZE_T size = THUNK_MEMORY;

        if (NT_SUCCESS(ZwAllocateVirtualMemory((HANDLE)-1, &address, 0, &size, MEM_RESERVE | MEM_COMMIT,
                                               PAGE_EXECUTE_READWRITE)))
            return (UCHAR *)address;
    }
    return NULL;
}

/* mov rax, function; jmp rax */
static VOID WriteThunk(UCHAR *thunk, PVOID function)
{
    thunk[0] = 0x48;
    thunk[1] = 0xB8;
    *(ULONG64 UNALIGNED *)(thunk + 2) = (ULONG64)(ULONG_PTR)function;
    thunk[10] = 0xFF;
    thunk[11] = 0xE0;
}

/* The entry of an export in the table, or NULL. Names are ASCII. */
static ULONG *FindExport(const TABLE *table, const WCHAR *name)
{
    ULONG index;

    for (index = 0; index < table->named; index++) {
        const CHAR *known = (const CHAR *)(table->base + table->names[index]);
        ULONG at = 0;

        while (name[at] != 0 && (WCHAR)known[at] == name[at])
            at++;
        if (name[at] == 0 && known[at] == 0)
            return &table->functions[table->numbers[index]];
    }
    return NULL;
}

static ULONG Replace(TABLE *table, const REPLACEMENT *replacements, ULONG count)
{
    ULONG which, replaced = 0;

    for (which = 0; which < count; which++) {
        ULONG *entry = FindExport(table, replacements[which].name);

        if (entry == NULL)
            continue;
        WriteThunk(table->thunks, replacements[which].function);
        *entry = (ULONG)(table->thunks - table->base);
        table->thunks += THUNK_SIZE;
        replaced++;
    }
    return replaced;
}

/* The table of the module that has `inside`; writable until its owner is done. */
static NTSTATUS OpenTable(PVOID inside, PROTECT_VIRTUAL_MEMORY protect, TABLE *table, PULONG old_protection)
{
    UCHAR *headers, *exports;
    SIZE_T size;
    PVOID place;

    table->base = inside != NULL ? ImageBase(inside) : NULL;
    if (table->base == NULL)
        return STATUS_NOT_SUPPORTED;
    headers = table->base + *(LONG *)(table->base + 0x3C) + 24;             /* optional header, PE32+ */
    exports = table->base + *(ULONG *)(headers + 112);                      /* first data directory */
    table->functions = (ULONG *)(table->base + *(ULONG *)(exports + 28));
    table->count = *(ULONG *)(exports + 20);
    table->named = *(ULONG *)(exports + 24);
    table->names = (ULONG *)(table->base + *(ULONG *)(exports + 32));
    table->numbers = (USHORT *)(table->base + *(ULONG *)(exports + 36));
    table->thunks = AllocateThunks(table->base, *(ULONG *)(headers + 56));  /* SizeOfImage */
    if (table->thunks == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    place = table->functions;
    size = table->count * sizeof(*table->functions);
    return NT_SUCCESS(protect((HANDLE)-1, &place, &size, PAGE_READWRITE, old_protection)) ? STATUS_SUCCESS : STATUS_ACCESS_DENIED;
}

static VOID CloseTable(TABLE *table, PROTECT_VIRTUAL_MEMORY protect, ULONG protection)
{
    SIZE_T size = table->count * sizeof(*table->functions);
    PVOID place = table->functions;

    protect((HANDLE)-1, &place, &size, protection, &protection);
}

NTSTATUS ReplaceExports(PULONG replaced, PULONG wanted)
{
    PROTECT_VIRTUAL_MEMORY protect = (PROTECT_VIRTUAL_MEMORY)KernelRoutine(L"ZwProtectVirtualMemory");
    ULONG protection;
    NTSTATUS status;
    TABLE table;

    *replaced = 0;
    *wanted = TimerReplacementCount + DpcReplacementCount + PrintReplacementCount + StringReplacementCount + PciReplacementCount
              + InterruptReplacementCount + HalReplacementCount + CsqReplacementCount + RequestorReplacementCount
              + ExceptionReplacementCount;
    if (protect == NULL)
        return STATUS_NOT_SUPPORTED;
    status = OpenTable(KernelRoutine(L"KeSetTimerEx"), protect, &table, &protection);
    if (!NT_SUCCESS(status))
        return status;
    *replaced += Replace(&table, TimerReplacements, TimerReplacementCount);
    *replaced += Replace(&table, DpcReplacements, DpcReplacementCount);
    *replaced += Replace(&table, PrintReplacements, PrintReplacementCount);
    *replaced += Replace(&table, StringReplacements, StringReplacementCount);
    *replaced += Replace(&table, PciReplacements, PciReplacementCount);
    *replaced += Replace(&table, InterruptReplacements, InterruptReplacementCount);
    *replaced += Replace(&table, CsqReplacements, CsqReplacementCount);
    *replaced += Replace(&table, RequestorReplacements, RequestorReplacementCount);
    *replaced += Replace(&table, ExceptionReplacements, ExceptionReplacementCount);
    CloseTable(&table, protect, protection);

    /* Named as a function of its own, and not looked up: the import has hal.dll loaded. */
    status = OpenTable((PVOID)HalGetBusData, protect, &table, &protection);
    if (!NT_SUCCESS(status))
        return status;
    *replaced += Replace(&table, HalReplacements, HalReplacementCount);
    CloseTable(&table, protect, protection);
    return STATUS_SUCCESS;
}
