"""Windows error codes in words: what the code means for a driver, and what to try.

Only codes that occur when a driver is loaded, controlled or read. The texts are the lab's own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Win32Code:
    """One error code.

    Attributes:
        code: Win32 error, NTSTATUS or process exit code, 0..0xFFFFFFFF.
        name: Its symbol, for example ``ERROR_FILE_NOT_FOUND``.
        meaning: What happened, as the end of a sentence.
        hint: What to try; empty if the meaning suffices.
    """

    code: int
    name: str
    meaning: str
    hint: str = ""


_SIGN = (
    "run `lab driver build` (it signs), check that the guest was started with test signing on (`bcdedit` shows testsigning Yes)"
)

_CODES = (
    Win32Code(1, "ERROR_INVALID_FUNCTION", "the request was refused without a reason", "see the guest's kernel prints"),
    Win32Code(2, "ERROR_FILE_NOT_FOUND", "a file is missing", "check the image path of the service and that the copy arrived"),
    Win32Code(3, "ERROR_PATH_NOT_FOUND", "a folder of the path is missing", "check the image path of the service"),
    Win32Code(
        5,
        "ERROR_ACCESS_DENIED",
        "access was denied",
        "use an administrator account; on the free guest a driver that crashed answers its clients with this, see the prints",
    ),
    Win32Code(6, "ERROR_INVALID_HANDLE", "the handle is not valid"),
    Win32Code(8, "ERROR_NOT_ENOUGH_MEMORY", "memory was refused", "by the driver (STATUS_NO_MEMORY) or by the guest"),
    Win32Code(13, "ERROR_INVALID_DATA", "the data is not valid"),
    Win32Code(19, "ERROR_WRITE_PROTECT", "the medium is write-protected"),
    Win32Code(20, "ERROR_BAD_UNIT", "the device cannot be found", "the driver's symbolic link may be missing"),
    Win32Code(21, "ERROR_NOT_READY", "the device is not ready"),
    Win32Code(
        31,
        "ERROR_GEN_FAILURE",
        "the device answered STATUS_UNSUCCESSFUL, or the driver's DriverEntry failed",
        "see the kernel prints of the load",
    ),
    Win32Code(
        32, "ERROR_SHARING_VIOLATION", "another program has the file open", "stop the driver before its file is replaced"
    ),
    Win32Code(50, "ERROR_NOT_SUPPORTED", "the driver does not support this request"),
    Win32Code(
        55, "ERROR_DEV_NOT_EXIST", "the device is no longer there", "the driver was unloaded or crashed while it was being used"
    ),
    Win32Code(80, "ERROR_FILE_EXISTS", "the file exists already"),
    Win32Code(
        87, "ERROR_INVALID_PARAMETER", "a parameter is wrong", "`sc` wants a blank after each equals sign: `type= kernel`"
    ),
    Win32Code(112, "ERROR_DISK_FULL", "the guest's disk is full"),
    Win32Code(121, "ERROR_SEM_TIMEOUT", "the wait timed out"),
    Win32Code(123, "ERROR_INVALID_NAME", "the name or path is malformed", "check the quotes and backslashes of the path"),
    Win32Code(
        126, "ERROR_MOD_NOT_FOUND", "a module that the image imports is missing", "`lab driver check FILE.sys` lists them"
    ),
    Win32Code(
        127,
        "ERROR_PROC_NOT_FOUND",
        "a function that the image imports does not exist in this guest",
        "look up newer functions with MmGetSystemRoutineAddress",
    ),
    Win32Code(
        183, "ERROR_ALREADY_EXISTS", "the object exists already", "a device or link with this name remains from another driver"
    ),
    Win32Code(
        193,
        "ERROR_BAD_EXE_FORMAT",
        "the file is not an executable image for this processor",
        "build the driver for the guest's architecture (`lab driver build --arch`)",
    ),
    Win32Code(258, "WAIT_TIMEOUT", "the wait timed out"),
    Win32Code(259, "STILL_ACTIVE", "the process is still running"),
    Win32Code(317, "ERROR_MR_MID_NOT_FOUND", "the guest has no text for its own error"),
    Win32Code(
        577, "ERROR_INVALID_IMAGE_HASH", "the driver is not signed, was changed after signing, or test signing is off", _SIGN
    ),
    Win32Code(647, "ERROR_FAILED_DRIVER_ENTRY", "DriverEntry failed", "see the kernel prints of the load"),
    Win32Code(
        654,
        "ERROR_DRIVER_FAILED_PRIOR_UNLOAD",
        "an earlier load of the driver is still in memory",
        "its DriverUnload, or an object that it did not delete, keeps it there",
    ),
    Win32Code(995, "ERROR_OPERATION_ABORTED", "the request was cancelled"),
    Win32Code(996, "ERROR_IO_INCOMPLETE", "the overlapped request is not complete yet"),
    Win32Code(997, "ERROR_IO_PENDING", "the request is pending"),
    Win32Code(
        998, "ERROR_NOACCESS", "a memory address was not accessible", "a buffer pointer is wrong, in the client or the driver"
    ),
    Win32Code(1051, "ERROR_DEPENDENT_SERVICES_RUNNING", "services that depend on this one are running", "stop them first"),
    Win32Code(
        1052, "ERROR_INVALID_SERVICE_CONTROL", "the service does not accept this control", "the driver has no DriverUnload"
    ),
    Win32Code(
        1053,
        "ERROR_SERVICE_REQUEST_TIMEOUT",
        "the service did not answer the start or stop request in time",
        "DriverEntry or DriverUnload hangs; in the free guest it ended its process, or its image is missing or damaged",
    ),
    Win32Code(
        1055, "ERROR_SERVICE_DATABASE_LOCKED", "the service database is locked", "try again; another start is in progress"
    ),
    Win32Code(1056, "ERROR_SERVICE_ALREADY_RUNNING", "the service is already running", "stop it first"),
    Win32Code(1057, "ERROR_INVALID_SERVICE_ACCOUNT", "the service account is wrong"),
    Win32Code(
        1058,
        "ERROR_SERVICE_DISABLED",
        "the service is disabled, or was deleted and waits for its last handle",
        "close every handle and `sc query` window of it, then create it again",
    ),
    Win32Code(
        1060, "ERROR_SERVICE_DOES_NOT_EXIST", "there is no service with this name", "create it first, or check the spelling"
    ),
    Win32Code(
        1061,
        "ERROR_SERVICE_CANNOT_ACCEPT_CTRL",
        "the service cannot take controls now: it is still starting or stopping",
        "wait until its state changes; a driver stays in STOP_PENDING while handles to its device are open",
    ),
    Win32Code(
        1062, "ERROR_SERVICE_NOT_ACTIVE", "the service is not running", "start it first; if it should run, it has crashed"
    ),
    Win32Code(1066, "ERROR_SERVICE_SPECIFIC_ERROR", "the service ended with an error of its own"),
    Win32Code(
        1067,
        "ERROR_PROCESS_ABORTED",
        "the process of the service ended unexpectedly",
        "the driver crashed: see the kernel prints",
    ),
    Win32Code(1068, "ERROR_SERVICE_DEPENDENCY_FAIL", "a service that this one depends on did not start"),
    Win32Code(
        1072,
        "ERROR_SERVICE_MARKED_FOR_DELETE",
        "the service is already marked for deletion",
        "it goes away when the driver is stopped and the last handle to the service is closed",
    ),
    Win32Code(
        1073, "ERROR_SERVICE_EXISTS", "a service with this name exists already", "delete it first, or choose another name"
    ),
    Win32Code(1077, "ERROR_SERVICE_NEVER_STARTED", "the service has not been started since the guest was booted"),
    Win32Code(1078, "ERROR_DUPLICATE_SERVICE_NAME", "the display name is in use"),
    Win32Code(
        1114,
        "ERROR_DLL_INIT_FAILED",
        "the driver's image was not loaded, or its DriverEntry failed",
        "the free guest says so for a missing file or imported module: `lab driver check FILE.sys`; then the prints",
    ),
    Win32Code(1115, "ERROR_SHUTDOWN_IN_PROGRESS", "the guest is shutting down"),
    Win32Code(1117, "ERROR_IO_DEVICE", "the device reported an I/O error"),
    Win32Code(1167, "ERROR_DEVICE_NOT_CONNECTED", "the device is not connected", "the driver was unloaded or crashed"),
    Win32Code(1168, "ERROR_NOT_FOUND", "nothing to cancel was found, or the element does not exist"),
    Win32Code(
        1275,
        "ERROR_DRIVER_BLOCKED",
        "the guest's policy blocks this driver",
        "memory integrity, the vulnerable-driver list or the architecture: see the CodeIntegrity event log of the guest",
    ),
    Win32Code(
        1450,
        "ERROR_NO_SYSTEM_RESOURCES",
        "resources were refused",
        "by the driver itself (STATUS_INSUFFICIENT_RESOURCES), or by the guest: then fewer requests at once",
    ),
    Win32Code(1455, "ERROR_COMMITMENT_LIMIT", "the page file is too small", "give the image more memory_mb"),
    Win32Code(1460, "ERROR_TIMEOUT", "the operation timed out"),
    Win32Code(
        9009, "MSG_DIR_BAD_COMMAND_OR_FILE", "cmd did not find the program", "check that the tools folder is in the image"
    ),
    Win32Code(0x40010004, "DBG_TERMINATE_PROCESS", "another process ended it"),
    Win32Code(0xC0000001, "STATUS_UNSUCCESSFUL", "the operation failed"),
    Win32Code(
        0xC0000005, "STATUS_ACCESS_VIOLATION", "it crashed: an access violation", "the prints around it name the address"
    ),
    Win32Code(0xC000001D, "STATUS_ILLEGAL_INSTRUCTION", "it crashed: an illegal instruction"),
    Win32Code(0xC0000034, "STATUS_OBJECT_NAME_NOT_FOUND", "the device or file does not exist", "is the driver loaded?"),
    Win32Code(0xC0000035, "STATUS_OBJECT_NAME_COLLISION", "an object with this name exists already"),
    Win32Code(
        0xC000007B, "STATUS_INVALID_IMAGE_FORMAT", "not an image for this processor", "build for the guest's architecture"
    ),
    Win32Code(0xC00000FD, "STATUS_STACK_OVERFLOW", "it crashed: a stack overflow"),
    Win32Code(0xC0000135, "STATUS_DLL_NOT_FOUND", "a DLL that the program needs is missing"),
    Win32Code(0xC0000139, "STATUS_ENTRYPOINT_NOT_FOUND", "a function that the program needs is missing in this guest"),
    Win32Code(0xC000013A, "STATUS_CONTROL_C_EXIT", "it was ended by Ctrl-C"),
    Win32Code(0xC0000142, "STATUS_DLL_INIT_FAILED", "a DLL could not be initialised"),
    Win32Code(
        0xC0000221,
        "STATUS_IMAGE_CHECKSUM_MISMATCH",
        "the checksum in the driver's PE header is wrong",
        "build it again with `lab driver build`; never edit a driver after linking and signing",
    ),
    Win32Code(0xC0000263, "STATUS_DRIVER_ENTRYPOINT_NOT_FOUND", "the driver imports a function that this kernel does not have"),
    Win32Code(0xC0000374, "STATUS_HEAP_CORRUPTION", "it crashed: its heap was corrupt"),
    Win32Code(0xC0000409, "STATUS_STACK_BUFFER_OVERRUN", "it crashed: a fast-fail check"),
    Win32Code(
        0xC0000428,
        "STATUS_INVALID_IMAGE_HASH",
        "the driver is not signed, was changed after signing, or test signing is off",
        _SIGN,
    ),
)

TABLE: dict[int, Win32Code] = {entry.code: entry for entry in _CODES}


def lookup(code: int) -> Win32Code:
    """The entry of a code; a code that is not in the table gets a generic one."""
    known = TABLE.get(code)
    if known:
        return known
    text = f"0x{code:08X}" if code >= 0x80000000 else str(code)
    return Win32Code(code, f"error {text}", "this lab has no text for this code", f"`net helpmsg {code}` on Windows")


def describe(code: int) -> str:
    """One line for people: ``2 (ERROR_FILE_NOT_FOUND): a file is missing``."""
    entry = lookup(code)
    number = f"0x{code:08X}" if code >= 0x80000000 else str(code)
    return f"{number} ({entry.name}): {entry.meaning}"
