"""Sources as users have them: written for Microsoft's compiler, saved by editors of Windows, and with mistakes in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.errors import ConfigError, HostToolError
from lab.host.process import run
from lab.toolchain import pe
from lab.toolchain.build import build_components
from lab.toolchain.compile import Compiler, compile_component
from lab.toolchain.diagnosis import explained
from lab.toolchain.known import find_components
from lab.toolchain.manifest import Component, load_component
from lab.toolchain.places import symbol_file
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
            "needs `DriverEntry(",
        ),
        (
            TINY_DRIVER.replace('DbgPrint("tiny")', "LabNoSuchRoutine()").replace(
                "\nNT", "\nULONG LabNoSuchRoutine(void);\nNT"
            ),
            "undefined reference to `LabNoSuchRoutine'",
            "LabNoSuchRoutine is neither in the sources nor",
        ),
        (TINY_DRIVER.replace('DbgPrint("tiny")', "LabUndeclared()"), "implicit declaration", "do not declare it"),
        (TINY_DRIVER.replace("STATUS_SUCCESS", "STATUS_SUCESS"), "undeclared", "include the header or define the macro"),
        (TINY_DRIVER.replace('"tiny"', '__FUNCTION__ ": tiny"'), "expected", "not a string literal"),
        ("#include <wdf.h>\n", "wdf.h: No such file", "no headers of KMDF"),
        ('#include "..\\\\inc\\\\common.h"\n', "No such file", "name its folder, `include:"),
        ('#include "tiny.tmh"\n', "tiny.tmh: No such file", "WPP"),
        (TINY_DRIVER.replace('"tiny"', '"tiny %I64d", -7i64'), "invalid suffix", "write LL for i64"),
        (TINY_DRIVER.replace('"tiny"', '"tiny %I64u", 0x7Fui64'), "invalid suffix", "ULL for ui64"),
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


#: What mingw-w64's headers lack: wdk.h has it.
_BEYOND_MINGW = """#include <ntddk.h>
#include <stdio.h>
#include "shared.h"
EXTERN_C_START
DRIVER_INITIALIZE DriverEntry;
EXTERN_C_END
DECLARE_GLOBAL_CONST_UNICODE_STRING(LabLink, L"\\\\DosDevices\\\\Lab");
static_assert(sizeof(ULONG) == 4, "a ULONG has four bytes");
static __forceinline ULONG LabOne(void) { return 1; }
static FORCEINLINE ULONG LabTwo(void) { return 2; }
FORCEINLINE static ULONG LabThree(void) { return 3; }
CFORCEINLINE ULONG LabFour(void) { return 4; }

_IRQL_saves_global_(QueuedSpinLock, *irql) _IRQL_always_function_max_(DISPATCH_LEVEL) _Kernel_float_used_
_Kernel_requires_resource_held_(Spin) _Post_ptr_invalid_ _Analysis_noreturn_
VOID LabLock(_Pre_valid_ _Notnull_ _Frees_ptr_ PVOID lock, _IRQL_uses_cancel_ KIRQL irql);
__drv_functionClass(LAB_START) __drv_sameIRQL __drv_clearDoInit(yes) __drv_preferredFunction("LabLock", "old")
__drv_mustHold(Lock) __drv_neverHoldCriticalRegion __drv_strictType(LONG, 1) __drv_ret(__drv_notPointer) __success(return)
ULONG LabOld(__in_bcount_opt(size) PVOID data, __in_range(0, 9) ULONG size, __deref_out_bcount(size) PVOID *out,
             __reserved int zero);
typedef __nullterminated const WCHAR *LAB_TEXT;

