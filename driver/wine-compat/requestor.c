/*
 * requestor.c - what a driver does with the buffers and handles of the program that calls it.
 *
 * Buffers: Wine copies those of a request, of METHOD_NEITHER as well, into the process of the drivers and back. The address in
 * an MDL is therefore one that the driver can use, and the mapping of the MDL. Wine's MmMapLockedPagesSpecifyCache returns NULL,
 * which a driver takes for a lack of memory; its MmProbeAndLockPages leaves the flags as they are.
 *
 * Handles: Wine's ObReferenceObjectByHandle returns STATUS_NOT_IMPLEMENTED for UserMode. The handle is one of the current
 * process, which is the program's in a dispatch routine: it is duplicated from there.
 */
#include "replaced.h"

#define GENERIC_BITS (GENERIC_READ | GENERIC_WRITE | GENERIC_EXECUTE | GENERIC_ALL)

/* OBJECT_BASIC_INFORMATION, as far as it is needed; mingw's headers give it another name in each version. */
typedef struct _BASIC_FACTS {
    ULONG attributes;
    ACCESS_MASK granted;
    ULONG rest[12];
} BASIC_FACTS;

static VOID NTAPI LabProbeAndLockPages(PMDL mdl, KPROCESSOR_MODE mode, LOCK_OPERATION operation)
{
    UNREFERENCED_PARAMETER(mode);
    /* Memory that is not there raises, as on NT. */
    TouchPages(MmGetMdlVirtualAddress(mdl), MmGetMdlByteCount(mdl), operation != IoReadAccess);
    mdl->MdlFlags |= MDL_PAGES_LOCKED;
    if (operation != IoReadAccess)
        mdl->MdlFlags |= MDL_WRITE_OPERATION;
}

static PVOID NTAPI LabMapLockedPagesSpecifyCache(PMDL mdl, KPROCESSOR_MODE mode, MEMORY_CACHING_TYPE caching, PVOID address,
                                                 ULONG bug_check, ULONG priority)
{
    UNREFERENCED_PARAMETER(caching);
    UNREFERENCED_PARAMETER(address);
    UNREFERENCED_PARAMETER(bug_check);
    UNREFERENCED_PARAMETER(priority);
    if (mode != KernelMode) {
        /* Into the program's own memory: that is impossible from here. */
        SayLacking("ntoskrnl.exe", "MmMapLockedPagesSpecifyCache");
        return NULL;
    }
    if ((mdl->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL)) == 0) {
        mdl->MappedSystemVa = MmGetMdlVirtualAddress(mdl);
        mdl->MdlFlags |= MDL_MAPPED_TO_SYSTEM_VA;
    }
    return mdl->MappedSystemVa;
}

static PVOID NTAPI LabMapLockedPages(PMDL mdl, KPROCESSOR_MODE mode)
{
    return LabMapLockedPagesSpecifyCache(mdl, mode, MmCached, NULL, TRUE, HighPagePriority);
}

static VOID NTAPI LabUnmapLockedPages(PVOID address, PMDL mdl)
{
    UNREFERENCED_PARAMETER(address);
    mdl->MdlFlags &= ~(MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL_HAS_BEEN_MAPPED);
}

static VOID NTAPI LabUnlockPages(PMDL mdl)
{
    if (mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA)
        LabUnmapLockedPages(mdl->MappedSystemVa, mdl);
    mdl->MdlFlags &= ~(MDL_PAGES_LOCKED | MDL_WRITE_OPERATION);
}

/* A handle of the drivers' process for one of the current process, with the same access. */
static NTSTATUS Duplicate(HANDLE handle, PHANDLE duplicate)
{
    OBJECT_ATTRIBUTES attributes;
    CLIENT_ID id;
    HANDLE process;
    NTSTATUS status;

    id.UniqueProcess = PsGetCurrentProcessId();
    id.UniqueThread = NULL;
    InitializeObjectAttributes(&attributes, NULL, 0, NULL, NULL);
    status = ZwOpenProcess(&process, PROCESS_DUP_HANDLE, &attributes, &id);
    if (!NT_SUCCESS(status)) {
        SayLacking("ntoskrnl.exe", "ObReferenceObjectByHandle");
        return status;
    }
    status = ZwDuplicateObject(process, handle, (HANDLE)-1, duplicate, 0, 0, DUPLICATE_SAME_ACCESS);
    ZwClose(process);
    return status;
}

static NTSTATUS NTAPI LabReferenceObjectByHandle(HANDLE handle, ACCESS_MASK access, POBJECT_TYPE type, KPROCESSOR_MODE mode,
                                                 PVOID *object, POBJECT_HANDLE_INFORMATION information)
{
    BASIC_FACTS facts;
    HANDLE duplicate;
    NTSTATUS status;
    ULONG length;

    if (mode == KernelMode)
        return ObReferenceObjectByHandle(handle, access, type, mode, object, information);
    *object = NULL;
    status = Duplicate(handle, &duplicate);
    if (!NT_SUCCESS(status))
        return status;
    RtlZeroMemory(&facts, sizeof(facts));
    status = ZwQueryObject(duplicate, 0 /* basic information */, &facts, sizeof(facts), &length);
    if (NT_SUCCESS(status) && (access & ~GENERIC_BITS & ~facts.granted) != 0)
        status = STATUS_ACCESS_DENIED;
    if (NT_SUCCESS(status))
        status = ObReferenceObjectByHandle(duplicate, access, type, KernelMode, object, NULL);
    if (NT_SUCCESS(status) && information != NULL) {
        information->HandleAttributes = facts.attributes;
        information->GrantedAccess = facts.granted;
    }
    ZwClose(duplicate);
    return status;
}

const REPLACEMENT RequestorReplacements[] = {
    { L"MmProbeAndLockPages", (PVOID)LabProbeAndLockPages },
    { L"MmMapLockedPages", (PVOID)LabMapLockedPages },
    { L"MmMapLockedPagesSpecifyCache", (PVOID)LabMapLockedPagesSpecifyCache },
    { L"MmUnmapLockedPages", (PVOID)LabUnmapLockedPages },
    { L"MmUnlockPages", (PVOID)LabUnlockPages },
    { L"ObReferenceObjectByHandle", (PVOID)LabReferenceObjectByHandle },
};
const ULONG RequestorReplacementCount = RTL_NUMBER_OF(RequestorReplacements);
