"""Sources of drivers that need what the driver kit has: in the manner of its samples, and beyond what mingw-w64 brings."""

from __future__ import annotations

#: Constructs that are common in the samples of the WDK.
AS_IN_THE_WDK = """#define _WIN32_WINNT 0x0A00
#include <ntddk.h>
#include <ntstrsafe.h>
#pragma warning(disable: 4100 4201)
#pragma prefast(disable: 28719, "made up")
__pragma(warning(push))
#pragma comment(lib, "ntstrsafe.lib")
#pragma region forward
#define LAB_TAG 'gaTL'

typedef struct _COMMON { ULONG Kind; } COMMON;
typedef struct _QUEUE { COMMON; LIST_ENTRY Head; } QUEUE, *PQUEUE;

DRIVER_INITIALIZE DriverEntry;
DRIVER_UNLOAD LabUnload;
_Dispatch_type_(IRP_MJ_CREATE) _Dispatch_type_(IRP_MJ_CLOSE) DRIVER_DISPATCH LabCreateClose;

#ifdef ALLOC_PRAGMA
#pragma alloc_text(INIT, DriverEntry)
#pragma alloc_text(PAGE, LabUnload)
#endif
#pragma alloc_text(PAGE, LabCreateClose)
#pragma code_seg(push, "PAGE")
#pragma data_seg("PAGEDATA")
#pragma const_seg("PAGECONST")
#pragma bss_seg()
#pragma endregion

__declspec(code_seg("PAGE")) _IRQL_requires_max_(PASSIVE_LEVEL) _Must_inspect_result_
static NTSTATUS LabFill(_Out_writes_bytes_(size) PCHAR text, _In_ SIZE_T size, _In_ int count);

static NTSTATUS LabFill(PCHAR text, SIZE_T size, int count)
{
    ULONG i, limit = 3;
    for (i = 0; (int)i < count && i < limit; i++)
        NT_ASSERT(i < limit);
    return RtlStringCbPrintfA(text, size, "%d", count);
}

_Use_decl_annotations_
NTSTATUS LabCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PAGED_CODE();
    Irp->IoStatus.Status = STATUS_SUCCESS;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

VOID LabUnload(PDRIVER_OBJECT DriverObject)
{
}

NTSTATUS DriverEntry(_In_ PDRIVER_OBJECT DriverObject, _In_ PUNICODE_STRING RegistryPath)
{
    OBJECT_ATTRIBUTES attributes = { sizeof(attributes) };
    PQUEUE queue = (PQUEUE)ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(QUEUE), LAB_TAG);
    CHAR text[8];
    UNREFERENCED_PARAMETER(RegistryPath);
    if (!queue)
        return STATUS_INSUFFICIENT_RESOURCES;
    queue->Kind = 1;
    DriverObject->DriverUnload = LabUnload;
    DriverObject->MajorFunction[IRP_MJ_CREATE] = LabCreateClose;
    KdPrint(("loaded %p\\n", &attributes));
    ExFreePoolWithTag(queue, LAB_TAG);
    return LabFill(text, sizeof(text), 2);
}
__pragma(warning(pop))
"""


#: What mingw-w64's headers lack: wdk.h has it.
BEYOND_MINGW = """#include <ntddk.h>
#include <stdio.h>
#include "shared.h"
EXTERN_C_START
DRIVER_INITIALIZE DriverEntry;
EXTERN_C_END
DECLARE_GLOBAL_CONST_UNICODE_STRING(LabLink, L"\\\\DosDevices\\\\Lab");
static_assert(sizeof(ULONG) == 4, "a ULONG has four bytes");
static __forceinline ULONG LabOne(void) { return 1; }
static FORCEINLINE ULONG LabTwo(void) { return 2; }
FORCEINLINE static ULONG LabThree(void) { return 3; }
CFORCEINLINE ULONG LabFour(void) { return 4; }

_IRQL_saves_global_(QueuedSpinLock, *irql) _IRQL_always_function_max_(DISPATCH_LEVEL) _Kernel_float_used_
_Kernel_requires_resource_held_(Spin) _Post_ptr_invalid_ _Analysis_noreturn_
VOID LabLock(_Pre_valid_ _Notnull_ _Frees_ptr_ PVOID lock, _IRQL_uses_cancel_ KIRQL irql);
__drv_functionClass(LAB_START) __drv_sameIRQL __drv_clearDoInit(yes) __drv_preferredFunction("LabLock", "old")
__drv_mustHold(Lock) __drv_neverHoldCriticalRegion __drv_strictType(LONG, 1) __drv_ret(__drv_notPointer) __success(return)
ULONG LabOld(__in_bcount_opt(size) PVOID data, __in_range(0, 9) ULONG size, __deref_out_bcount(size) PVOID *out,
             __reserved int zero);
typedef __nullterminated const WCHAR *LAB_TEXT;

DECLSPEC_RESTRICT NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    CHAR text[40];
    UNREFERENCED_PARAMETER(DriverObject);
    UNREFERENCED_PARAMETER(RegistryPath);
    _IRQL_limited_to_(DISPATCH_LEVEL);
    NONPAGED_CODE();
    NT_ANALYSIS_ASSUME(DriverObject != NULL);
    __noop("never run", LabOld);
    (void)__noop;
    switch (LabOne()) {
    case 1: break;
    default: __assume(0);
    }
    sprintf(text, "%lu", LabOne() + LabTwo() + LabThree() + LabFour() + LabShared() + LabOther());
    DbgPrint("%s %wZ", text, &LabLink);
    return STATUS_SUCCESS;
}
"""


#: Words of the driver kit that come from headers and libraries which mingw-w64 lacks.
OF_THE_KIT = """#include <ntddk.h>
#include <wdmsec.h>
#include <DriverSpecs.h>
#include <dontuse.h>
_Analysis_mode_(_Analysis_code_type_kernel_driver_)
DRIVER_INITIALIZE DriverEntry;
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    static const GUID none;
    PDEVICE_OBJECT device;
    PVOID one, other;

    UNREFERENCED_PARAMETER(path);
    ExInitializeDriverRuntime(DrvRtPoolNxOptIn);
    one = ExAllocatePoolQuotaZero(NonPagedPoolNx | POOL_QUOTA_FAIL_INSTEAD_OF_RAISE, 8, 'onet');
    other = ExAllocatePoolPriorityZero(PagedPool, 8, 'otht', NormalPoolPriority | MdlMappingNoExecute);
    DbgPrint("%p %p", one, other);
    return IoCreateDeviceSecure(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &SDDL_DEVOBJ_SYS_ALL_ADM_ALL, &none, &device);
}
"""
