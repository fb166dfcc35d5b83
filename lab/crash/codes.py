"""Bugcheck codes in words: the symbol, and what the parameters mean to the author of a driver.

The symbols are those of Microsoft's public bug check reference; the hints are ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from lab.crash.rules import rule_number, rule_words

_PARAMETERS = 4

_NAMES = {
    0x01: "APC_INDEX_MISMATCH",
    0x05: "INVALID_PROCESS_ATTACH_ATTEMPT",
    0x08: "IRQL_NOT_DISPATCH_LEVEL",
    0x09: "IRQL_NOT_GREATER_OR_EQUAL",
    0x0A: "IRQL_NOT_LESS_OR_EQUAL",
    0x18: "REFERENCE_BY_POINTER",
    0x19: "BAD_POOL_HEADER",
    0x1A: "MEMORY_MANAGEMENT",
    0x1E: "KMODE_EXCEPTION_NOT_HANDLED",
    0x20: "KERNEL_APC_PENDING_DURING_EXIT",
    0x23: "FAT_FILE_SYSTEM",
    0x24: "NTFS_FILE_SYSTEM",
    0x27: "RDR_FILE_SYSTEM",
    0x2E: "DATA_BUS_ERROR",
    0x31: "PHASE0_INITIALIZATION_FAILED",
    0x32: "PHASE1_INITIALIZATION_FAILED",
    0x34: "CACHE_MANAGER",
    0x35: "NO_MORE_IRP_STACK_LOCATIONS",
    0x36: "DEVICE_REFERENCE_COUNT_NOT_ZERO",
    0x39: "SYSTEM_EXIT_OWNED_MUTEX",
    0x3B: "SYSTEM_SERVICE_EXCEPTION",
    0x3D: "INTERRUPT_EXCEPTION_NOT_HANDLED",
    0x3F: "NO_MORE_SYSTEM_PTES",
    0x44: "MULTIPLE_IRP_COMPLETE_REQUESTS",
    0x48: "CANCEL_STATE_IN_COMPLETED_IRP",
    0x4A: "IRQL_GT_ZERO_AT_SYSTEM_SERVICE",
    0x4C: "FATAL_UNHANDLED_HARD_ERROR",
    0x4E: "PFN_LIST_CORRUPT",
    0x50: "PAGE_FAULT_IN_NONPAGED_AREA",
    0x51: "REGISTRY_ERROR",
    0x5C: "HAL_INITIALIZATION_FAILED",
    0x67: "CONFIG_INITIALIZATION_FAILED",
    0x69: "IO1_INITIALIZATION_FAILED",
    0x6B: "PROCESS1_INITIALIZATION_FAILED",
    0x74: "BAD_SYSTEM_CONFIG_INFO",
    0x76: "PROCESS_HAS_LOCKED_PAGES",
    0x77: "KERNEL_STACK_INPAGE_ERROR",
    0x7A: "KERNEL_DATA_INPAGE_ERROR",
    0x7B: "INACCESSIBLE_BOOT_DEVICE",
    0x7C: "BUGCODE_NDIS_DRIVER",
    0x7E: "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED",
    0x7F: "UNEXPECTED_KERNEL_MODE_TRAP",
    0x80: "NMI_HARDWARE_FAILURE",
    0x8E: "KERNEL_MODE_EXCEPTION_NOT_HANDLED",
    0x93: "INVALID_KERNEL_HANDLE",
    0x96: "INVALID_WORK_QUEUE_ITEM",
    0x9C: "MACHINE_CHECK_EXCEPTION",
    0x9F: "DRIVER_POWER_STATE_FAILURE",
    0xA0: "INTERNAL_POWER_ERROR",
    0xA5: "ACPI_BIOS_ERROR",
    0xB8: "ATTEMPTED_SWITCH_FROM_DPC",
    0xBE: "ATTEMPTED_WRITE_TO_READONLY_MEMORY",
    0xC1: "SPECIAL_POOL_DETECTED_MEMORY_CORRUPTION",
    0xC2: "BAD_POOL_CALLER",
    0xC4: "DRIVER_VERIFIER_DETECTED_VIOLATION",
    0xC5: "DRIVER_CORRUPTED_EXPOOL",
    0xC6: "DRIVER_CAUGHT_MODIFYING_FREED_POOL",
    0xC7: "TIMER_OR_DPC_INVALID",
    0xC8: "IRQL_UNEXPECTED_VALUE",
    0xC9: "DRIVER_VERIFIER_IOMANAGER_VIOLATION",
    0xCA: "PNP_DETECTED_FATAL_ERROR",
    0xCB: "DRIVER_LEFT_LOCKED_PAGES_IN_PROCESS",
    0xCC: "PAGE_FAULT_IN_FREED_SPECIAL_POOL",
    0xCD: "PAGE_FAULT_BEYOND_END_OF_ALLOCATION",
    0xCE: "DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS",
    0xD0: "DRIVER_CORRUPTED_MMPOOL",
    0xD1: "DRIVER_IRQL_NOT_LESS_OR_EQUAL",
    0xD3: "DRIVER_PORTION_MUST_BE_NONPAGED",
    0xD5: "DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL",
    0xD6: "DRIVER_PAGE_FAULT_BEYOND_END_OF_ALLOCATION",
    0xD8: "DRIVER_USED_EXCESSIVE_PTES",
    0xDA: "SYSTEM_PTE_MISUSE",
    0xDE: "POOL_CORRUPTION_IN_FILE_AREA",
    0xE1: "WORKER_THREAD_RETURNED_AT_BAD_IRQL",
    0xE2: "MANUALLY_INITIATED_CRASH",
    0xE3: "RESOURCE_NOT_OWNED",
    0xE4: "WORKER_INVALID",
    0xE6: "DRIVER_VERIFIER_DMA_VIOLATION",
    0xEA: "THREAD_STUCK_IN_DEVICE_DRIVER",
    0xEF: "CRITICAL_PROCESS_DIED",
    0xF4: "CRITICAL_OBJECT_TERMINATION",
    0xF7: "DRIVER_OVERRAN_STACK_BUFFER",
    0xFC: "ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY",
    0xFE: "BUGCODE_USB_DRIVER",
    0x101: "CLOCK_WATCHDOG_TIMEOUT",
    0x109: "CRITICAL_STRUCTURE_CORRUPTION",
    0x10D: "WDF_VIOLATION",
    0x124: "WHEA_UNCORRECTABLE_ERROR",
    0x133: "DPC_WATCHDOG_VIOLATION",
    0x139: "KERNEL_SECURITY_CHECK_FAILURE",
    0x13A: "KERNEL_MODE_HEAP_CORRUPTION",
    0x161: "LIVE_SYSTEM_DUMP",
    0x1F2: "KASAN_ILLEGAL_ACCESS",
    0x1000007E: "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED_M",
    0x1000007F: "UNEXPECTED_KERNEL_MODE_TRAP_M",
    0x1000008E: "KERNEL_MODE_EXCEPTION_NOT_HANDLED_M",
    0xC000021A: "STATUS_SYSTEM_PROCESS_TERMINATED",
    0xDEADDEAD: "MANUALLY_INITIATED_CRASH1",
}

_AT_RAISED_IRQL = "parameter 1 is the address that was touched, 2 the IRQL, 3 the access (0 read, 1 write), 4 the instruction"
_BAD_ADDRESS = "parameter 1 is the address that was touched, 2 the access (0 read, 1 write), 3 the instruction"
_EXCEPTION = "parameter 1 is the exception (0xC0000005: access violation), 2 the instruction that raised it"

_HINTS = {
    0x0A: f"invalid or paged memory was touched at raised IRQL; {_AT_RAISED_IRQL}",
    0x18: "an object was dereferenced too often; parameter 2 is the object: look for an extra ObDereferenceObject",
    0x19: "pool was overwritten, mostly past the end of a block; parameter 1 is the kind of damage, 2 mostly the pool entry",
    0x1E: f"an unhandled exception in kernel mode; {_EXCEPTION}",
    0x35: "an IRP was sent down more drivers than it has stack locations; parameter 1 is the IRP",
    0x3B: f"an exception during a system call; {_EXCEPTION}, 3 the context record",
    0x44: "an IRP was completed twice; parameter 1 is the IRP: compare the dispatch routine with the cancel routine",
    0x4A: "a system call returned at raised IRQL; parameter 1 is the system call, 2 the IRQL: a spin lock was not released",
    0x50: "invalid memory was touched; parameter 1 is the address, 2 the access (0 read), 3 the instruction, if known",
    0x76: "a driver did not unlock pages after an I/O; parameter 2 is the process, 3 the pages: is MmUnlockPages called?",
    0x7E: f"an exception in a system thread; {_EXCEPTION}, 3 the exception record, 4 the context record",
    0x7F: "the processor trapped; parameter 1 is the trap (8: double fault, mostly a stack overflow; 0: division by zero)",
    0x80: "an NMI arrived: the lab sends one to a guest that hangs; the dump shows what each processor was doing",
    0x8E: f"an unhandled exception in kernel mode; {_EXCEPTION}, 3 the trap frame",
    0x9F: "a power request was not finished in time; if parameter 1 is 3: 2 is the device object, 4 the IRP that a driver"
    " holds",
    0xBE: "read-only memory was written to; parameter 1 is the address",
    0xC2: "a wrong call to the pool; parameter 1 is the kind (7: freed twice, parameter 4 is the block)",
    0xC4: "Driver Verifier found a broken rule; parameter 1 is the rule, and decides what the others mean",
    0xC5: f"pool corruption was noticed at raised IRQL; {_AT_RAISED_IRQL}",
    0xC9: "Driver Verifier found wrong handling of an IRP; parameter 1 is the rule, and decides what the others mean",
    0xCB: "a driver left locked pages in a process that ended: is MmUnlockPages called, and are I/Os cancelled?",
    0xCC: f"freed memory was touched; {_BAD_ADDRESS}",
    0xCD: f"memory past the end of a block was touched; {_BAD_ADDRESS}",
    0xCE: f"code of an unloaded driver was called: a timer, DPC, work item or thread outlived its DriverUnload; {_BAD_ADDRESS}",
    0xD1: f"a driver touched invalid or paged memory at raised IRQL; {_AT_RAISED_IRQL}",
    0xD3: f"pageable code or data of a driver was needed at raised IRQL; {_AT_RAISED_IRQL}",
    0xD5: f"a driver touched freed memory; {_BAD_ADDRESS}",
    0xD6: f"a driver touched memory past the end of a block; {_BAD_ADDRESS}",
    0xE2: "this crash was requested, by keyboard or debugger; the parameters mean nothing",
    0xE6: "a driver used DMA wrongly; parameter 1 is the rule, and decides what the others mean",
    0xF7: "a buffer on the stack was overrun; parameter 1 is the cookie found on the stack, 2 the one expected",
    0xFC: "data was executed; parameter 1 is the address: look for a wrong function pointer",
    0x101: "a processor took no clock interrupts: it spins with interrupts off; parameter 3 is its control block (PRCB)",
    0x10D: "a framework driver broke a rule of the framework; parameter 1 is the rule",
    0x133: "too long at DISPATCH_LEVEL or above; parameter 1 = 0: one DPC, 2 its ticks, 3 the ticks allowed; = 1: in total",
    0x139: "a damaged structure; parameter 1 is the kind (2: stack overrun, 3: list entry), 2 the trap frame, 3 the exception",
    0x161: "no crash: the dump is of a running system",
    0x1F2: "a driver built with KASAN touched memory that it must not; parameter 1 is the address, 3 the instruction",
}
#: Bits that a small dump adds to a code without a change of its meaning.
_SMALL_DUMP = 0x10000000

#: What an exception code means to the author of a driver; the free guest reports faults by it.
_EXCEPTIONS = {
    0x80000003: ("STATUS_BREAKPOINT", "an int3 was executed (DbgBreakPoint, an assertion), and no debugger handled it"),
    0xC0000005: (
        "STATUS_ACCESS_VIOLATION",
        "memory that does not exist, or is not writable, was touched: look for a null or stale pointer at the code address",
    ),
    0xC0000006: ("STATUS_IN_PAGE_ERROR", "memory could not be read from its file"),
    0xC000001D: (
        "STATUS_ILLEGAL_INSTRUCTION",
        "bytes that are not an instruction were executed: look for a wrong function pointer",
    ),
    0xC0000094: ("STATUS_INTEGER_DIVIDE_BY_ZERO", "an integer was divided by zero"),
    0xC0000096: (
        "STATUS_PRIVILEGED_INSTRUCTION",
        "an instruction that only a kernel may execute, outside of every driver's code",
    ),
    0xC00000FD: ("STATUS_STACK_OVERFLOW", "the stack is full: look for recursion or large local arrays"),
    0xC0000374: ("STATUS_HEAP_CORRUPTION", "the heap was overwritten, usually past the end of a block"),
    0xC0000409: ("STATUS_STACK_BUFFER_OVERRUN", "a check of the program itself failed, usually because of a damaged stack"),
    0xC0000420: ("STATUS_ASSERTION_FAILURE", "an assertion of the driver failed"),
}


def exception_name(code: int) -> str:
    """The symbol of an exception code, for example ``STATUS_ACCESS_VIOLATION``; empty when the lab does not know it."""
    return _EXCEPTIONS.get(code, ("", ""))[0]


def exception_hint(code: int) -> str:
    """One line on what an exception means to the author of a driver; empty when there is none."""
    return _EXCEPTIONS.get(code, ("", ""))[1]


def plain_code(code: int) -> int:
    """The bugcheck code without the bits that a small dump adds: 0xD1 for 0x100000D1, 0xE2 for 0xDEADDEAD."""
    if code == 0xDEADDEAD:
        return 0xE2
    return code & ~_SMALL_DUMP if code & 0xF0000000 == _SMALL_DUMP else code


def bugcheck_name(code: int) -> str:
    """The symbol of a bugcheck code, for example ``BAD_POOL_HEADER``; empty when the lab does not know it."""
    return _NAMES.get(code) or _NAMES.get(plain_code(code), "")


def bugcheck_hint(code: int, parameters: Sequence[int] = ()) -> str:
    """One line on what a bugcheck means to the author of a driver; empty when there is none.

    Args:
        code: The bugcheck.
        parameters: All four: for a bugcheck that says by them which rule was broken, the line is about that rule.
    """
    words = rule_words(plain_code(code), parameters) if len(parameters) == _PARAMETERS else ""
    return words or _HINTS.get(plain_code(code), "")


def bugcheck_rule(code: int, parameters: Sequence[int]) -> str:
    """``rule 0x62`` for a bugcheck that says by its parameters which rule was broken; empty for others."""
    number = rule_number(plain_code(code), parameters) if len(parameters) == _PARAMETERS else None
    return "" if number is None else f"rule 0x{number:x}"