DECLSPEC_RESTRICT NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    CHAR text[40];
    UNREFERENCED_PARAMETER(DriverObject);
    UNREFERENCED_PARAMETER(RegistryPath);
    _IRQL_limited_to_(DISPATCH_LEVEL);
    NONPAGED_CODE();
    NT_ANALYSIS_ASSUME(DriverObject != NULL);
    __noop("never run", LabOld);
    (void)__noop;
    switch (LabOne()) {
    case 1: break;
    default: __assume(0);
    }
    sprintf(text, "%lu", LabOne() + LabTwo() + LabThree() + LabFour() + LabShared() + LabOther());
    DbgPrint("%s %wZ", text, &LabLink);
    return STATUS_SUCCESS;
}
"""


def test_what_mingws_headers_lack_is_there(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=_BEYOND_MINGW, sources="[tiny.c, other.c]")
    # Without `static`: both sources have it, and the linker must not find it twice.
    (folder / "shared.h").write_text(
        "FORCEINLINE ULONG LabShared(void) { return 5; }\nULONG LabOther(void);\n", encoding="utf-8"
    )
    (folder / "other.c").write_text(
        '#include <ntddk.h>\n#include "shared.h"\nULONG LabOther(void) { return LabShared(); }\n', encoding="utf-8"
    )
    said: list[str] = []
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None, progress=said.append)
    assert pe.check(result.path, "driver", "x64").imports == {"ntoskrnl.exe": ("DbgPrint", "sprintf")}
    assert [line for line in said if "warning" in line] == []


def test_two_sources_with_the_kits_string_functions_link(driver_folder: DriverFolder, tmp_path: Path) -> None:
    """mingw-w64's ntstrsafe.h leaves each of its functions in every object file."""
    body = 'char text[9]; RtlStringCbPrintfA(text, sizeof(text), "%d", Other()); DbgPrint("%s", text);'
    include = "#include <ntstrsafe.h>\nULONG Other(void);\nNTSTATUS"
    folder = driver_folder(
        source=TINY_DRIVER.replace('DbgPrint("tiny");', body).replace("NTSTATUS", include, 1), sources="[tiny.c, other.c]"
    )
    other = "#include <ntddk.h>\n#include <ntstrsafe.h>\nULONG Other(void);\nULONG Other(void)\n{\n    WCHAR name[4];\n"
    (folder / "other.c").write_text(f'{other}    return RtlStringCchCopyW(name, 4, L"abc");\n}}\n', encoding="utf-8")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert "_vsnprintf" in pe.check(result.path, "driver", "x64").imports["ntoskrnl.exe"]


def test_what_is_put_in_front_of_a_driver_is_one_of_its_inputs(
    compiler: Compiler, driver_folder: DriverFolder, tmp_path: Path
) -> None:
    read = compile_component(tiny(driver_folder()), compiler, tmp_path / "tiny.sys").inputs.files
    assert [name for name in read if name.endswith("/toolchain/wdk.h")]
    assert [name for name in read if not Path(name).is_absolute()] == ["tiny.c"]


def test_for_x86_the_calling_convention_is_asked_for(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=_AS_IN_THE_WDK)
    with pytest.raises(ConfigError, match="conflicting types") as caught:
        build_components([tiny(folder)], "x86", tmp_path / "out", None)
    assert "NTAPI" in caught.value.hint


def test_for_x86_the_entry_points_convention_is_asked_for(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=TINY_DRIVER.replace("NTAPI ", ""))
    with pytest.raises(ConfigError, match="resolving _DriverEntry@8 by linking to _DriverEntry") as caught:
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


