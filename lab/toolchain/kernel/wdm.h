/*
 * Found before the wdm.h of mingw-w64, which ntddk.h and ntifs.h include, too: the API level where the source names none, and
 * what that header lacks. Names are given to own functions after it, so that a newer mingw-w64 which has them does no harm.
 */
#ifndef LAB_WDM_H
#define LAB_WDM_H
#pragma GCC system_header

/* Not on the command line, and not before the source's first line: a source may define its own, and GCC warns of a second one. */
#ifndef _WIN32_WINNT
#ifdef NTDDI_VERSION
#define _WIN32_WINNT (NTDDI_VERSION >> 16)
#else
#define _WIN32_WINNT 0x0A00
#endif
#endif

#if defined(__cplusplus) || defined(__clang__)
/*
 * It defines these two once more after <intrin.h>, which GCC does not take in C++: not even `#include <ntddk.h>` compiles. In C,
 * Clang leaves both in each object file, and two of them do not link.
 */
#include <intrin.h>
#define InterlockedBitTestAndSet LabBitTestAndSet
#define InterlockedBitTestAndReset LabBitTestAndReset
#include_next <wdm.h>
#undef InterlockedBitTestAndSet
#undef InterlockedBitTestAndReset
#else
#include_next <wdm.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* mingw-w64 has it for x86 alone; what is meant is a full fence. */
static __forceinline void LabMemoryBarrier(void)
{
    __sync_synchronize();
}
#define KeMemoryBarrier LabMemoryBarrier

/* Since Windows 10 2004; https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-exallocatepool2 */
typedef ULONG64 POOL_FLAGS;
#ifndef POOL_FLAG_NON_PAGED
#define POOL_FLAG_USE_QUOTA 0x0000000000000001ULL
#define POOL_FLAG_UNINITIALIZED 0x0000000000000002ULL
#define POOL_FLAG_SESSION 0x0000000000000004ULL
#define POOL_FLAG_CACHE_ALIGNED 0x0000000000000008ULL
#define POOL_FLAG_RESERVED1 0x0000000000000010ULL
#define POOL_FLAG_RAISE_ON_FAILURE 0x0000000000000020ULL
#define POOL_FLAG_NON_PAGED 0x0000000000000040ULL
#define POOL_FLAG_NON_PAGED_EXECUTE 0x0000000000000080ULL
#define POOL_FLAG_PAGED 0x0000000000000100ULL
#endif
NTKERNELAPI PVOID NTAPI ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag);

/* In Microsoft's kit these two are inline as well. */
static __forceinline PVOID LabAllocatePoolZero(POOL_TYPE type, SIZE_T size, ULONG tag)
{
    PVOID memory = ExAllocatePoolWithTag(type, size, tag);
    if (memory)
        RtlZeroMemory(memory, size);
    return memory;
}
#define ExAllocatePoolZero LabAllocatePoolZero
#define ExAllocatePoolUninitialized ExAllocatePoolWithTag
static __forceinline PVOID LabAllocatePoolQuotaZero(POOL_TYPE type, SIZE_T size, ULONG tag)
{
    PVOID memory = ExAllocatePoolWithQuotaTag(type, size, tag);
    if (memory)
        RtlZeroMemory(memory, size);
    return memory;
}
#define ExAllocatePoolQuotaZero LabAllocatePoolQuotaZero
#define ExAllocatePoolQuotaUninitialized ExAllocatePoolWithQuotaTag
static __forceinline PVOID LabAllocatePoolPriorityZero(POOL_TYPE type, SIZE_T size, ULONG tag, EX_POOL_PRIORITY priority)
{
    PVOID memory = ExAllocatePoolWithTagPriority(type, size, tag, priority);
    if (memory)
        RtlZeroMemory(memory, size);
    return memory;
}
#define ExAllocatePoolPriorityZero LabAllocatePoolPriorityZero
#define ExAllocatePoolPriorityUninitialized ExAllocatePoolWithTagPriority

/* In Microsoft's kit it is inline as well. What it opts in to, memory that cannot be executed, changes nothing for a sound driver. */
#ifndef DrvRtPoolNxOptIn
#define DrvRtPoolNxOptIn 0x00000001
#endif
static __forceinline void LabInitializeDriverRuntime(ULONG flags)
{
    (void)flags;
}
#define ExInitializeDriverRuntime LabInitializeDriverRuntime

/*
 * The kernel exports variables of type POBJECT_TYPE, and drivers write *ExEventObjectType: the name is the variable's address. In
 * mingw-w64 10 it is dllimport, so that it is the variable's value, and the driver passes the first bytes of the type itself.
 */
#define CmKeyObjectType ((POBJECT_TYPE *)&CmKeyObjectType)
#define ExEventObjectType ((POBJECT_TYPE *)&ExEventObjectType)
#define ExSemaphoreObjectType ((POBJECT_TYPE *)&ExSemaphoreObjectType)
#define IoFileObjectType ((POBJECT_TYPE *)&IoFileObjectType)
#define PsProcessType ((POBJECT_TYPE *)&PsProcessType)
#define PsThreadType ((POBJECT_TYPE *)&PsThreadType)
#define SeTokenObjectType ((POBJECT_TYPE *)&SeTokenObjectType)

/* Since Windows 8; https://learn.microsoft.com/windows-hardware/drivers/kernel/using-mdls */
#ifndef MdlMappingNoWrite
#define MdlMappingNoWrite 0x80000000
#define MdlMappingNoExecute 0x40000000
#endif

#if defined(__clang__) && !defined(__cplusplus)
/* Microsoft's excpt.h has them for drivers in C. GCC knows no __try, and a driver that is built by it may use the names. */
#define try __try
#define except __except
#define finally __finally
#define leave __leave
#endif

#ifdef __cplusplus
}
#endif
#endif
