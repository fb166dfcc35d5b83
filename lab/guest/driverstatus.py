"""The NTSTATUS of a failed DriverEntry, from the error of ``sc start``.

The service manager translates the status into a Win32 error, as RtlNtStatusToDosError does. Several statuses become one error;
this table names the one that drivers use. The pairs were tested in the free guest, and Windows has the same.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReturnedStatus:
    """A status that DriverEntry may have returned.

    Attributes:
        status: Its value.
        name: Its symbol.
        only: Almost always DriverEntry causes this error; otherwise the file or the service may be the cause.
    """

    status: int
    name: str
    only: bool = True


_BY_ERROR = {
    2: ReturnedStatus(0xC0000034, "STATUS_OBJECT_NAME_NOT_FOUND", only=False),
    5: ReturnedStatus(0xC0000022, "STATUS_ACCESS_DENIED", only=False),
    8: ReturnedStatus(0xC0000017, "STATUS_NO_MEMORY"),
    21: ReturnedStatus(0xC00000A3, "STATUS_DEVICE_NOT_READY"),
    23: ReturnedStatus(0xC000009C, "STATUS_DEVICE_DATA_ERROR"),
    31: ReturnedStatus(0xC0000001, "STATUS_UNSUCCESSFUL"),
    50: ReturnedStatus(0xC00000BB, "STATUS_NOT_SUPPORTED"),
    87: ReturnedStatus(0xC000000D, "STATUS_INVALID_PARAMETER"),
    127: ReturnedStatus(0xC0000263, "STATUS_DRIVER_ENTRYPOINT_NOT_FOUND", only=False),
    170: ReturnedStatus(0x80000011, "STATUS_DEVICE_BUSY"),
    183: ReturnedStatus(0xC0000035, "STATUS_OBJECT_NAME_COLLISION"),
    234: ReturnedStatus(0x80000005, "STATUS_BUFFER_OVERFLOW"),
    647: ReturnedStatus(0xC0000365, "STATUS_FAILED_DRIVER_ENTRY"),
    1117: ReturnedStatus(0xC0000185, "STATUS_IO_DEVICE_ERROR"),
    1168: ReturnedStatus(0xC0000225, "STATUS_NOT_FOUND"),
    1450: ReturnedStatus(0xC000009A, "STATUS_INSUFFICIENT_RESOURCES"),
}
#: ERROR_MR_MID_NOT_FOUND: the result for a status without a Win32 error, such as a driver's own status.
_UNTRANSLATED = 317

HINT = "the driver itself returned this: check what DriverEntry returns, and the prints of the load"


def explain_start_error(code: int) -> tuple[str, str]:
    """What an error of ``sc start`` says about DriverEntry.

    Returns:
        A sentence and a hint; two empty texts when it says nothing.
    """
    if code == _UNTRANSLATED:
        return f"DriverEntry returned a status that has no Win32 error, as sc start's {code} says", HINT
    found = _BY_ERROR.get(code)
    if found is None:
        return "", ""
    said = f"DriverEntry returned 0x{found.status:08X} ({found.name}) or one like it, as sc start's {code} says"
    return (said, HINT) if found.only else (f"{said}, if the service and its file are correct", "")
