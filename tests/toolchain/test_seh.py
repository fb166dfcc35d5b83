"""Structured exception handling: where a driver uses it, and how Clang compiles it."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pefile
import pytest

from lab.errors import ConfigError, HostToolError
from lab.host.process import run
from lab.toolchain import pe
from lab.toolchain.build import BuildResult, build_components
from lab.toolchain.choice import wanted_clang
from lab.toolchain.clang import look_for_clang
from lab.toolchain.diagnosis import explained
from lab.toolchain.manifest import Component, load_component
from lab.toolchain.places import symbol_file
from lab.toolchain.seh import seh_place
from lab.toolchain.stamp import read_stamp
from tests.toolchain.conftest import TINY_DRIVER
from tests.toolchain.kit_sources import AS_IN_THE_WDK, BEYOND_MINGW

if TYPE_CHECKING:
    from tests.toolchain.conftest import DriverFolder

GUARDED = TINY_DRIVER.replace(
    'DbgPrint("tiny");',
    '__try { *(volatile int *)path = 1; DbgPrint("tiny"); } __except (1) { return GetExceptionCode(); }',
)


def load(folder: Path) -> Component:
    return load_component(folder / "driver.yaml")


def built(folder: Path, out: Path, said: list[str] | None = None) -> BuildResult:
    (result,) = build_components([load(folder)], "x64", out, None, progress=said.append if said is not None else None)
    return result


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("drv.c", "int a;\nvoid f(void) {\n  __try { a = 1; } __except (1) { }\n}\n", "drv.c:3 uses __try"),
        ("drv.c", "void f(void) { try\n{ } except (1) { } }\n", "drv.c:1 uses try"),
        ("drv.c", "#define GUARD __try\n", "drv.c:1 uses __try"),
        (
            "drv.c",
            '/* __try\n */ char *s = "__try \\" {"; // __try \\\n __try\nint c = \'"\'; void g(void) { __try { } }',
            "drv.c:4 uses __try",
        ),
        ("drv.c", "// __try\n/* __try */ char s[] = \"__try \\\" {\", t = '\\'';\nint try_again, _trying; /* __try", None),
        ("drv.c", "int try = 1;\nint f(void) { return try; }\n#error \"don't\nint retry;\n", None),
        ("drv.cpp", "void f() { try { } catch (...) { } }\n", None),
        ("drv.cpp", "void f() { __try { } __finally { } }\n", "drv.cpp:1 uses __try"),
        ("drv.S", "__try\n", None),
    ],
)
def test_uses_are_distinguished_from_comments_and_strings(tmp_path: Path, name: str, text: str, place: str | None) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = seh_place(tmp_path, [name])
    assert (str(found) if found else None) == place


def test_a_use_in_a_header_of_the_driver_counts(tmp_path: Path) -> None:
    for folder in ("drv", "inc"):
        (tmp_path / folder).mkdir()
    (tmp_path / "drv" / "drv.c").write_text('#include <ntddk.h>\n#include "One.h"\n', encoding="utf-8")
    (tmp_path / "drv" / "one.h").write_text('#include <two.h>\n#include "one.h"\n', encoding="utf-8")
    (tmp_path / "drv" / "apart.h").write_text("#define NOT_INCLUDED __try\n", encoding="utf-8")
    (tmp_path / "inc" / "two.h").write_bytes("/* 读 */\n#define GUARDED __try\n".encode("gbk"))
    assert seh_place(tmp_path / "drv", ["drv.c"]) is None
    assert str(seh_place(tmp_path / "drv", ["drv.c"], ["../inc"])) == "../inc/two.h:2 uses __try"


def test_the_manifest_decides(driver_folder: DriverFolder) -> None:
    guarded = {"source": GUARDED, "arches": "[x64]"}
    assert wanted_clang(load(driver_folder("one", **guarded))) == "one.c:6 uses __try"
    assert wanted_clang(load(driver_folder("two", **guarded, compiler="gcc"))) == ""
    assert wanted_clang(load(driver_folder("three", compiler="clang"))) == "the manifest has `compiler: clang`"
    assert wanted_clang(load(driver_folder("four"))) == ""
    with pytest.raises(ConfigError, match="'auto', 'gcc' or 'clang'"):
        load(driver_folder("five", compiler="msvc"))


def scopes(image: Path) -> list[tuple[int, int, int, int]]:
    """The scopes of all functions of an image: begin, end, filter, block."""
    parsed = pefile.PE(str(image))
    found = []
    for entry in parsed.DIRECTORY_ENTRY_EXCEPTION:
        info = entry.unwindinfo
        if not info or not info.Flags & 1:
            continue
        at = entry.struct.UnwindData + 4 + 2 * ((info.CountOfCodes + 1) & ~1) + 4
        (count,) = struct.unpack("<I", parsed.get_data(at, 4))
        found += [struct.unpack("<4I", parsed.get_data(at + 4 + 16 * number, 16)) for number in range(count)]
    return found


def test_a_driver_with_try_is_compiled_correctly_by_clang(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder, said = driver_folder(source=GUARDED), list[str]()
    result = built(folder, tmp_path / "out", said)
    assert "clang version" in result.compiler
    assert said == [f"tiny: building tiny.sys for x64 by {result.compiler}: tiny.c:6 uses __try"]
    imports = pe.check(result.path, "driver", "x64").imports
    assert imports == {"ntoskrnl.exe": ("DbgPrint", "__C_specific_handler")}
    # The write is one of the block's own statements, and its place is within a scope whose handler takes everything.
    dump = run(["x86_64-w64-mingw32-objdump", "-d", str(symbol_file(result.path))], 60).stdout
    [write] = [int(line.split(":")[0], 16) for line in dump.splitlines() if "movl   $0x1,(" in line]
    base = int(pefile.PE(str(result.path)).OPTIONAL_HEADER.ImageBase)
    assert [
        begin <= write - base < end and handler == 1 and block != 0 for begin, end, handler, block in scopes(result.path)
    ] == [True]
    stamp = read_stamp(result.path)
    assert stamp is not None
    assert stamp.compiler == result.compiler
    assert {"tiny.c"} < set(stamp.inputs.files)
    assert any(name.endswith("/ntddk.h") for name in stamp.inputs.files)
    said.clear()
    assert not built(folder, tmp_path / "out", said).rebuilt
    assert said == ["tiny: tiny.sys is up to date"]


def test_same_inputs_give_the_same_bytes_from_clang_too(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=GUARDED)
    shutil.copytree(folder, tmp_path / "elsewhere" / "tiny")
    one, other = (built(place, tmp_path / f"out-{place.parent.name}") for place in (folder, tmp_path / "elsewhere" / "tiny"))
    assert one.path.read_bytes() == other.path.read_bytes()


@pytest.mark.parametrize("source", [AS_IN_THE_WDK, BEYOND_MINGW])
def test_microsofts_extensions_that_gcc_accepts_clang_accepts_too(
    driver_folder: DriverFolder, tmp_path: Path, source: str
) -> None:
    both = "[tiny.c, other.c]"
    folder = driver_folder(source=source, sources=both, compiler="clang", warnings="errors", cflags="[-Wno-extra]")
    shared = "FORCEINLINE ULONG LabShared(void) { return 5; }\nULONG LabOther(void);\n"
    (folder / "shared.h").write_text(shared, encoding="utf-8")
    other = '#include <ntddk.h>\n#include <ntstrsafe.h>\n#include "shared.h"\nULONG LabOther(void) { return LabShared(); }\n'
    (folder / "other.c").write_text(other, encoding="utf-8")
    pe.check(built(folder, tmp_path / "out").path, "driver", "x64")


def test_clang_builds_kit_sources_cxx_and_programs(driver_folder: DriverFolder, tmp_path: Path) -> None:
    kit = GUARDED.replace("__try", "try").replace("__except", "except").replace("<ntddk.h>", "<NTDDK.H>")
    assert scopes(built(driver_folder(source=kit), tmp_path / "kit").path)
    cxx = driver_folder("cxx", source=None, sources="[cxx.cpp]")
    (cxx / "cxx.cpp").write_text(GUARDED.replace("NTSTATUS NTAPI", 'extern "C" NTSTATUS NTAPI', 1), encoding="utf-8")
    assert scopes(built(cxx, tmp_path / "cxx-out").path)
    program = driver_folder(
        "prog",
        source="#include <windows.h>\nint main(int n, char **v) { __try { **v = 1; } __except (1) { return n; } return 0; }\n",
        kind="program",
        image="prog.exe",
    )
    assert scopes(built(program, tmp_path / "prog-out").path)


def test_inline_functions_can_be_called_in_a_try_block(driver_folder: DriverFolder, tmp_path: Path) -> None:
    """Clang calls them in such a block, and two object files have a copy each."""
    calls = (
        "LIST_ENTRY list; InitializeListHead(&list); IoMarkIrpPending((PIRP)driver); (void)__readcr8(); InHeader(); Quick();"
        " KeMemoryBarrier(); READ_PORT_UCHAR((PUCHAR)5);"
    )
    source = GUARDED.replace('DbgPrint("tiny");', calls).replace("\nNT", '\n#include "header.h"\nNT', 1)
    folder = driver_folder(source=source, sources="[tiny.c, other.c]")
    header = "FORCEINLINE ULONG InHeader(void) { return 5; }\n__inline ULONG Quick(void) { return InHeader(); }\n"
    (folder / "header.h").write_text(header, encoding="utf-8")
    other = "VOID Other(VOID);\nVOID Other(VOID) { __try { InHeader(); Quick(); __inbyte(3); } __finally { Quick(); } }\n"
    (folder / "other.c").write_text(f'#include <ntddk.h>\n#include "header.h"\n{other}', encoding="utf-8")
    said: list[str] = []
    image = built(folder, tmp_path / "out", said).path
    assert pe.check(image, "driver", "x64").imports == {"ntoskrnl.exe": ("__C_specific_handler",)}
    assert [line for line in said if "warning" in line] == []


def test_a_crash_of_clang_is_not_the_sources_fault() -> None:
    crash = HostToolError(["clang"], 139, "clang: error: clang frontend command failed with exit code 139\n")
    told = explained(crash, Path("/src"), Path("/src/driver.yaml"))
    assert isinstance(told, HostToolError)
    assert "add a statement after it" in told.hint


def test_an_address_in_clangs_code_has_its_line(driver_folder: DriverFolder, tmp_path: Path) -> None:
    source = GUARDED.replace(
        "\nNTSTATUS", "\nstatic __declspec(noinline) int Far(volatile int *at)\n{\n    return *at;\n}\nNTSTATUS", 1
    )
    source = source.replace("*(volatile int *)path = 1", "Far((volatile int *)path)")
    symbols = symbol_file(built(driver_folder(source=source), tmp_path / "out").path)
    listed = run(["x86_64-w64-mingw32-nm", str(symbols)], 60).stdout.splitlines()
    [far] = [line.split()[0] for line in listed if line.endswith(" Far")]
    told = run(["x86_64-w64-mingw32-addr2line", "-f", "-e", str(symbols), far], 60).stdout.split()
    assert (told[0], told[1].partition("tiny.c")[2]) == ("Far", ":4")


def test_gbk_sources_come_out_as_from_gcc(driver_folder: DriverFolder, tmp_path: Path) -> None:
    """The second byte of 乗 in GBK is a backslash: in a comment it would continue the comment on the next line."""
    text = GUARDED.replace('DbgPrint("tiny")', 'DbgPrint("写入 乗%wZ" TAIL, &title)').replace(
        "\nNT", '\n#include "读.h"\n// 乗\nstatic UNICODE_STRING title = RTL_CONSTANT_STRING(L"总线");\nNT', 1
    )
    folder = driver_folder(encoding="gbk")
    (folder / "tiny.c").write_bytes(text.replace("读.h", "head.h").encode("gbk"))
    (folder / "head.h").write_bytes('#define TAIL "17头7" // 写\n'.encode("gbk"))
    content = built(folder, tmp_path / "out").path.read_bytes()
    assert "写入 乗%wZ17头7".encode("gbk") in content
    assert "总线".encode("utf-16-le") in content
    (folder / "tiny.c").write_text(text.replace("读.h", "head.h"), encoding="utf-8")  # beside a header in GBK
    assert "写入 乗%wZ17头7".encode("gbk") in built(folder, tmp_path / "out").path.read_bytes()
    (folder / "tiny.c").write_text(text.replace("读.h", "head.h").replace("乗%", "🙂%"), encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be written in gbk") as caught:
        built(folder, tmp_path / "out")
    assert caught.value.line == 9


@pytest.mark.parametrize(
    ("source", "line", "said", "hint"),
    [
        (
            GUARDED.replace("STATUS_SUCCESS", "STATUS_SUCESS"),
            7,
            "use of undeclared identifier",
            "include the header or define the macro",
        ),
        (GUARDED.replace('DbgPrint("tiny")', "LabUndeclared()"), 6, "call to undeclared function", "do not declare it"),
        ('#include "absent.h"\n' + GUARDED, 1, "'absent.h' file not found", "name its folder"),
    ],
)
def test_mistakes_in_the_source_are_reported_in_clangs_words(
    driver_folder: DriverFolder, tmp_path: Path, source: str, line: int, said: str, hint: str
) -> None:
    folder = driver_folder(source=source)
    with pytest.raises(ConfigError, match="does not compile") as caught:
        built(folder, tmp_path / "out")
    assert (caught.value.file, caught.value.line) == (str(folder / "tiny.c"), line)
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_cflags_that_clang_does_not_know_are_the_manifests(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=GUARDED, cflags="[-fipa-pta]")
    with pytest.raises(ConfigError, match="-fipa-pta") as caught:
        built(folder, tmp_path / "out")
    assert "must be options of Clang" in caught.value.hint


@pytest.mark.parametrize(
    ("body", "said"), [("__try { } __except (1) { }", "__try"), ("try { } except (1) { }", "‘try’ undeclared")]
)
def test_gccs_error_for_try_names_clang(driver_folder: DriverFolder, tmp_path: Path, body: str, said: str) -> None:
    folder = driver_folder(source=TINY_DRIVER.replace('DbgPrint("tiny");', body), compiler="gcc")
    with pytest.raises(ConfigError, match="does not compile") as caught:
        built(folder, tmp_path / "out")
    assert said in caught.value.message
    assert "`compiler: clang`" in caught.value.hint


def test_try_is_refused_for_x86(driver_folder: DriverFolder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tiny\.c:6 uses __try, which the lab compiles for x64 only") as caught:
        build_components([load(driver_folder(source=GUARDED))], "x86", tmp_path / "out", None)
    assert "arches: [x64]" in caught.value.hint


def clang_that(folder: Path, name: str, version: str, does: str) -> None:
    folder.mkdir(exist_ok=True)
    script = folder / name
    script.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "clang version {version}" && exit 0\n{does}\n', encoding="utf-8"
    )
    script.chmod(0o755)


def test_an_unusable_clang_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = look_for_clang()
    assert found is not None
    clang_that(tmp_path / "bin", "clang", "14.0.6", "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    other, _ = look_for_clang()
    assert other is not None
    assert "14.0.6" not in other.version
    # A Clang that knows the option and writes an empty table, as 16 does, is not usable either.
    real = f'exec {found.program} $(for word; do [ "$word" = -fasync-exceptions ] && word=-fno-ident; echo "$word"; done)'
    clang_that(tmp_path / "bin", "clang-16", "16.0.6", real)
    monkeypatch.setattr("lab.toolchain.clang._candidates", lambda: ["clang-16"])
    assert look_for_clang() == (None, "none here catches exceptions of the block itself (clang version 16.0.6)")


def test_without_clang_its_package_is_named(
    driver_folder: DriverFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.toolchain.clang._candidates", list)
    with pytest.raises(HostToolError, match=r"tiny: tiny\.c:6 uses __try, which needs Clang; Clang is not installed") as caught:
        built(driver_folder(source=GUARDED), tmp_path / "out")
    assert "apt-get install clang-19" in caught.value.hint
    assert "`compiler: gcc`" in caught.value.hint
