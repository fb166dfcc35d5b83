"""Keys of a manifest that say how it is compiled and linked: each does what it says, and a change of what it names is seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.errors import ConfigError, HostToolError
from lab.host.process import run
from lab.toolchain import pe
from lab.toolchain.build import BuildResult, build_components
from lab.toolchain.compile import Compiler
from lab.toolchain.flags import compile_flags, header_flags
from lab.toolchain.manifest import load_component
from tests.toolchain.conftest import TINY_DRIVER

if TYPE_CHECKING:
    from tests.toolchain.conftest import DriverFolder


def built(folder: Path, out: Path, *, said: list[str] | None = None, arch: str = "x64") -> BuildResult:
    component = load_component(folder / "driver.yaml")
    progress = said.append if said is not None else None
    (result,) = build_components([component], "x86" if arch == "x86" else "x64", out, None, progress=progress)
    return result


def printing(what: str, *, before: str = "") -> str:
    return before + TINY_DRIVER.replace('"tiny"', what)


def test_sources_and_headers_outside_of_the_folder(driver_folder: DriverFolder, tmp_path: Path) -> None:
    source = printing("COMMON_TEXT", before='#include <ntddk.h>\n#include "common.h"\nvoid Common(void);\n')
    folder = driver_folder(
        source=source.replace("(path);", "(path); Common();"), sources="[tiny.c, ../lib/common.c]", include="[../inc]"
    )
    for name in ("inc", "lib"):
        (tmp_path / name).mkdir()
    header = tmp_path / "inc" / "common.h"
    header.write_text('#pragma once\n#define COMMON_TEXT "of the product"\n', encoding="utf-8")
    (tmp_path / "lib" / "common.c").write_text(
        '#include "common.h"\nvoid Common(void);\nvoid Common(void) {}\n', encoding="utf-8"
    )
    assert b"of the product" in built(folder, tmp_path / "out").path.read_bytes()
    assert not built(folder, tmp_path / "out").rebuilt
    header.write_text(header.read_text(encoding="utf-8").replace("product", "PRODUCT"), encoding="utf-8")
    assert b"of the PRODUCT" in built(folder, tmp_path / "out").path.read_bytes()
    with (tmp_path / "lib" / "common.c").open("a", encoding="utf-8") as file:
        file.write("int another = 1;\n")
    assert built(folder, tmp_path / "out").rebuilt


def test_a_header_that_appears_in_an_earlier_include_folder_is_seen(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=printing("TEXT", before="#include <level/text.h>\n"), include="[../first, ../second]")
    for name in ("first", "second"):
        (tmp_path / name / "level").mkdir(parents=True)
    (tmp_path / "second" / "level" / "text.h").write_text('#define TEXT "second"\n', encoding="utf-8")
    assert b"second" in built(folder, tmp_path / "out").path.read_bytes()
    (tmp_path / "first" / "level" / "text.h").write_text('#define TEXT "first!"\n', encoding="utf-8")
    assert b"first!" in built(folder, tmp_path / "out").path.read_bytes()


def test_headers_of_include_folders_may_be_spelled_as_on_windows(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=printing("TEXT", before='#include "Shared\\\\Text.h"\n'), include="[../inc]")
    (tmp_path / "inc" / "shared").mkdir(parents=True)
    (tmp_path / "inc" / "shared" / "text.h").write_text('#define TEXT "spelled"\n', encoding="utf-8")
    assert b"spelled" in built(folder, tmp_path / "out").path.read_bytes()


def test_definitions_and_options_reach_the_compiler_and_count(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=printing("NAME"), defines="['NAME=\"defined\"']", cflags="[-include, more.h]")
    (folder / "more.h").write_text("#ifndef NAME\n#error no name\n#endif\n", encoding="utf-8")
    assert b"defined" in built(folder, tmp_path / "out").path.read_bytes()
    manifest = folder / "driver.yaml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("defined", "renamed"), encoding="utf-8")
    assert b"renamed" in built(folder, tmp_path / "out").path.read_bytes()
    (folder / "more.h").write_text('#undef NAME\n#define NAME "of more.h"\n', encoding="utf-8")
    assert b"of more.h" in built(folder, tmp_path / "out").path.read_bytes()


def test_warnings_are_errors_shown_or_neither(driver_folder: DriverFolder, tmp_path: Path) -> None:
    said: list[str] = []
    unused = TINY_DRIVER + "static int unused;\n"
    built(driver_folder("quiet", source=unused, warnings="off"), tmp_path / "out", said=said)
    assert not [line for line in said if "warning" in line]
    with pytest.raises(ConfigError, match="defined but not used") as caught:
        built(driver_folder("strict", source=unused, warnings="errors"), tmp_path / "out")
    assert "`warnings: on`" in caught.value.hint


def test_warnings_are_distinguished_from_the_steps(driver_folder: DriverFolder, tmp_path: Path) -> None:
    """`lab run` shows no steps without a terminal, and the warnings of a build were missing with them."""
    component = load_component(driver_folder("shown", source=TINY_DRIVER + "static int unused;\n") / "driver.yaml")
    steps: list[str] = []
    warned: list[str] = []
    build_components([component], "x64", tmp_path / "out", None, progress=steps.append, warn=warned.append)
    assert steps == ["shown: building shown.sys for x64"]
    assert len(warned) == 1
    assert warned[0].startswith("shown: ")
    assert "warning: ‘unused’ defined but not used" in warned[0]


def test_libraries_by_name_and_by_path(driver_folder: DriverFolder, tmp_path: Path, compiler: Compiler) -> None:
    before = "#include <ntddk.h>\nNTSTATUS NTAPI BCryptGenRandom(PVOID, PUCHAR, ULONG, ULONG);\n"
    calls = TINY_DRIVER.replace("(path);", "(path);\n    UCHAR byte; BCryptGenRandom(NULL, &byte, 1, 2);")
    for number, library in enumerate(("ksecdd", "ksecdd.lib")):
        result = built(driver_folder(f"random{number}", source=before + calls, libraries=f"[{library}]"), tmp_path / "out")
        assert "BCryptGenRandom" in pe.inspect(result.path).imports["ksecdd.sys"]
    own = driver_folder(
        "own",
        source=TINY_DRIVER.replace("(path);", "(path); Own();").replace("NTSTATUS", "void Own(void);\nNTSTATUS", 1),
        libraries="[lib/own.o]",
    )
    (own / "lib").mkdir()
    (own / "lib" / "own.c").write_text(
        '#include <ntddk.h>\nvoid Own(void);\nvoid Own(void) { DbgPrint("of own.o"); }\n', encoding="utf-8"
    )
    run([compiler.program, "-isystem", str(compiler.kernel_headers), "-c", "own.c"], 60, cwd=own / "lib")
    assert b"of own.o" in built(own, tmp_path / "out").path.read_bytes()
    with pytest.raises(ConfigError, match="cannot find -lnowhere") as caught:
        built(driver_folder("none", libraries="[nowhere]"), tmp_path / "out")
    assert "path of an .a or .lib" in caught.value.hint


def test_an_import_from_a_module_that_no_library_was_named_for_is_refused(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(
        libraries="[kernel32]",
        source=TINY_DRIVER.replace("(path);", "(path); Sleep(0);").replace("NTSTATUS", "void NTAPI Sleep(ULONG);\nNTSTATUS", 1),
    )
    with pytest.raises(ConfigError, match=r"kernel32\.dll, which the kernel does not have"):
        built(folder, tmp_path / "out")


_CXX = """#include <ntddk.h>
#pragma code_seg("PAGE")
void *operator new(size_t size) { return ExAllocatePoolWithTag(NonPagedPool, size, 'tsbL'); }
void operator delete(void *memory) { ExFreePoolWithTag(memory, 'tsbL'); }
void operator delete(void *memory, size_t) { ExFreePoolWithTag(memory, 'tsbL'); }
namespace {
struct Shape { virtual ~Shape() = default; virtual int Corners() const = 0; };
struct Square final : Shape { int Corners() const override { return 4; } };
template <typename T> T Twice(T value) { return value + value; }
constexpr int table[] = {1, 2, 3};
static_assert(sizeof(table) == 3 * sizeof(int), "table");
}
extern "C" DRIVER_INITIALIZE DriverEntry;
_Use_decl_annotations_
extern "C" NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING)
{
    PAGED_CODE();
    UNREFERENCED_PARAMETER(driver);
    __assume(driver != nullptr);
    Shape *shape = new Square;
    DbgPrint("C++ %d", Twice(shape->Corners()) + table[1]);
    delete shape;
    return STATUS_SUCCESS;
}
"""


_NEW = "void *operator new(size_t size) { return ExAllocatePoolWithTag(NonPagedPool, size, 'tsbL'); }"
_TABLE = "constexpr int table[] = {1, 2, 3};"
_TABLE_AT_RUN_TIME = "int Now() { return (int)KeQueryInterruptTime(); }\nint table[] = {1, Now(), 3};"


@pytest.mark.parametrize("arch", ["x64", "x86"])
def test_a_driver_in_cxx(driver_folder: DriverFolder, tmp_path: Path, arch: str) -> None:
    folder = driver_folder(source=None, sources="[tiny.cpp]", warnings="errors")
    (folder / "tiny.cpp").write_text(_CXX, encoding="utf-8")
    assert b"C++ %d" in built(folder, tmp_path / "out", arch=arch).path.read_bytes()


@pytest.mark.parametrize(
    ("change", "words", "hint"),
    [
        (("return STATUS_SUCCESS", "throw 1"), "exception", "has no exceptions and no"),
        (('extern "C" NTSTATUS', "NTSTATUS"), "", ""),
        ((_NEW, ""), "operator new", "defines operators new and delete itself"),
        ((_TABLE, _TABLE_AT_RUN_TIME), "global variables with constructors", "constexpr"),
    ],
)
def test_cxx_features_that_a_kernel_does_not_have_are_reported(
    driver_folder: DriverFolder, tmp_path: Path, change: tuple[str, str], words: str, hint: str
) -> None:
    folder = driver_folder(source=None, sources="[tiny.cpp]")
    code = _CXX.replace(*change)
    if not words:
        code = code.replace('extern "C" DRIVER_INITIALIZE DriverEntry;\n', "")
        words, hint = "cannot find entry symbol DriverEntry", 'in C++ extern "C"'
    assert code != _CXX
    (folder / "tiny.cpp").write_text(code, encoding="utf-8")
    with pytest.raises(ConfigError, match=words) as caught:
        built(folder, tmp_path / "out")
    assert hint in caught.value.hint


def test_assembler_and_the_files_that_it_includes(driver_folder: DriverFolder, tmp_path: Path) -> None:
    source = printing("Blob", before="extern const char Blob[];\n")
    folder = driver_folder(source=source, sources="[tiny.c, blob.S]", defines="[TAIL=0]")
    (folder / "blob.S").write_text(
        '        .section .rdata\n        .globl Blob\nBlob:   .incbin "data/blob.bin"\n        .byte TAIL\n', encoding="utf-8"
    )
    (folder / "data").mkdir()
    (folder / "data" / "blob.bin").write_bytes(b"taken in")
    assert b"taken in\0" in built(folder, tmp_path / "out").path.read_bytes()
    assert not built(folder, tmp_path / "out").rebuilt
    (folder / "data" / "blob.bin").write_bytes(b"replaced")
    assert b"replaced\0" in built(folder, tmp_path / "out").path.read_bytes()


_GAPS = """#include <wdm.h>
#include <intrin.h>
#include <wchar.h>
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    WCHAR text[32];
    PVOID memory = ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, 'abcd');
    UNREFERENCED_PARAMETER(driver);
    UNREFERENCED_PARAMETER(path);
    if (!memory)
        return STATUS_INSUFFICIENT_RESOURCES;
    KeMemoryBarrier();
    _disable();
    _enable();
    swprintf(text, L"%d", 7);
    ExFreePoolWithTag(memory, 'abcd');
    memory = ExAllocatePoolZero(NonPagedPoolNx, 16, 'abcd');
    if (memory)
        ExFreePool(memory);
    return STATUS_SUCCESS;
}
"""


@pytest.mark.parametrize("arch", ["x64", "x86"])
@pytest.mark.parametrize("language", ["c", "cpp"])
def test_functions_that_mingws_kernel_headers_lack_exist(
    driver_folder: DriverFolder, tmp_path: Path, arch: str, language: str
) -> None:
    folder = driver_folder(source=None, sources=f"[tiny.{language}]", warnings="errors")
    code = _GAPS if language == "c" else _GAPS.replace("NTSTATUS NTAPI", 'extern "C" NTSTATUS NTAPI')
    (folder / f"tiny.{language}").write_text(code, encoding="utf-8")
    imports = pe.inspect(built(folder, tmp_path / "out", arch=arch).path).imports
    assert {"ExAllocatePool2", "swprintf"} <= set(imports["ntoskrnl.exe"])


_CLIENT = """#include <windows.h>
int main(void) { return CancelIoEx(GetStdHandle(STD_INPUT_HANDLE), NULL) ? 0 : 1; }
"""


def test_the_level_of_the_api(driver_folder: DriverFolder, tmp_path: Path) -> None:
    """Without the key a program sees all functions, or those of the level that its source defines, without a warning."""
    for name, source, keys in (
        ("plain", _CLIENT, {}),
        ("own", "#define _WIN32_WINNT 0x0600\n" + _CLIENT, {}),
        ("named", _CLIENT, {"api": "vista"}),
    ):
        built(
            driver_folder(name, source=source, kind="program", image=f"{name}.exe", warnings="errors", **keys), tmp_path / "out"
        )
    with pytest.raises(ConfigError, match="CancelIoEx"):
        built(driver_folder("old", source=_CLIENT, kind="program", image="old.exe", api="ws03"), tmp_path / "out")


def test_a_driver_may_define_its_own_level_without_a_warning(driver_folder: DriverFolder, tmp_path: Path) -> None:
    check = "#if NTDDI_VERSION != {0}\n#error level\n#endif\n"
    for name, before, level, keys in (
        ("none", "", "0x0A000000", {}),
        ("winnt", "#define _WIN32_WINNT 0x0601\n", "0x06010000", {}),
        ("ntddi", "#define NTDDI_VERSION 0x06020000\n", "0x06020000", {}),
        ("key", "", "0x0A000008", {"api": "win10"}),
    ):
        source = before + TINY_DRIVER.replace("<ntddk.h>\n", "<ntddk.h>\n" + check.format(level), 1)
        built(driver_folder(name, source=source, warnings="errors", **keys), tmp_path / "out")


def test_a_program_in_cxx_has_the_library(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=None, kind="program", image="tiny.exe", sources="[tiny.cpp]")
    lines = (
        "#include <string>\n#include <iostream>\nint main() {",
        'try { throw std::string("x"); } catch (const std::string &text) { std::cout << text; }',
        "}",
    )
    (folder / "tiny.cpp").write_text("\n".join(lines), encoding="utf-8")
    imports = pe.inspect(built(folder, tmp_path / "out").path, "program").imports
    assert set(imports) <= {"kernel32.dll", "msvcrt.dll"}


def test_a_header_in_utf_16_is_reported(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source='#include "resource.h"\n' + TINY_DRIVER)
    (folder / "resource.h").write_text("#define IDR_ONE 1\n", encoding="utf-16")
    with pytest.raises(ConfigError, match=r"resource\.h: is UTF-16") as caught:
        built(folder, tmp_path / "out")
    assert "save it as UTF-8" in caught.value.hint


_ROOM = """#include <ntddk.h>
typedef struct _VALUE { KEY_VALUE_PARTIAL_INFORMATION Info; UCHAR Room[64]; } VALUE;
ULONG Sum(VALUE *value);
ULONG Sum(VALUE *value)
{
    ULONG i, sum = 0;
    for (i = 0; i < value->Info.DataLength && i < 64; i++)
        sum += value->Info.Data[i];
    return sum;
}
"""


def test_a_loop_over_an_array_of_one_continues_into_the_following_bytes(
    driver_folder: DriverFolder, tmp_path: Path, compiler: Compiler
) -> None:
    """As with Microsoft's compiler. GCC by default ends it after one round: no branch back is left in the code."""
    component = load_component(driver_folder(source=_ROOM) / "driver.yaml")
    loops = []
    for flags in ([], compile_flags(component, "x64", "c")):
        words = [compiler.program, "-O2", *flags, *header_flags(component, compiler.kernel_headers, "c")]
        run([*words, "-c", str(component.folder / "tiny.c"), "-o", "tiny.o"], 60, cwd=tmp_path)
        code = run([compiler.tool("objdump"), "-d", "--disassemble=Sum", "tiny.o"], 60, cwd=tmp_path).stdout
        lines = [line.split("\t") for line in code.splitlines() if line.count("\t") >= 2]
        jumps = [(int(at.strip(" :"), 16), words.split()) for at, _, words in lines if words.startswith("j")]
        loops.append(any(int(words[1], 16) < at for at, words in jumps))
    assert loops == [False, True]


def test_a_missing_cxx_compiler_is_reported_with_its_package(
    driver_folder: DriverFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compiler, "cxx", property(lambda _self: "no-such-g++"))
    folder = driver_folder(source=None, sources="[tiny.cpp]")
    (folder / "tiny.cpp").write_text(_CXX, encoding="utf-8")
    with pytest.raises(HostToolError, match="no-such-g") as caught:
        built(folder, tmp_path / "out")
    assert "apt-get install g++-mingw-w64-x86-64" in caught.value.hint
