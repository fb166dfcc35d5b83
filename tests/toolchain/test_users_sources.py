"""Sources as users have them: written for Microsoft's compiler, saved by editors of Windows, and with mistakes in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.errors import ConfigError, HostToolError
from lab.toolchain import pe
from lab.toolchain.build import build_components, find_components
from lab.toolchain.compile import Compiler, compile_component
from lab.toolchain.diagnosis import explained
from lab.toolchain.manifest import Component, load_component
from lab.toolchain.sign import SigningKey
from tests.toolchain.conftest import TINY_DRIVER

if TYPE_CHECKING:
    from tests.toolchain.conftest import DriverFolder


def tiny(folder: Path) -> Component:
    return load_component(folder / "driver.yaml")


def test_a_warning_is_shown_and_fails_nothing(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=TINY_DRIVER + "static int unused;\n")
    said: list[str] = []
    build_components([tiny(folder)], "x64", tmp_path / "out", None, progress=said.append)
    assert [line for line in said if "tiny: tiny.c:9:12: warning: ‘unused’ defined but not used" in line]


def test_a_mistake_in_the_source_is_the_users_and_leaves_nothing(
    driver_folder: DriverFolder, tmp_path: Path, key: SigningKey
) -> None:
    folder = driver_folder(source=TINY_DRIVER.replace("STATUS_SUCCESS", "STATUS_SUCESS"))
    with pytest.raises(ConfigError, match="does not compile") as caught:
        build_components([tiny(folder)], "x64", tmp_path / "out", key)
    assert (caught.value.file, caught.value.line) == (str(folder / "tiny.c"), 7)
    assert "tiny.c:7:12: error: ‘STATUS_SUCESS’ undeclared" in caught.value.message
    assert not (tmp_path / "out" / "tiny.sys").exists()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("source", "said", "hint"),
    [
        (
            "int Entry(void);\nint Entry(void) { return 0; }\n",
            "cannot find entry symbol DriverEntry",
            "begins in `DriverEntry(",
        ),
        (
            TINY_DRIVER.replace('DbgPrint("tiny")', "LabNoSuchRoutine()").replace(
                "\nNT", "\nULONG LabNoSuchRoutine(void);\nNT"
            ),
            "undefined reference to `LabNoSuchRoutine'",
            "LabNoSuchRoutine is neither in the sources nor",
        ),
        (TINY_DRIVER.replace('DbgPrint("tiny")', "LabUndeclared()"), "implicit declaration", "do not declare it"),
        (
            TINY_DRIVER.replace('DbgPrint("tiny");', '__try { DbgPrint("x"); } __except (1) { }'),
            "__try",
            "structured exception",
        ),
        (TINY_DRIVER.replace('"tiny"', '__FUNCTION__ ": tiny"'), "expected", "no string literal"),
        ("#include <wdf.h>\n", "wdf.h: No such file", "no headers of KMDF"),
        ('#include "..\\\\inc\\\\common.h"\n', "No such file", "neither beside the sources"),
        ('#include "tiny.tmh"\n', "tiny.tmh: No such file", "WPP"),
    ],
)
def test_what_the_compiler_cannot_do_is_told_with_what_to_do(
    driver_folder: DriverFolder, tmp_path: Path, source: str, said: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=r"does not (compile|link)") as caught:
        build_components([tiny(driver_folder(source=source))], "x64", tmp_path / "out", None)
    assert said in caught.value.message
    assert hint in caught.value.hint


#: What the samples of the WDK are full of.
_AS_IN_THE_WDK = """#define _WIN32_WINNT 0x0A00
#include <ntddk.h>
#include <ntstrsafe.h>
#pragma warning(disable: 4100 4201)
#pragma prefast(disable: 28719, "made up")
__pragma(warning(push))
#pragma comment(lib, "ntstrsafe.lib")
#pragma region forward
#define LAB_TAG 'gaTL'

typedef struct _COMMON { ULONG Kind; } COMMON;
typedef struct _QUEUE { COMMON; LIST_ENTRY Head; } QUEUE, *PQUEUE;