def test_sources_in_several_encodings_are_each_read_in_their_own(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = gbk_folder(driver_folder, _TITLE)
    manifest = (folder / "driver.yaml").read_text(encoding="utf-8")
    (folder / "driver.yaml").write_text(manifest.replace("[tiny.c]", "[tiny.c, more.c]"), encoding="utf-8")
    more = '#include <ntddk.h>\nUNICODE_STRING more = RTL_CONSTANT_STRING(L"端口");\nconst char *said = "读出";\n'
    (folder / "more.c").write_text(more, encoding="utf-8-sig")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    content = result.path.read_bytes()
    assert all(text.encode("utf-16-le") in content for text in ("总线", "端口"))
    assert all(text.encode("gbk") in content for text in ("写入", "读出"))


def test_a_source_and_its_header_in_two_encodings_are_both_named(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = gbk_folder(driver_folder, '#include "names.h"\n' + _TITLE)
    (folder / "names.h").write_text("/* 名称 */\n", encoding="utf-8-sig")
    with pytest.raises(ConfigError, match=r"tiny\.c: is in gbk, and .*names\.h, .* in utf-8") as caught:
        build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert "save both in one encoding" in caught.value.hint


def test_a_header_with_a_mark_and_nothing_beyond_ascii_fits_to_any_source(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = gbk_folder(driver_folder, '#include "names.h"\n' + TINY_DRIVER.replace('"tiny"', '"写入"'))
    (folder / "names.h").write_text("#define NAMES 3\n", encoding="utf-8-sig")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert "写入".encode("gbk") in result.path.read_bytes()
    (folder / "tiny.c").write_text('#include "names.h"\n' + TINY_DRIVER.replace('"tiny"', '"写入"'), encoding="utf-8-sig")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert "写入".encode("gbk") in result.path.read_bytes()


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


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_source_in_utf_16_is_told_of(driver_folder: DriverFolder, tmp_path: Path, encoding: str) -> None:
    """With a byte order mark and without one."""
    folder = driver_folder()
    (folder / "tiny.c").write_text(TINY_DRIVER, encoding=encoding)
    with pytest.raises(ConfigError, match=r"tiny\.c: is UTF-16") as caught:
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


#: Words of the driver kit that come from headers and libraries which mingw-w64 lacks.
_OF_THE_KIT = """#include <ntddk.h>
#include <wdmsec.h>
#include <DriverSpecs.h>
#include <dontuse.h>
_Analysis_mode_(_Analysis_code_type_kernel_driver_)
DRIVER_INITIALIZE DriverEntry;
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    static const GUID none;
    PDEVICE_OBJECT device;
    PVOID one, other;

    UNREFERENCED_PARAMETER(path);
    ExInitializeDriverRuntime(DrvRtPoolNxOptIn);
    one = ExAllocatePoolQuotaZero(NonPagedPoolNx | POOL_QUOTA_FAIL_INSTEAD_OF_RAISE, 8, 'onet');
    other = ExAllocatePoolPriorityZero(PagedPool, 8, 'otht', NormalPoolPriority | MdlMappingNoExecute);
    DbgPrint("%p %p", one, other);
    return IoCreateDeviceSecure(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &SDDL_DEVOBJ_SYS_ALL_ADM_ALL, &none, &device);
}
"""


def test_what_headers_and_libraries_of_the_kit_alone_have_is_there(driver_folder: DriverFolder, tmp_path: Path) -> None:
    said: list[str] = []
    folder = driver_folder(source=_OF_THE_KIT)
    [result] = build_components([tiny(folder)], "x64", tmp_path / "out", None, progress=said.append)
    assert not [line for line in said if "warning" in line]
    imports = pe.inspect(result.path).imports["ntoskrnl.exe"]
    assert {"IoCreateDevice", "ExAllocatePoolWithQuotaTag", "ExAllocatePoolWithTagPriority"} <= set(imports)


def test_a_program_beside_a_driver_has_the_kits_headers_too(tmp_path: Path) -> None:
    source = "#include <windows.h>\n#include <winioctl.h>\n#include <DriverSpecs.h>\n"
    source += "_Analysis_mode_(_Analysis_code_type_user_code_)\n"
    (tmp_path / "asks.c").write_text(source + "#include <dontuse.h>\nint main(void) { return 0; }\n", encoding="utf-8")
    (tmp_path / "driver.yaml").write_text("name: asks\nkind: program\nimage: asks.exe\nsources: [asks.c]\n", encoding="utf-8")
    [result] = build_components([tiny(tmp_path)], "x64", tmp_path / "out", None)
    assert result.path.is_file()


def test_an_object_type_is_what_the_kernels_variable_holds(driver_folder: DriverFolder, tmp_path: Path) -> None:
    """mingw-w64's declaration read one pointer more: the driver handed over the first bytes of the type."""
    body = "PVOID object; return ObReferenceObjectByHandle(NULL, 0, *ExEventObjectType, KernelMode, &object, NULL);"
    folder = driver_folder(source=TINY_DRIVER.replace('DbgPrint("tiny");', body))
    build_components([tiny(folder)], "x64", tmp_path / "out", None)
    words = ["x86_64-w64-mingw32-objdump", "-d", str(symbol_file(tmp_path / "out" / "tiny.sys"))]
    code = run(words, 60).stdout.partition("<DriverEntry>:")[2].partition("<__imp_ObReferenceObjectByHandle>")[0]
    assert len(re.findall(r"mov +\(%r", code)) == 1, code
