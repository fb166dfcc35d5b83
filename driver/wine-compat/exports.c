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
NTSYSAPI NTSTATUS NTAPI ZwAllocateVirtualMemory(HANDLE, PVOID *, ULONG_PTR, PSIZE_T, ULONG, ULONG);

typedef struct _TABLE {
    UCHAR *base;            /* of ntoskrnl.exe */
    ULONG *functions;       /* offsets from it */
    ULONG count;
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

static ULONG Replace(TABLE *table, const REPLACEMENT *replacements, ULONG count)
{
    ULONG which, index, replaced = 0;

    for (which = 0; which < count; which++) {
        PVOID original = KernelRoutine(replacements[which].name);

        WriteThunk(table->thunks, replacements[which].function);
        for (index = 0; original != NULL && index < table->count; index++) {
            if (table->base + table->functions[index] == original) {
                table->functions[index] = (ULONG)(table->thunks - table->base);
                replaced++;
                break;
            }
        }
        table->thunks += THUNK_SIZE;
    }
    return replaced;
}

NTSTATUS ReplaceExports(PULONG replaced)
{
    PROTECT_VIRTUAL_MEMORY protect = (PROTECT_VIRTUAL_MEMORY)KernelRoutine(L"ZwProtectVirtualMemory");
    PVOID known = KernelRoutine(L"KeSetTimerEx");
    ULONG old_protection;
    UCHAR *headers, *exports;
    TABLE table;
    SIZE_T size;
    PVOID place;

    *replaced = 0;
    table.base = known != NULL ? ImageBase(known) : NULL;
    if (protect == NULL || table.base == NULL)
        return STATUS_NOT_SUPPORTED;
    headers = table.base + *(LONG *)(table.base + 0x3C) + 24;            /* optional header, PE32+ */
    exports = table.base + *(ULONG *)(headers + 112);                    /* first data directory */
    table.functions = (ULONG *)(table.base + *(ULONG *)(exports + 28));
    table.count = *(ULONG *)(exports + 20);
    table.thunks = AllocateThunks(table.base, *(ULONG *)(headers + 56)); /* SizeOfImage */
    if (table.thunks == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;

    place = table.functions;
    size = table.count * sizeof(*table.functions);
    if (!NT_SUCCESS(protect((HANDLE)-1, &place, &size, PAGE_READWRITE, &old_protection)))
        return STATUS_ACCESS_DENIED;
    *replaced += Replace(&table, TimerReplacements, TimerReplacementCount);
    *replaced += Replace(&table, PrintReplacements, PrintReplacementCount);
    *replaced += Replace(&table, StringReplacements, StringReplacementCount);
    protect((HANDLE)-1, &place, &size, old_protection, &old_protection);
    return STATUS_SUCCESS;
}