DRIVER_INITIALIZE DriverEntry;
DRIVER_UNLOAD LabUnload;
_Dispatch_type_(IRP_MJ_CREATE) _Dispatch_type_(IRP_MJ_CLOSE) DRIVER_DISPATCH LabCreateClose;

#ifdef ALLOC_PRAGMA
#pragma alloc_text(INIT, DriverEntry)
#pragma alloc_text(PAGE, LabUnload)
#endif
#pragma alloc_text(PAGE, LabCreateClose)
#pragma code_seg(push, "PAGE")
#pragma data_seg("PAGEDATA")
#pragma const_seg("PAGECONST")
#pragma bss_seg()
#pragma endregion

__declspec(code_seg("PAGE")) _IRQL_requires_max_(PASSIVE_LEVEL) _Must_inspect_result_
static NTSTATUS LabFill(_Out_writes_bytes_(size) PCHAR text, _In_ SIZE_T size, _In_ int count);

static NTSTATUS LabFill(PCHAR text, SIZE_T size, int count)
{
    ULONG i, limit = 3;
    for (i = 0; (int)i < count && i < limit; i++)
        NT_ASSERT(i < limit);
    return RtlStringCbPrintfA(text, size, "%d", count);
}

_Use_decl_annotations_
NTSTATUS LabCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PAGED_CODE();
    Irp->IoStatus.Status = STATUS_SUCCESS;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

VOID LabUnload(PDRIVER_OBJECT DriverObject)
{
}

NTSTATUS DriverEntry(_In_ PDRIVER_OBJECT DriverObject, _In_ PUNICODE_STRING RegistryPath)
{
    OBJECT_ATTRIBUTES attributes = { sizeof(attributes) };
    PQUEUE queue = (PQUEUE)ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(QUEUE), LAB_TAG);
    CHAR text[8];
    UNREFERENCED_PARAMETER(RegistryPath);
    if (!queue)
        return STATUS_INSUFFICIENT_RESOURCES;
    queue->Kind = 1;
    DriverObject->DriverUnload = LabUnload;
    DriverObject->MajorFunction[IRP_MJ_CREATE] = LabCreateClose;
    KdPrint(("loaded %p\\n", &attributes));
    ExFreePoolWithTag(queue, LAB_TAG);
    return LabFill(text, sizeof(text), 2);
}
__pragma(warning(pop))
"""


def test_a_driver_as_in_the_wdks_samples_is_built(driver_folder: DriverFolder, tmp_path: Path) -> None:
    (result,) = build_components([tiny(driver_folder(source=_AS_IN_THE_WDK))], "x64", tmp_path / "out", None)
    assert "ExAllocatePoolWithTag" in pe.check(result.path, "driver", "x64").imports["ntoskrnl.exe"]


def test_for_x86_the_calling_convention_is_asked_for(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=_AS_IN_THE_WDK)
    with pytest.raises(ConfigError, match="conflicting types") as caught:
        build_components([tiny(folder)], "x86", tmp_path / "out", None)
    assert "NTAPI" in caught.value.hint


def test_trouble_of_the_machine_stays_the_machines() -> None:
    for code, output in (
        (None, ""),
        (-9, "drv.c:1:1: error: x"),
        (1, "drv.c:1:1: error: x\nNo space left on device"),
        (1, "?"),
    ):
        error = HostToolError(["gcc"], code, output)
        assert explained(error, Path("/src"), Path("/src/driver.yaml")) is error
    lacks = HostToolError(["gcc"], 1, "cc1: error: conversion from GBK to UTF-8 not supported by iconv")
    told = explained(lacks, Path("/src"), Path("/src/driver.yaml"))
    assert isinstance(told, HostToolError)
    assert "libc-gconv-modules-extra" in told.hint


def test_the_labs_own_sources_have_no_warning(compiler: Compiler, tmp_path: Path) -> None:
    for component in find_components([]):
        said = compile_component(component, compiler, tmp_path / component.image_name).warnings
        assert said == (), component.name


def gbk_folder(driver_folder: DriverFolder, source: str, encoding: str = "gbk") -> Path:
    folder = driver_folder(encoding=encoding)
    (folder / "tiny.c").write_bytes(source.encode("gbk"))
    return folder


_TITLE = TINY_DRIVER.replace(
    'DbgPrint("tiny");', 'static UNICODE_STRING title = RTL_CONSTANT_STRING(L"总线"); DbgPrint("写入 %wZ", &title);'
)


def test_the_encoding_of_the_manifest_reaches_the_compiler(driver_folder: DriverFolder, tmp_path: Path) -> None:
    (result,) = build_components([tiny(gbk_folder(driver_folder, _TITLE))], "x64", tmp_path / "out", None)
    content = result.path.read_bytes()
    assert "总线".encode("utf-16-le") in content
    assert "写入 %wZ".encode("gbk") in content


def test_a_source_with_a_mark_is_utf_8_and_prints_as_the_manifest_says(driver_folder: DriverFolder, tmp_path: Path) -> None:
    """As Microsoft's compiler does it."""
    folder = driver_folder(encoding="gbk")
    (folder / "tiny.c").write_text(_TITLE, encoding="utf-8-sig")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    content = result.path.read_bytes()
    assert "总线".encode("utf-16-le") in content
    assert "写入 %wZ".encode("gbk") in content


