"""Error codes in words."""

from __future__ import annotations

import pytest

from lab.guest import win32

#: Codes of drivers and their services, which the lab promises to explain.
PROMISED = [
    *(2, 5, 31, 50, 87, 577, 647, 995, 998, 1053, 1055, 1056, 1058, 1060, 1061, 1062, 1072, 1073, 1077, 1275, 1450),
    *(0xC0000005, 0xC0000221, 0xC0000428),
]


@pytest.mark.parametrize("code", PROMISED)
def test_promised_codes_are_in_the_table(code: int) -> None:
    assert win32.TABLE[code].name.startswith(("ERROR_", "STATUS_"))


def test_the_table_has_each_code_and_name_once() -> None:
    names = [entry.name for entry in win32.TABLE.values()]
    assert len(names) == len(set(names))
    assert all(code == entry.code for code, entry in win32.TABLE.items())


def test_signature_errors_say_what_to_do() -> None:
    for code in (577, 0xC0000428):
        assert "not signed" in win32.describe(code)
        assert "testsigning" in win32.lookup(code).hint


def test_small_codes_are_decimal_and_large_ones_hexadecimal() -> None:
    assert win32.describe(2).startswith("2 (ERROR_FILE_NOT_FOUND): ")
    assert win32.describe(0xC0000005).startswith("0xC0000005 (STATUS_ACCESS_VIOLATION): ")


def test_an_unknown_code_is_still_named() -> None:
    assert win32.describe(54321).startswith("54321 (error 54321): ")
    assert win32.lookup(0xC0DE1234).name == "error 0xC0DE1234"
