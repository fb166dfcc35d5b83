"""Device control codes, as the driver kit's headers make them."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ConfigError
from lab.guest.ioctl import DEVICES, ctl_code, needed_access, parse_ctl_code

CODES = {
    "CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_NEITHER, FILE_READ_ACCESS | FILE_WRITE_ACCESS)": ctl_code(
        "unknown", 0x800, "neither", "read_write"
    ),
    "CTL_CODE(0x8000, 0xFFF, METHOD_OUT_DIRECT, FILE_READ_DATA)": ctl_code(0x8000, 0xFFF, "out_direct", "read"),
    "CTL_CODE(FILE_DEVICE_ACPI, 1, METHOD_IN_DIRECT, FILE_ANY_ACCESS)": ctl_code("acpi", 1, "in_direct"),
    "IOCTL_DISK_GET_DRIVE_GEOMETRY": ctl_code("FILE_DEVICE_DISK", 0, "METHOD_BUFFERED", "FILE_ANY_ACCESS"),  # type: ignore[arg-type]
}


def test_codes_and_device_types_are_those_of_the_headers() -> None:
    compiler = shutil.which("x86_64-w64-mingw32-gcc")
    assert compiler is not None, "bash ci/setup.sh --tests"
    values = CODES | {f"FILE_DEVICE_{name.upper()}": number for name, number in DEVICES.items()}
    source = "#include <windows.h>\n#include <winioctl.h>\n"
    source += "".join(f'_Static_assert((unsigned)({what}) == {value}u, "{what}");\n' for what, value in values.items())
    run = subprocess.run(
        [compiler, "-fsyntax-only", "-xc", "-"], input=source, text=True, capture_output=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFF), st.integers(0, 3), st.integers(0, 3))
def test_parts_come_back(device: int, function: int, method: int, access: int) -> None:
    code = ctl_code(device, function, method, access)
    assert (code >> 16, code >> 2 & 0xFFF, code & 3, code >> 14 & 3) == (device, function, method, access)
    assert parse_ctl_code(f"CTL_CODE({device:#x}, {function}, {method},{access})") == code
    assert parse_ctl_code(hex(code)) == parse_ctl_code(str(code)) == code
    assert needed_access(code) == ("r", "r", "w", "rw")[access]


@pytest.mark.parametrize("device", ["unknown", "FILE_DEVICE_UNKNOWN", "UNKNOWN"])
def test_names_may_be_the_headers(device: str) -> None:
    written = f"CTL_CODE({device}, 0x801, METHOD_IN_DIRECT, FILE_READ_DATA | FILE_WRITE_ACCESS)"
    assert parse_ctl_code(written) == ctl_code("unknown", 0x801, "in_direct", "read_write")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("IOCTL_KETTLE_BOIL", "not a device control code: IOCTL_KETTLE_BOIL"),
        ("0x1ffffffff", "not a device control code"),
        ("CTL_CODE(1, 2, 3)", "CTL_CODE has four parts"),
        (
            "CTL_CODE(FILE_DEVICE_KETTLE, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)",
            "not the device type .*: 'FILE_DEVICE_KETTLE'",
        ),
        ("CTL_CODE(0x22, 0x1000, 0, 0)", "not the function of a device control code: 4096"),
        ("CTL_CODE(0x22, 0x800, METHOD_FAST, 0)", "not the method .*'METHOD_FAST'"),
        ("CTL_CODE(0x22, 0x800, 0, FILE_ALL_ACCESS)", "not the access .*: .FILE_ALL_ACCESS"),
    ],
)
def test_an_invalid_code_is_reported_with_the_accepted_forms(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_ctl_code(text)
    assert caught.value.hint