def test_a_changed_encoding_builds_again(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = gbk_folder(driver_folder, TINY_DRIVER)
    build_components([tiny(folder)], "x64", tmp_path / "out", None)
    manifest = (folder / "driver.yaml").read_text(encoding="utf-8")
    (folder / "driver.yaml").write_text(manifest.replace("gbk", "big5"), encoding="utf-8")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert result.rebuilt


def test_an_encoding_that_nobody_named_is_asked_for(driver_folder: DriverFolder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="converting to execution character set") as caught:
        build_components([tiny(gbk_folder(driver_folder, _TITLE, "utf-8"))], "x64", tmp_path / "out", None)
    assert "`encoding: gbk`" in caught.value.hint


def test_a_stray_byte_in_a_comment_stops_nobody(
    driver_folder: DriverFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = gbk_folder(driver_folder, TINY_DRIVER.replace('"tiny"', '"写入"'))
    with (folder / "tiny.c").open("ab") as file:
        file.write(b"/* half a character: \xd0 */\n")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert "写入".encode("gbk") in result.path.read_bytes()
    assert "is not in gbk" in caplog.text


def test_a_source_in_utf_16_is_told_of(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder()
    (folder / "tiny.c").write_text(TINY_DRIVER, encoding="utf-16")
    with pytest.raises(ConfigError, match=r"tiny\.c: is in UTF-16") as caught:
        build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert "save it as UTF-8" in caught.value.hint


def test_headers_are_found_as_windows_finds_them(driver_folder: DriverFolder, tmp_path: Path) -> None:
    """Case and slashes: Windows looks at neither, and drivers are full of both."""
    source = TINY_DRIVER.replace(
        "#include <ntddk.h>", '#include <NtDDK.h>\n#include "Tiny.h"\n#include "..\\\\Shared\\\\Names.H"'
    )
    folder = driver_folder(source=source.replace('"tiny"', "TINY_TEXT DEEP_TEXT"))
    (folder / "tiny.h").write_text('#define TINY_TEXT "tiny text, "\n#include "Sub\\\\Deep.h"\n', encoding="utf-8")
    (folder / "sub").mkdir()
    (folder / "sub" / "deep.h").write_text('#include "TYPES.h"\n', encoding="utf-8")
    (folder / "sub" / "types.h").write_text('#define DEEP_TEXT "deep text"\n', encoding="utf-8")
    (folder.parent / "shared").mkdir()
    (folder.parent / "shared" / "names.h").write_text("#define SHARED 1\n", encoding="utf-8")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert b"tiny text, deep text" in result.path.read_bytes()
    (again,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert not again.rebuilt
    (folder / "sub" / "types.h").write_text('#define DEEP_TEXT "new text"\n', encoding="utf-8")
    (anew,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert anew.rebuilt
    assert b"tiny text, new text" in anew.path.read_bytes()
