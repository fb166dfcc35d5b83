"""Headers, functions and libraries that the driver kit has: they are there for drivers and programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from lab.host.process import run
from lab.toolchain import pe
from lab.toolchain.build import build_components
from lab.toolchain.compile import Compiler, compile_component
from lab.toolchain.places import symbol_file
from tests.toolchain.components import tiny
from tests.toolchain.conftest import TINY_DRIVER
from tests.toolchain.kit_sources import AS_IN_THE_WDK, BEYOND_MINGW, OF_THE_KIT

if TYPE_CHECKING:
    from tests.toolchain.conftest import DriverFolder


def test_a_driver_as_in_the_wdks_samples_is_built(driver_folder: DriverFolder, tmp_path: Path) -> None:
    (result,) = build_components([tiny(driver_folder(source=AS_IN_THE_WDK))], "x64", tmp_path / "out", None)
    assert "ExAllocatePoolWithTag" in pe.check(result.path, "driver", "x64").imports["ntoskrnl.exe"]


def test_declarations_that_mingws_headers_lack_exist(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=BEYOND_MINGW, sources="[tiny.c, other.c]")
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


def test_a_header_that_the_lab_includes_is_an_input(compiler: Compiler, driver_folder: DriverFolder, tmp_path: Path) -> None:
    read = compile_component(tiny(driver_folder()), compiler, tmp_path / "tiny.sys").inputs.files
    assert [name for name in read if name.endswith("/toolchain/wdk.h")]
    assert [name for name in read if not Path(name).is_absolute()] == ["tiny.c"]


def test_headers_are_found_as_windows_finds_them(driver_folder: DriverFolder, tmp_path: Path) -> None:
    """Case and slashes: Windows ignores both, and many drivers depend on that."""
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


def test_headers_and_libraries_of_the_kit_exist(driver_folder: DriverFolder, tmp_path: Path) -> None:
    said: list[str] = []
    folder = driver_folder(source=OF_THE_KIT)
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
    """mingw-w64's declaration read one pointer more: the driver passed the first bytes of the type."""
    body = "PVOID object; return ObReferenceObjectByHandle(NULL, 0, *ExEventObjectType, KernelMode, &object, NULL);"
    folder = driver_folder(source=TINY_DRIVER.replace('DbgPrint("tiny");', body))
    build_components([tiny(folder)], "x64", tmp_path / "out", None)
    words = ["x86_64-w64-mingw32-objdump", "-d", str(symbol_file(tmp_path / "out" / "tiny.sys"))]
    code = run(words, 60).stdout.partition("<DriverEntry>:")[2].partition("<__imp_ObReferenceObjectByHandle>")[0]
    assert len(re.findall(r"mov +\(%r", code)) == 1, code
