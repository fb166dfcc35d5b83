"""Bugchecks that say by a parameter which rule was broken: the rule in words.

The numbers are from Microsoft's pages of the bugchecks 0xC4, 0xC9, 0xE6, 0x139 and 0x1F2, below
https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-code-reference2; the words are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

#: Driver Verifier's rules (0xC4) of a driver that unloads with something left: they are found long after the cause.
LEFT_AT_UNLOAD = frozenset({0x60, 0x62, 0xDA, 0xDD})

_OVERRUN = "memory was freed that had been written past its end"
_BAD_FREE = "ExFreePool found its own records of the pool damaged: look for an overrun, or a wrong address"
_LEAK = "the driver unloaded without freeing its pool allocations (a leak)"
_APC_COUNT = "returned with another APC disable count: KeEnterCriticalRegion and KeLeaveCriticalRegion are not paired"

_VERIFIER = {
    0x00: "a pool allocation of zero bytes was asked for",
    0x01: "paged pool was allocated above APC_LEVEL",
    0x02: "nonpaged pool was allocated above DISPATCH_LEVEL",
    0x10: "an address was freed that no allocation returned",
    0x11: "paged pool was freed above APC_LEVEL",
    0x12: "nonpaged pool was freed above DISPATCH_LEVEL",
    0x13: "pool was freed twice",
    0x14: "pool was freed twice",
    0x16: "pool was freed at a bad address, or with bad parameters",
    0x30: "KeRaiseIrql got an IRQL that is lower than the present one, or too high",
    0x31: "KeLowerIrql got an IRQL that is higher than the present one, or not valid",
    0x32: "KeReleaseSpinLock was called at another IRQL than DISPATCH_LEVEL, perhaps twice",
    0x33: "a fast mutex was acquired above APC_LEVEL",
    0x34: "a fast mutex was released at another IRQL than APC_LEVEL",
    0x37: "a resource was acquired while APCs were not disabled",
    0x38: "a resource was released while APCs were not disabled",
    0x3C: "ObReferenceObjectByHandle got a bad handle",
    0x3E: "KeLeaveCriticalRegion was called outside of a critical region",
    0x3F: "an object with a reference count of zero was referenced or dereferenced; parameter 2 is the object",
    0x40: "KeAcquireSpinLockAtDpcLevel was called below DISPATCH_LEVEL",
    0x41: "KeReleaseSpinLockFromDpcLevel was called below DISPATCH_LEVEL",
    0x42: "KeAcquireSpinLock was called above DISPATCH_LEVEL",
    0x51: _OVERRUN,
    0x52: _OVERRUN,
    0x53: _OVERRUN,
    0x54: _OVERRUN,
    0x59: _OVERRUN,
    0x60: _LEAK,
    0x61: "a thread of the driver allocated pool while the driver unloaded",
    0x62: _LEAK,
    0x70: "MmProbeAndLockPages was called above DISPATCH_LEVEL",
    0x76: "MmMapLockedPagesSpecifyCache was called for kernel mode above DISPATCH_LEVEL",
    0x77: "MmMapLockedPagesSpecifyCache was called for user mode above APC_LEVEL",
    0x78: "MmUnlockPages was called above DISPATCH_LEVEL",
    0x79: "MmUnmapLockedPages was called for kernel mode above DISPATCH_LEVEL",
    0x7A: "MmUnmapLockedPages was called for user mode above APC_LEVEL",
    0x7C: "MmUnlockPages got an MDL whose pages were never locked",
    0x7D: "MmUnlockPages got an MDL of nonpaged pool",
    0x7F: "MmBuildMdlForNonPagedPool got an MDL of paged pool",
    0x80: "KeSetEvent was called above DISPATCH_LEVEL",
    0x81: "MmMapLockedPages is obsolete: use MmMapLockedPagesSpecifyCache with BugCheckOnFailure FALSE",
    0x82: "MmMapLockedPagesSpecifyCache was called with BugCheckOnFailure TRUE",
    0x83: "MmMapIoSpace was called for pages that are not locked",
    0x91: "the stack was switched in a way that Windows does not support",
    0xB0: "MmProbeAndLockPages got an MDL with wrong flags",
    0xB4: "MmUnlockPages got a partial MDL",
    0xB8: "IoFreeMdl got an MDL whose pages are still mapped",
    0xC0: "IoCallDriver was called with interrupts disabled",
    0xC1: "a dispatch routine returned with interrupts disabled",
    0xC5: f"a dispatch routine {_APC_COUNT}",
    0xC6: f"a fast I/O routine {_APC_COUNT}",
    0xCA: "a lookaside list was initialized again",
    0xCB: "a lookaside list was deleted that was not initialized",
    0xCC: "pool was freed that still has an active lookaside list",
    0xD0: "an ERESOURCE was initialized again",
    0xD1: "an ERESOURCE was deleted that was not initialized",
    0xD2: "pool was freed that still has an active ERESOURCE",
    0xD5: "IoReleaseRemoveLock got another tag than IoAcquireRemoveLock",
    0xD6: "IoReleaseRemoveLockAndWait got another tag than IoAcquireRemoveLock",
    0xD7: "a remove lock was initialized again",
    0xDA: "the driver unloaded without deregistering its WMI callback",
    0xDB: "a device object was deleted that is still registered with WMI",
    0xDC: "EtwUnregister got an invalid handle",
    0xDD: "the driver unloaded without calling EtwUnregister",
    0xE0: "a kernel function got a user-mode address",
    0xE1: "a synchronization object lies at an invalid or pageable address",
    0xE2: "an IRP of kernel mode has a user-mode address",
    0xE3: "a Zw function got a user-mode address",
    0xE4: "a Zw function got a malformed UNICODE_STRING",
    0xE5: "a kernel function was called at a wrong IRQL",
    0xE6: "a Zw function was called above PASSIVE_LEVEL, or with special kernel APCs disabled",
    0xEA: "a pushlock was acquired while APCs were enabled",
    0xEB: "a pushlock was released while APCs were enabled",
    0xF0: "memcpy got buffers that overlap",
    0xF5: "ObReferenceObjectByHandle got a NULL handle",
    0xF6: "a user-mode handle was used as one of kernel mode",
    0xF7: "a kernel handle was used as one of user mode",
    0xFA: "a completion routine returned at another IRQL",
    0xFB: f"a completion routine {_APC_COUNT}",
    0x105: "an IRP was freed with ExFreePool instead of IoFreeIrp",
    0x110: "an interrupt service routine changed the extended processor context",
    0x111: "an interrupt service routine returned at another IRQL",
    0x115: "the shutdown takes longer than 20 minutes; parameter 2 is its thread, which may be deadlocked",
    0x11A: "KeEnterCriticalRegion was called above APC_LEVEL",
    0x11B: "KeLeaveCriticalRegion was called above APC_LEVEL",
    0x120: "a wait above DISPATCH_LEVEL",
    0x121: "a wait without a timeout at DISPATCH_LEVEL",
    0x122: "a wait with a timeout other than zero at DISPATCH_LEVEL",
    0x123: "a wait for user mode on an object on the kernel stack",
    0x130: "a work item lies in session space",
    0x131: "a work item lies in pageable memory",
    0x135: "a cancelled IRP was not completed in time; parameter 2 is the IRP, 3 the milliseconds that were allowed",
    0x13A: _BAD_FREE,
    0x13B: _BAD_FREE,
    0x13C: _BAD_FREE,
    0x13D: _BAD_FREE,
    0x13E: _BAD_FREE,
    0x13F: _BAD_FREE,
    0x140: "an MDL that is not locked was made of pageable memory",
    0x1000: "a deadlock: the thread acquired a resource that it holds; parameter 2 is the resource",
    0x1001: "a possible deadlock: locks were acquired in another order before; `!deadlock` in the dump shows both orders",
    0x1002: "a lock was acquired that was not initialized",
    0x1003: "locks were released in a wrong order; parameter 2 is the lock, 3 the one to release first",
    0x1004: "a lock was released by another thread than the one that acquired it",
    0x1005: "a lock was initialized again",
    0x1007: "a lock was released that was not acquired",
    0x1008: "a lock was acquired by a function for another kind of lock",
    0x1009: "a lock was released by a function for another kind of lock",
    0x100A: "a thread ended that still holds a lock",
    0x100B: "a lock was deleted that a thread still holds",
}
#: Rules of "DDI compliance checking", by the name of their page below /windows-hardware/drivers/devtest/.
_DDI = {
    0x20002: "IrqlApcLte",
    0x20003: "IrqlDispatch",
    0x20004: "IrqlExAllocatePool",
    0x20005: "IrqlExApcLte1",
    0x20006: "IrqlExApcLte2",
    0x20007: "IrqlExApcLte3",
    0x20008: "IrqlExPassive",
    0x20009: "IrqlIoApcLte",
    0x2000A: "IrqlIoPassive1",
    0x2000B: "IrqlIoPassive2",
    0x2000C: "IrqlIoPassive3",
    0x2000D: "IrqlIoPassive4",
    0x2000E: "IrqlIoPassive5",
    0x2000F: "IrqlKeApcLte1",
    0x20010: "IrqlKeApcLte2",
    0x20011: "IrqlKeDispatchLte",
    0x20015: "IrqlKeReleaseSpinLock",
    0x20016: "IrqlKeSetEvent",
    0x20019: "IrqlMmApcLte",
    0x2001A: "IrqlMmDispatch",
    0x2001B: "IrqlObPassive",
    0x2001C: "IrqlPsPassive",
    0x2001D: "IrqlReturn",
    0x2001E: "IrqlRtlPassive",
    0x2001F: "IrqlZwPassive",
    0x20022: "IrqlIoDispatch",
    0x40003: "CriticalRegions",
    0x40006: "QueuedSpinLock",
    0x40007: "QueuedSpinLockRelease",
    0x40009: "SpinLock",
    0x4000B: "SpinlockRelease",
    0x4000E: "GuardedRegions",
    0x4100B: "RequestedPowerIrp",
    0x4100F: "IoSetCompletionExCompleteIrp",
    0x43006: "PnpRemove",
}
_FIRST_DDI, _LAST_DDI = 0x20000, 0x9FFFF

_IRP = {
    0x01: "something was freed as an IRP that is none",
    0x02: "an IRP was freed that still belongs to a thread",
    0x03: "IoCallDriver got something that is no IRP",
    0x04: "IoCallDriver got an invalid device object",
    0x05: "a dispatch routine returned at another IRQL; parameter 3 is the IRQL before, 4 after",
    0x06: "IoCompleteRequest got an IRP whose status is STATUS_PENDING, or -1",
    0x07: "IoCompleteRequest got an IRP whose cancel routine is still set; parameter 2 is the routine",
    0x08: "IoBuildAsynchronousFsdRequest got an invalid buffer",
    0x09: "IoBuildDeviceIoControlRequest got an invalid buffer",
    0x0A: "IoInitializeTimer got a device object that has a timer already",
    0x0C: "the I/O status block of an IRP lies on a stack frame that is gone",
    0x0D: "the event of an IRP lies on a stack frame that is gone",
    0x0E: "IoCompleteRequest was called above DISPATCH_LEVEL",
    0x0F: "a create request has a file object that was closed, or whose open was cancelled",
    0x10: "IoCallDriver was called above DISPATCH_LEVEL",
    0x11: "a fast I/O routine returned at another IRQL",
    0x12: "a dispatch routine returned at another IRQL",
    0x201: "a device was deleted while another one lies below it: was IoDetachDevice called?",
    0x202: "a device was detached that is attached to nothing, perhaps twice",
    0x203: "IoCallDriver got an IRP whose cancel routine is still set",
    0x204: "IoCallDriver got NULL as its device object",
    0x205: "an IRP was forwarded that a lower driver still holds: look at the handling of STATUS_PENDING",
    0x206: "an IRP was forwarded with a wrong stack location: use IoCopyCurrentIrpStackLocationToNext",
    0x207: "a stack location was copied by hand, with the completion routine of the upper driver",
    0x208: "an IRP is about to run out of stack locations",
    0x209: "an IRP was completed that a lower driver still holds: look at the handling of STATUS_PENDING",
    0x20A: "IoFreeIrp got an IRP that is in use",
    0x20B: "IoFreeIrp got an IRP that is in use",
    0x20C: "IoFreeIrp got an IRP that is queued to a thread",
    0x20D: "IoInitializeIrp got an IRP of IoAllocateIrp: use IoReuseIrp",
    0x20E: "a PnP IRP was sent whose status was not STATUS_NOT_SUPPORTED",
    0x20F: "a power IRP was sent whose status was not STATUS_NOT_SUPPORTED",
    0x210: "a WMI IRP was sent whose status was not STATUS_NOT_SUPPORTED",
    0x211: "an IRP was forwarded past a device of the stack",
    0x212: "the stack locations of an IRP are damaged",
    0x213: "the status of an IRP was changed that the driver does not handle",
    0x214: "the information of an IRP was changed that the driver does not handle",
}

_DMA = {
    0x00: "a DMA error: parameter 2 = 1: too many bytes were flushed; 2: no contiguous map registers are left",
    0x01: "the performance counter went back",
    0x02: "the performance counter went forward too fast",
    0x03: "a common buffer was freed twice",
    0x04: "an adapter channel was freed twice",
    0x05: "map registers were freed twice",
    0x06: "a scatter/gather list was freed twice",
    0x07: "an adapter was released before its common buffers; parameter 3 is how many are left",
    0x08: "an adapter was released before its channels, common buffers or scatter/gather lists",
    0x09: "an adapter was released before its map registers; parameter 3 is how many are left",
    0x0A: "an adapter was released before its scatter/gather lists; parameter 3 is how many are left",
    0x0B: "more than one adapter channel was allocated at a time",
    0x0C: "too many map registers were allocated at a time",
    0x0D: "the adapter's buffers were not flushed",
    0x0E: "a DMA transfer of a buffer that is pageable and not locked",
    0x0F: "driver or device wrote outside of a DMA buffer; parameter 2 says where (1 before it, 2 after it)",
    0x10: "map registers were freed that are still in use",
    0x11: "an adapter has too many references",
    0x13: "a DMA function was called at a wrong IRQL",
    0x14: "a DMA function was called at a wrong IRQL",
    0x15: "too many map registers were allocated",
    0x16: "a buffer was flushed that is not mapped",
    0x18: "a DMA function got an adapter that was released",
    0x19: "a DMA function got NULL as its adapter",
    0x1B: "an address lies outside of its MDL",
    0x1D: "a buffer was mapped that is mapped already",
    0x1E: "HalGetAdapter is obsolete: use IoGetDmaAdapter",
    0x1F: "a DMA buffer lies outside of its first MDL, or is not aligned; parameter 2 says which",
    0x20: "a map register was flushed that is not mapped",
    0x21: "a buffer of zero bytes was mapped",
    0x22: "a DMA buffer is not mapped in the system's address space",
    0x23: "a channel was flushed that was neither completed nor cancelled",
    0x24: "a buffer is shorter than the requested length",
    0x25: "the version of a device description is unknown",
    0x26: "the IOMMU stopped a DMA access; parameter 3 is mostly its physical address",
}

_SECURITY = {
    0: "a buffer on the stack was overrun",
    1: "a wrong virtual function table: the C++ object was overwritten",
    2: "a buffer on the stack was overrun (stack cookie)",
    3: "a LIST_ENTRY is damaged: an entry was removed or inserted twice, or freed while in its list",
    5: "a function got a parameter that it treats as fatal",
    6: "the stack cookie was not initialized by the loader",
    7: "a fatal exit was asked for",
    8: "an array was used with an index outside of it",
    9: "RtlQueryRegistryValues was called with RTL_QUERY_REGISTRY_DIRECT and without a type check",
    10: "an indirect call went to an address that is no function (control flow guard)",
    11: "a write was stopped by the write guard",
    14: "the reference count of an object is invalid",
    18: "a jump to an invalid jmp_buf",
    19: "read-only data was changed",
    21: "the chain of exception handlers is damaged",
    24: "the base address of an image is invalid",
    26: "an unsafe extension was called",
    28: "a buffer was accessed outside of its bounds",
    29: "a node of a balanced tree is damaged",
    37: "a jump table was used with an index outside of it",
    38: "a longjmp to an invalid target",
}

_SHADOW = {
    0x81: "before an alloca block",
    0x82: "between alloca blocks",
    0x83: "past the end of an alloca block",
    0x84: "past the end of a global variable",
    0x85: "in a red zone",
    0x86: "past the end of a pool block",
    0x87: "in freed memory",
    0x8A: "before contiguous memory",
    0x8B: "past the end of contiguous memory",
    0x8C: "in freed memory of a lookaside list",
    0x8D: "before a pool block",
    0xF1: "before a variable on the stack",
    0xF2: "between variables on the stack",
    0xF3: "past the end of a variable on the stack",
    0xF5: "in a variable of a function that has returned",
    0xF8: "in a variable that is out of scope",
}
_WRITE = 0x100

#: Bugcheck → parameter 1 → words.
_BY_FIRST: Mapping[int, Mapping[int, str]] = MappingProxyType({0xC4: _VERIFIER, 0xC9: _IRP, 0xE6: _DMA, 0x139: _SECURITY})
_KASAN = 0x1F2
_POOL_LEAKS = (0x60, 0x62)


def rule_number(code: int, parameters: Sequence[int]) -> int | None:
    """The number of the rule that a bugcheck is about, the same for each occurrence; None for other bugchecks.

    Args:
        code: The bugcheck, without the bits of a small dump.
        parameters: Its four parameters.
    """
    if code in _BY_FIRST:
        return parameters[0]
    return parameters[3] & 0x1FF if code == _KASAN else None


def rule_words(code: int, parameters: Sequence[int]) -> str:
    """The broken rule in one line; empty for other bugchecks, and for rules that the lab does not know.

    Args:
        code: The bugcheck, without the bits of a small dump.
        parameters: Its four parameters.
    """
    if code == _KASAN:
        return _kasan(parameters)
    first = parameters[0]
    known = _BY_FIRST.get(code, {}).get(first, "")
    if code == 0xC4 and not known:
        return _ddi(first)
    if code == 0xC4 and first in _POOL_LEAKS:
        return f"{known}: {parameters[3]} allocation(s); `!verifier 3` in the dump lists them with their pool tags"
    return known


def is_left_at_unload(code: int, parameters: Sequence[int]) -> bool:
    """Whether a bugcheck reports what a driver has left at its unload, such as pool that it did not free."""
    return code == 0xC4 and len(parameters) == 4 and parameters[0] in LEFT_AT_UNLOAD


def _ddi(rule: int) -> str:
    if not _FIRST_DDI <= rule <= _LAST_DDI:
        return ""
    name = _DDI.get(rule, "")
    return f"the driver broke the DDI compliance rule {name or f'0x{rule:05X}'}; parameter 2 points to its text"


def _kasan(parameters: Sequence[int]) -> str:
    address, size, caller, extra = parameters
    shadow = extra & 0xFF
    place = (
        f"past byte {shadow} of its block" if 1 <= shadow <= 7 else _SHADOW.get(shadow, f"at a place of kind 0x{shadow:02X}")
    )
    verb = "written" if extra & _WRITE else "read"
    return f"{size} byte(s) were {verb} {place}, at 0x{address:x}; the instruction is at 0x{caller:x}"
