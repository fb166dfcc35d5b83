"""The checks of the acceptance boot from a guest's answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import CommandFailed, ImageError
from lab.host.assets import data_root
from lab.image.windows.facts import gather, registry_values, select_kd_entry
from lab.image.windows.recipe import WindowsRecipeFile, load_recipe
from tests.image.windows.guest_double import ENTRY, GuestDouble

CONTROL = r"HKLM\SYSTEM\CurrentControlSet\Control"
MANAGER = rf"{CONTROL}\Session Manager"


@pytest.fixture
def recipe() -> WindowsRecipeFile:
    return load_recipe(data_root() / "vm-images" / "windows-server-2022")


def test_a_good_guest_fails_nothing(recipe: WindowsRecipeFile) -> None:
    facts = gather(GuestDouble(), recipe, thumbprints=("ab12",))
    assert facts.failed == ()
    assert all(check.ok for check in facts.checks)
    assert facts.kd_entry == ENTRY
    assert facts.windows.startswith("ServerStandardEval")
    assert facts.licence.grace_minutes == 259200
    assert len({check.name for check in facts.checks}) == len(facts.checks)


def registry(key: str, name: str, value: str | None) -> Callable[[GuestDouble], None]:
    def change(guest: GuestDouble) -> None:
        if value is None:
            guest.registry.pop((key, name), None)
        else:
            guest.registry[key, name] = (guest.registry.get((key, name), ("REG_SZ", ""))[0], value)

    return change


def attribute(name: str, value: object) -> Callable[[GuestDouble], None]:
    return lambda guest: setattr(guest, name, value)


def asked(name: str, value: object) -> Callable[[GuestDouble], None]:
    def change(guest: GuestDouble) -> None:
        guest.asked[name] = value

    return change


WINLOGON = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (registry(CONTROL, "SystemStartOptions", " NOEXECUTE=OPTIN"), "test signing in force"),
        (registry(CONTROL, "SystemStartOptions", " TESTSIGNING DEBUG DEBUGPORT=COM2"), "kernel debugger off"),
        (registry(rf"{CONTROL}\SecureBoot\State", "UEFISecureBootEnabled", "0x1"), "secure boot"),
        (attribute("stages", "network ok 1.0\r\ntools ok 0.1\r\n"), "stages"),
        (attribute("stages", ""), "stage file"),
        (attribute("leftovers", {r"C:\Windows\Panther\unattend.xml"}), "no copy of the answer file"),
        (registry(WINLOGON, "DefaultPassword", "Secret-1"), "no password of an automatic logon"),
        (registry(rf"{MANAGER}\Debug Print Filter", "DEFAULT", "0x8"), "Debug Print Filter"),
        (registry(rf"{MANAGER}\Debug Print Filter", "DEFAULT", None), "Debug Print Filter"),
        (registry(rf"{CONTROL}\CrashControl", "CrashDumpEnabled", "0x7"), "CrashDumpEnabled"),
        (registry(rf"{MANAGER}\Memory Management", "PagingFiles", r"?:\pagefile.sys"), "page file"),
        (registry(rf"{MANAGER}\Memory Management", "PagingFiles", r"C:\pagefile.sys 1024 1024"), "page file"),
        (attribute("limits", {"MaxShellsPerUser": 30}), "winrm MaxShellsPerUser"),
        (attribute("trusted", False), "certificate ab12 in Root"),
        (attribute("relayed", False), "the print relay runs"),
        (asked("free_bytes", 1 << 30), "free space"),
        (asked("vbs", 2), "virtualization-based security"),
        (attribute("image", {"kd_entry": ""}), "kernel debugger's boot entry"),
    ],
)
def test_each_wrong_answer_is_reported(recipe: WindowsRecipeFile, change: Callable[[GuestDouble], None], name: str) -> None:
    guest = GuestDouble()
    change(guest)
    failed = gather(guest, recipe, thumbprints=("ab12",)).failed
    assert any(name in check.name for check in failed)
    assert "Secret-1" not in str(failed)


def test_several_page_files_are_separated(recipe: WindowsRecipeFile) -> None:
    guest = GuestDouble()
    registry(rf"{MANAGER}\Memory Management", "PagingFiles", r"C:\pagefile.sys 4608 4608\0D:\pagefile.sys 1 1")(guest)
    assert gather(guest, recipe).failed == ()


@pytest.mark.parametrize(
    ("status", "minutes", "ok"), [(1, 0, True), (1, 259200, True), (2, 14000, True), (5, 0, False), (0, 0, False)]
)
def test_an_expired_licence_is_reported_and_fails_no_build(
    recipe: WindowsRecipeFile, status: int, minutes: int, ok: bool
) -> None:
    guest = GuestDouble()
    guest.asked |= {"licence_status": status, "grace_minutes": minutes}
    facts = gather(guest, recipe)
    (check,) = [check for check in facts.checks if check.name == "licence"]
    assert check.ok == ok
    assert facts.failed == ()


def test_a_guest_without_secure_boot_s_key_is_one_with_a_bios(recipe: WindowsRecipeFile) -> None:
    guest = GuestDouble()
    registry(rf"{CONTROL}\SecureBoot\State", "UEFISecureBootEnabled", None)(guest)
    assert gather(guest, recipe).failed == ()


@pytest.mark.parametrize("answer", ["", "no json", "[1]", "Get-CimInstance : Access denied"])
def test_an_answer_that_is_not_json_is_quoted(recipe: WindowsRecipeFile, answer: str) -> None:
    guest = GuestDouble()
    guest.asked = answer
    with pytest.raises(ImageError, match=r"acceptance\.ps1 of the new guest is not JSON") as caught:
        gather(guest, recipe)
    assert answer in str(caught.value)


def test_the_debugger_s_entry_becomes_the_default() -> None:
    guest = GuestDouble()
    assert select_kd_entry(guest, ENTRY).ok
    assert guest.default == ENTRY
    guest.default = "{other}"
    other = GuestDouble()
    assert not select_kd_entry(other, ENTRY.replace("3f9a", "0000")).ok
    with pytest.raises(ImageError, match="not a boot entry"):
        select_kd_entry(guest, "{current} & format c:")


def test_bcdedit_s_refusal_is_an_error() -> None:
    class Refusing(GuestDouble):
        def _bcdedit(self, line: str) -> tuple[int, str]:
            return 1, "The boot configuration data store could not be opened.\r\nAccess is denied.\r\n"

    with pytest.raises(CommandFailed, match="Access is denied"):
        select_kd_entry(Refusing(), ENTRY)


_WORD = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,20}( [A-Za-z0-9]{1,8})?", fullmatch=True)


@settings(deadline=None)
@given(st.dictionaries(_WORD, st.from_regex(r"[!-~]{1,30}( [!-~]{1,9}){0,2}", fullmatch=True), max_size=6))
def test_registry_values_are_read_back(values: dict[str, str]) -> None:
    rows = "".join(f"    {name}    REG_SZ    {value}\r\n" for name, value in values.items())
    assert registry_values(f"\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\X\r\n{rows}\r\n") == values


@settings(deadline=None)
@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    assert all(name for name in registry_values(text))
