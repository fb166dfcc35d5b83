from __future__ import annotations

import re
import tempfile
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.errors import ConfigError
from lab.host.process import run
from lab.toolchain import pe
from lab.toolchain.imagesums import checksum, sums_layout
from lab.toolchain.peimage import opened

if TYPE_CHECKING:
    from tests.toolchain.conftest import Link


def only_problem(image: Path) -> str:
    facts = pe.inspect(image)
    assert len(facts.problems) == 1, facts.problems
    return facts.problems[0]


def only_remark(image: Path) -> str:
    """The one remark on an image that has no problem."""
    facts = pe.inspect(image)
    assert facts.problems == ()
    assert len(facts.remarks) == 1, facts.remarks
    return facts.remarks[0]


def with_right_checksum(content: bytearray) -> bytes:
    """Bytes of an image whose checksum fits them again."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        with opened(Path(file.name)) as (pages, image):
            layout = sums_layout(image)
            really = checksum(pages, layout)
    content[layout.checksum_at : layout.checksum_at + 4] = really.to_bytes(4, "little")
    return bytes(content)


def test_a_sound_driver_passes(unsigned: Path) -> None:
    facts = pe.check(unsigned, "driver", "x64")
    assert facts.problems == ()
    assert (facts.arch, facts.native) == ("x64", True)
    assert facts.imports == {"ntoskrnl.exe": ("DbgPrint",)}


def test_the_wrong_processor_is_refused(unsigned: Path) -> None:
    with pytest.raises(ConfigError, match="it is for x64, not for x86"):
        pe.check(unsigned, "driver", "x86")


def test_a_dll_is_refused_as_a_build(link: Link) -> None:
    image = link("-shared")
    assert "it is a DLL" in "\n".join(pe.inspect(image).remarks)
    with pytest.raises(ConfigError, match="it is a DLL"):
        pe.check(image, "driver", "x64")


def test_a_writable_and_executable_section_is_refused_as_a_build(link: Link) -> None:
    source = (
        "#include <ntddk.h>\n"
        '__asm__(".section .both,\\"wx\\"\\n.quad DriverEntry\\n.text");\n'
        "NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT d, PUNICODE_STRING p) { (void)d; (void)p; return DbgPrint(0); }\n"
    )
    image = link(source=source)
    assert only_remark(image) == "section .both is both writable and executable"
    with pytest.raises(ConfigError, match="both writable and executable"):
        pe.check(image, "driver", "x64")


def test_a_writable_init_section_is_a_remark(unsigned: Path) -> None:
    """As kits before Windows 8 linked it: read, write, execute, discardable."""
    content = bytearray(unsigned.read_bytes())
    at = content.index(b".text\0\0\0")
    content[at : at + 8] = b"INIT\0\0\0\0"
    content[at + 36 : at + 40] = (0xE2000020).to_bytes(4, "little")
    unsigned.write_bytes(with_right_checksum(content))
    assert only_remark(unsigned) == (
        "section INIT is both writable and executable; it is discarded after DriverEntry (older kits link INIT like this)"
    )


@pytest.mark.parametrize("module", ["ndis.sys", "fltmgr.sys", "wdfldr.sys"])
def test_an_import_from_another_kernel_module_is_a_remark(unsigned: Path, module: str) -> None:
    content = bytearray(unsigned.read_bytes())
    at = content.index(b"ntoskrnl.exe")
    content[at : at + 12] = module.encode().ljust(12, b"\0")
    unsigned.write_bytes(with_right_checksum(content))
    assert only_remark(unsigned) == (
        f"it imports DbgPrint from {module}, which the guest must have in addition to ntoskrnl.exe and hal.dll"
    )
    with pytest.raises(ConfigError, match=f"from {module}"):
        pe.check(unsigned, "driver", "x64")


def test_a_user_mode_import_is_refused(link: Link) -> None:
    source = (
        "__declspec(dllimport) unsigned long __stdcall GetTickCount(void);\n"
        "static void *const keep __attribute__((used)) = &keep;\n"
        "int DriverEntry(void) { return (int)GetTickCount(); }\n"
    )
    said = only_problem(link(source=source, libraries=("-lkernel32",))).lower()
    assert "gettickcount from kernel32.dll" in said


def test_a_console_program_is_not_a_driver(link: Link) -> None:
    source = "static void *const keep __attribute__((used)) = &keep;\nint Start(void) { return 0; }\n"
    image = link(source=source, entry="Start", subsystem="console", libraries=())
    assert "native" in only_problem(image)
    assert pe.inspect(image, "program").problems == ()


def test_a_driver_is_not_a_program(unsigned: Path) -> None:
    assert pe.inspect(unsigned, "program").problems == ("its subsystem is 1: not a program",)


def test_stripped_relocations_are_refused(link: Link) -> None:
    said = "\n".join(pe.inspect(link("-Wl,--disable-dynamicbase", "-Wl,--disable-reloc-section")).problems)
    assert "relocations are stripped" in said


def test_the_wdm_bit_is_refused_as_a_build(link: Link) -> None:
    source = (
        "#include <ntddk.h>\nstatic void *const keep __attribute__((used)) = &keep;\n"
        "NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT d, PUNICODE_STRING p) { (void)d; (void)p; return DbgPrint(0); }\n"
    )
    image = link("-Wl,--wdmdriver", source=source)
    assert "WDM_DRIVER bit" in only_remark(image)
    with pytest.raises(ConfigError, match="WDM_DRIVER bit"):
        pe.check(image, "driver", "x64")


def test_bytes_changed_after_linking_are_noticed(unsigned: Path) -> None:
    content = bytearray(unsigned.read_bytes())
    content[content.index(b"tiny")] ^= 0x20
    unsigned.write_bytes(content)
    assert "changed after linking" in only_problem(unsigned)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty, so it is not a Windows image"),
        (b"MZ", "is not a Windows image, or is truncated or damaged"),
        (b"#!/bin/sh\n" * 50, "is not a Windows image: it begins with b'#!/bin/s', not with 'MZ'"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer: `git lfs pull`"),
        (b"\x7fELF\x02\x01\x01" + bytes(99), "an ELF file of Linux"),
        (b"PK\x03\x04" + bytes(99), "unpack it first"),
    ],
)
def test_a_file_that_is_not_an_image_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    other = tmp_path / "other.sys"
    other.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(said)):
        pe.inspect(other)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_file_that_is_cut_off_is_refused(unsigned: Path, part: float) -> None:
    content = unsigned.read_bytes()
    unsigned.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ConfigError, match="truncated"):
        pe.inspect(unsigned)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes_are_reported_or_refused(tiny_image: bytes, tmp_path: Path, data: st.DataObject) -> None:
    """Bytes changed anywhere, most of them in the headers, and a cut: neither another error nor a crash of the process."""
    content = bytearray(tiny_image)
    places = st.integers(0, 0x400) | st.integers(0, len(content) - 4)
    for at in data.draw(st.lists(places, min_size=1, max_size=6)):
        content[at : at + 4] = data.draw(st.binary(min_size=1, max_size=4))
    file = tmp_path / "mutated.sys"
    file.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    try:
        facts = pe.inspect(file)
    except ConfigError:
        return
    assert facts.size == file.stat().st_size


def test_a_file_of_gigabytes_is_read_by_pages(unsigned: Path) -> None:
    with unsigned.open("r+b") as file:
        file.truncate(3 << 30)
    tracemalloc.start()
    try:
        facts = pe.inspect(unsigned)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert facts.size == 3 << 30
    assert "changed after linking" in "\n".join(facts.problems)
    assert peak < 32 << 20


def test_the_checksum_is_of_the_files_bytes(link: Link, tmp_path: Path) -> None:
    """A version resource with a character beyond U+FFFF, which pefile writes in another way."""
    resource, made = tmp_path / "v.rc", tmp_path / "v.o"
    resource.write_text(
        '#pragma code_page(65001)\n1 VERSIONINFO\nFILEVERSION 3,1,4,1\nBEGIN\n BLOCK "StringFileInfo"\n BEGIN\n'
        '  BLOCK "040904b0"\n  BEGIN\n   VALUE "FileDescription", "Disk \U0001f4be guard"\n  END\n END\nEND\n',
        encoding="utf-8",
    )
    run(["x86_64-w64-mingw32-windres", "-c", "65001", resource, made], 60)
    facts = pe.inspect(link(str(made)))
    assert "checksum" not in "\n".join(facts.problems)


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
