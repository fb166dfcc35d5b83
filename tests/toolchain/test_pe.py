from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.errors import ConfigError
from lab.toolchain import pe

if TYPE_CHECKING:
    from tests.toolchain.conftest import Link


def only_problem(image: Path) -> str:
    problems = pe.inspect(image).problems
    assert len(problems) == 1, problems
    return problems[0]


def test_a_sound_driver_passes(unsigned: Path) -> None:
    facts = pe.check(unsigned, "driver", "x64")
    assert facts.problems == ()
    assert (facts.arch, facts.native) == ("x64", True)
    assert facts.imports == {"ntoskrnl.exe": ("DbgPrint",)}


def test_the_wrong_processor_is_refused(unsigned: Path) -> None:
    with pytest.raises(ConfigError, match="it is for x64, not for x86"):
        pe.check(unsigned, "driver", "x86")


def test_a_dll_is_refused(link: Link) -> None:
    assert "it is a DLL" in "\n".join(pe.inspect(link("-shared")).problems)


def test_a_writable_and_executable_section_is_refused(link: Link) -> None:
    source = (
        "#include <ntddk.h>\n"
        '__asm__(".section .both,\\"wx\\"\\n.quad DriverEntry\\n.text");\n'
        "NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT d, PUNICODE_STRING p) { (void)d; (void)p; return DbgPrint(0); }\n"
    )
    assert only_problem(link(source=source)) == "section .both is both writable and executable"


def test_a_user_mode_import_is_refused(link: Link) -> None:
    source = (
        "__declspec(dllimport) unsigned long __stdcall GetTickCount(void);\n"
        "static void *const keep __attribute__((used)) = &keep;\n"
        "int DriverEntry(void) { return (int)GetTickCount(); }\n"
    )
    said = only_problem(link(source=source, libraries=("-lkernel32",))).lower()
    assert "gettickcount from kernel32.dll" in said


def test_a_console_program_is_no_driver(link: Link) -> None:
    source = "static void *const keep __attribute__((used)) = &keep;\nint Start(void) { return 0; }\n"
    image = link(source=source, entry="Start", subsystem="console", libraries=())
    assert "native" in only_problem(image)
    assert pe.inspect(image, "program").problems == ()


def test_a_driver_is_no_program(unsigned: Path) -> None:
    assert pe.inspect(unsigned, "program").problems == ("its subsystem is 1: not a program",)


def test_stripped_relocations_are_refused(link: Link) -> None:
    said = "\n".join(pe.inspect(link("-Wl,--disable-dynamicbase", "-Wl,--disable-reloc-section")).problems)
    assert "relocations are stripped" in said


def test_the_wdm_bit_is_refused(link: Link) -> None:
    source = (
        "#include <ntddk.h>\nstatic void *const keep __attribute__((used)) = &keep;\n"
        "NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT d, PUNICODE_STRING p) { (void)d; (void)p; return DbgPrint(0); }\n"
    )
    assert "WDM_DRIVER bit" in only_problem(link("-Wl,--wdmdriver", source=source))


def test_bytes_changed_after_linking_are_noticed(unsigned: Path) -> None:
    content = bytearray(unsigned.read_bytes())
    content[content.index(b"tiny")] ^= 0x20
    unsigned.write_bytes(content)
    assert "changed after linking" in only_problem(unsigned)


@pytest.mark.parametrize("content", [b"", b"MZ", b"#!/bin/sh\n" * 50])
def test_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    other = tmp_path / "other.sys"
    other.write_bytes(content)
    with pytest.raises(ConfigError, match="is not a Windows image"):
        pe.inspect(other)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.sys: cannot be read: No such file"):
        pe.inspect(tmp_path / "none.sys")


def test_all_problems_are_listed_together(link: Link) -> None:
    source = (
        "__declspec(dllimport) unsigned long __stdcall GetTickCount(void);\nint Start(void) { return (int)GetTickCount(); }\n"
    )
    image = link(source=source, entry="Start", subsystem="console", libraries=("-lkernel32",))
    with pytest.raises(ConfigError) as caught:
        pe.check(image, "driver", "x64")
    assert "native" in caught.value.message
    assert "GetTickCount" in caught.value.message
