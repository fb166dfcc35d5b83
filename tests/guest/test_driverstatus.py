"""A driver that refuses to load is reported as such, and not as a guest that lacks a resource."""

from __future__ import annotations

import pytest

from lab.errors import ServiceError
from lab.guest.driverstatus import HINT, explain_start_error
from lab.guest.scanswer import ScReply


def refused(command: str, code: int) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        ScReply(command=command, code=code, text="").check()
    return caught.value


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (1450, "0xC000009A (STATUS_INSUFFICIENT_RESOURCES)"),
        (8, "0xC0000017 (STATUS_NO_MEMORY)"),
        (31, "0xC0000001 (STATUS_UNSUCCESSFUL)"),
        (87, "0xC000000D (STATUS_INVALID_PARAMETER)"),
        (50, "0xC00000BB (STATUS_NOT_SUPPORTED)"),
        (647, "0xC0000365 (STATUS_FAILED_DRIVER_ENTRY)"),
    ],
)
def test_a_refused_start_is_reported_as_the_drivers_own_status(code: int, status: str) -> None:
    error = refused("sc start Frob", code)
    assert f"DriverEntry returned {status} or one like it, as sc start's {code} says" in error.message
    assert error.hint == HINT
    assert "memory_mb" not in error.hint


def test_a_status_without_a_win32_error_is_still_a_status() -> None:
    assert "DriverEntry returned a status that has no Win32 error" in refused("sc start Frob", 317).message


def test_a_missing_file_is_not_reported_as_the_drivers_status_alone() -> None:
    error = refused("sc start Frob", 2)
    assert "a file is missing; DriverEntry returned 0xC0000034 (STATUS_OBJECT_NAME_NOT_FOUND)" in error.message
    assert "if the service and its file are correct" in error.message
    assert "image path" in error.hint


def test_other_calls_and_codes_do_not_mention_driver_entry() -> None:
    assert "DriverEntry returned" not in refused("sc stop Frob", 1450).message
    assert explain_start_error(1062) == ("", "")
    assert "DriverEntry returned" not in refused("sc start Frob", 577).message
