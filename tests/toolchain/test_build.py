from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pefile
import pytest

from lab.errors import ConfigError
from lab.host.assets import data_root
from lab.host.process import run
from lab.toolchain import build as build_module
from lab.toolchain import compile as compile_module
from lab.toolchain import pe
from lab.toolchain.build import build_components, build_drivers
from lab.toolchain.compile import ARCHES, Arch
from lab.toolchain.files import replace_with, sha256_of
from lab.toolchain.known import find_components
from lab.toolchain.manifest import load_component, load_folder
from lab.toolchain.places import symbol_file
from lab.toolchain.sign import SigningKey, verify
from lab.toolchain.stamp import read_stamp
from tests.toolchain.components import tiny

if TYPE_CHECKING:
    from tests.toolchain.conftest import DriverFolder
    from tests.toolchain.own_build import OwnBuilds

#: Functions that the lab's programs may import: all of it is in kernel32 of NT 5.2. CancelIoEx and friends are looked up at run
#: time.
_KERNEL32_NT52 = """
    CancelIo CloseHandle CreateDirectoryW CreateEventW CreateFileW CreatePipe CreateProcessW CreateSemaphoreW
    CreateThread DeleteFileW DeviceIoControl EnterCriticalSection ExitProcess FindClose FindFirstFileW
    FindNextFileW FlushFileBuffers
    GetCommandLineW GetCurrentProcessId GetCurrentThreadId GetDriveTypeW GetExitCodeProcess GetFileAttributesExW
    GetFileAttributesW GetFullPathNameW GetLastError GetLogicalDrives GetModuleFileNameW GetModuleHandleW GetOverlappedResult
    GetProcAddress GetProcessHeap GetStdHandle GetTickCount HeapAlloc HeapFree InitializeCriticalSection
    LeaveCriticalSection LoadLibraryW MoveFileExW MultiByteToWideChar QueryPerformanceCounter
    QueryPerformanceFrequency ReadFile ReleaseSemaphore ResetEvent SetErrorMode SetEvent SetHandleInformation Sleep
    WaitForMultipleObjects WaitForSingleObject WideCharToMultiByte WriteFile
"""
_KERNEL_NT52 = """
    DbgPrintEx KeDelayExecutionThread KeQueryActiveProcessors KeQueryInterruptTime KeQuerySystemTime
    KeRevertToUserAffinityThread KeSetSystemAffinityThread MmGetSystemRoutineAddress RtlCaptureContext
    DbgPrint IoCreateDevice IoCreateSymbolicLink IoDeleteDevice IoDeleteSymbolicLink IoReleaseCancelSpinLock
    IofCompleteRequest KeAcquireSpinLockAtDpcLevel KeAcquireSpinLockRaiseToDpc KeCancelTimer KeFlushQueuedDpcs
    KeInitializeDpc KeInitializeTimer KeReleaseSpinLock KeReleaseSpinLockFromDpcLevel KeSetTimer
    KefAcquireSpinLockAtDpcLevel KefReleaseSpinLockFromDpcLevel KfAcquireSpinLock KfReleaseSpinLock
    MmMapLockedPagesSpecifyCache RtlInitUnicodeString memcpy memset
"""
_ENTRY = """NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNREFERENCED_PARAMETER(driver);
    UNREFERENCED_PARAMETER(path);
    DbgPrint(WORDS);
    return STATUS_SUCCESS;
}
"""
_DRIVERS = {"sync": "sync.sys", "async": "async.sys", "relay": "labrelay.sys"}
_BARE = ("sync_reader", "async_reader", "drvprobe", "labfile", "relaymark")


@pytest.fixture(params=ARCHES)
def built(request: pytest.FixtureRequest, own: OwnBuilds) -> tuple[Arch, Path]:
    """The checkout's drivers and bare programs, for one processor."""
    arch: Arch = request.param
    return arch, own(arch).out


def test_the_drivers_import_what_nt52_has_and_are_signed(built: tuple[Arch, Path], key: SigningKey) -> None:
    arch, out = built
    for image in _DRIVERS.values():
        facts = pe.check(out / image, "driver", arch)
        imported = {item for names in facts.imports.values() for item in names}
        assert imported <= set(_KERNEL_NT52.split())
        verify(out / image, key)


def test_the_programs_import_kernel32_of_nt52_alone(built: tuple[Arch, Path]) -> None:
    arch, out = built
    for name in _BARE:
        facts = pe.check(out / f"{name}.exe", "program", arch)
        assert set(facts.imports) == {"kernel32.dll"}
        assert set(facts.imports["kernel32.dll"]) <= set(_KERNEL32_NT52.split())


def test_the_documented_strings_are_in_the_drivers_to_the_byte(built: tuple[Arch, Path]) -> None:
    _, out = built
    sync, reverse = (out / "sync.sys").read_bytes(), (out / "async.sys").read_bytes()
    assert "读字节长度: %d \n\0".encode() in sync
    assert b"hi, lyshark A\0" in sync
    assert "\\Device\\LySharkSync\0".encode("utf-16-le") in sync
    assert "\\DosDevices\\LySharkSync\0".encode("utf-16-le") in sync
    assert "当前DPC Irp: 0x%x\n\0".encode() in reverse
    assert "读取DPC长度: %d\n\0".encode() in reverse
    assert b"hello lyshark\0" in reverse
    assert "\\Device\\LySharkAsync\0".encode("utf-16-le") in reverse
    assert "\\DosDevices\\LySharkAsync\0".encode("utf-16-le") in reverse


def test_the_documented_strings_are_in_the_clients_to_the_byte(built: tuple[Arch, Path]) -> None:
    _, out = built
    sync, reverse = (out / "sync_reader.exe").read_bytes(), (out / "async_reader.exe").read_bytes()
    assert "读入数据: \0".encode() in sync
    assert " -> 读取长度: \0".encode() in sync
    assert "缓存LyShark \0".encode() in reverse


@pytest.mark.parametrize("arch", ARCHES)
def test_the_same_sources_give_the_same_bytes_wherever_they_lie(tmp_path: Path, arch: Arch) -> None:
    shas: list[dict[str, str]] = []
    for place in ("here", "somewhere/else entirely"):
        folder = tmp_path / place
        for part in ("async", "clients", "common"):
            shutil.copytree(data_root() / "driver" / part, folder / part)
        components = [*load_folder(folder / "async"), load_component(folder / "clients" / "async_reader.driver.yaml")]
        shas.append({result.name: result.sha256 for result in build_components(components, arch, folder / "out", None)})
    assert shas[0] == shas[1]


def test_unchanged_components_are_not_built_again(driver_folder: DriverFolder, tmp_path: Path, key: SigningKey) -> None:
    folder, out, said = driver_folder(), tmp_path / "out", list[str]()
    (first,) = build_components([tiny(folder)], "x64", out, key, progress=said.append)
    (second,) = build_components([tiny(folder)], "x64", out, key, progress=said.append)
    assert (first.rebuilt, second.rebuilt) == (True, False)
    assert first.sha256 == second.sha256 == sha256_of(out / "tiny.sys")
    assert said == ["tiny: building tiny.sys for x64", "tiny: tiny.sys is up to date"]


def test_every_input_counts(driver_folder: DriverFolder, tmp_path: Path, key: SigningKey) -> None:
    folder, out = driver_folder(), tmp_path / "out"
    (before,) = build_components([tiny(folder)], "x64", out, key)

    def rebuilt(*, signer: SigningKey | None = key, defines: tuple[str, ...] = ()) -> bool:
        (result,) = build_components([tiny(folder)], "x64", out, signer, defines=defines)
        return result.rebuilt

    source = folder / "tiny.c"
    source.write_text(source.read_text("utf-8").replace('"tiny"', '"tinz"'), "utf-8")
    assert rebuilt()
    assert sha256_of(out / "tiny.sys") != before.sha256
    (folder / "extra.h").write_text("/* a header that somebody may include */\n")
    assert rebuilt()
    assert rebuilt(defines=("FAULT=1",))
    assert rebuilt()
    assert rebuilt(signer=None)
    assert rebuilt()
    (out / "tiny.sys").write_bytes(b"somebody's own")
    assert rebuilt()
    (out / ".stamps" / "tiny.sys.json").write_text("{")
    assert rebuilt()
    assert not rebuilt()


def test_a_foreign_file_is_not_replaced(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder, out = driver_folder(), tmp_path / "out"
    out.mkdir()
    (out / "tiny.sys").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"tiny\.sys was not built by the lab") as caught:
        build_components([tiny(folder)], "x64", out, None)
    assert "--out" in caught.value.hint
    assert (out / "tiny.sys").read_bytes() == b"mine"
    (out / "tiny.sys").unlink()
    assert build_components([tiny(folder)], "x64", out, None)[0].rebuilt


def test_an_interrupted_build_blocks_no_later_build(
    driver_folder: DriverFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = driver_folder(), tmp_path / "out"
    real = replace_with
    for stop in (0, 1, 2, 3):
        calls: list[Path] = []

        @contextlib.contextmanager
        def interrupted(target: Path, calls: list[Path] = calls, stop: int = stop) -> Iterator[Path]:
            # Before and after each of the two files is put in its place.
            if len(calls) == stop:
                raise KeyboardInterrupt
            calls.append(target)
            with real(target) as temporary:
                yield temporary
            if len(calls) == stop:
                raise KeyboardInterrupt
            calls.append(target)

        monkeypatch.setattr(build_module, "replace_with", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build_components([tiny(folder)], "x64", out, None, defines=(f"STOP={stop}",))
        monkeypatch.setattr(build_module, "replace_with", real)
        (result,) = build_components([tiny(folder)], "x64", out, None, defines=(f"STOP={stop}",))
        assert result.sha256 == sha256_of(out / "tiny.sys")


def test_an_image_that_fails_the_checks_is_not_kept(driver_folder: DriverFolder, tmp_path: Path, key: SigningKey) -> None:
    source = '#include <ntddk.h>\n__asm__(".section .both,\\"wx\\"\\n.byte 1\\n.text");\n'
    source += "NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT d, PUNICODE_STRING p) { (void)d; (void)p; return DbgPrint(0); }\n"
    folder = driver_folder(source=source)
    with pytest.raises(ConfigError, match=r"section \.both is both writable and executable"):
        build_components([tiny(folder)], "x64", tmp_path / "out", key)
    assert not (tmp_path / "out" / "tiny.sys").exists()


def test_a_program_with_the_c_library(driver_folder: DriverFolder, tmp_path: Path) -> None:
    source = '#include <stdio.h>\nint main(void) { return puts("hello") < 0; }\n'
    folder = driver_folder(source=source, kind="program", image="tiny.exe")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert (result.kind, result.signed, result.path.name) == ("program", False, "tiny.exe")
    assert "kernel32.dll" in pe.check(result.path, "program", "x64").imports


def test_a_finished_image_is_not_built(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=None)
    (folder / "tiny.sys").write_bytes(b"MZ")
    with pytest.raises(ConfigError, match="there is nothing to build"):
        build_components([tiny(folder)], "x64", tmp_path / "out", None)


def test_components_by_name_and_by_path(driver_folder: DriverFolder) -> None:
    folder = driver_folder()
    found = find_components(["sync", str(folder), str(folder / "driver.yaml")])
    assert [component.name for component in found] == ["sync", "tiny", "tiny"]
    assert {"sync", "async", "labfile"} <= {component.name for component in find_components([])}


def test_an_unknown_name_is_reported_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        find_components(["snyc"])
    assert "sync" in caught.value.hint


def test_a_driver_is_built_with_its_symbols_under_another_name(driver_folder: DriverFolder, tmp_path: Path) -> None:
    component, out = tiny(driver_folder()), tmp_path / "out"
    build_components([component], "x64", out, None)
    image, symbols = out / "tiny.sys", symbol_file(out / "tiny.sys")
    assert symbols.parent.name == ".symbols"
    names = run(["x86_64-w64-mingw32-nm", str(symbols)], 60).stdout
    assert "DriverEntry" in names
    start = int(next(line for line in names.splitlines() if line.endswith(" DriverEntry")).split()[0], 16)
    said = run(["x86_64-w64-mingw32-addr2line", "-f", "-e", str(symbols), hex(start)], 60).stdout
    assert said.splitlines()[0] == "DriverEntry"
    assert "tiny.c:" in said
    with pefile.PE(str(image), fast_load=True) as stripped, pefile.PE(str(symbols), fast_load=True) as full:
        for plain, named in zip(stripped.sections, full.sections, strict=False):
            assert (plain.Name, plain.VirtualAddress) == (named.Name, named.VirtualAddress)
        assert stripped.sections[0].get_data() == full.sections[0].get_data()
    # A missing file is made again.
    symbols.unlink()
    assert build_components([component], "x64", out, None)[0].rebuilt
    assert symbols.is_file()


def test_a_component_for_another_processor_is_left_out_of_all_and_refused_by_name(own: OwnBuilds, tmp_path: Path) -> None:
    """Building everything for x86 used to end in the compiler's errors about the free guest's own driver."""
    names = {result.name for result in own("x86").results}
    assert {"sync", "async", "relay", "drvprobe"} <= names
    assert "wine-compat" not in names
    with pytest.raises(ConfigError, match="wine-compat is for x64, not for x86") as caught:
        build_drivers(["wine-compat"], "x86", tmp_path / "one", signed=False)
    assert caught.value.key == "arches"


def test_a_header_outside_of_the_folder_counts(driver_folder: DriverFolder, tmp_path: Path) -> None:
    """Only headers beside or below the manifest counted: after a change of this one the build counted as up to date."""
    shared = tmp_path / "inc dir" / "common.h"
    shared.parent.mkdir()
    shared.write_text('#include <ntddk.h>\n#include "deeper.inc"\n')
    (shared.parent / "deeper.inc").write_text('#define WORDS "one"\n')
    source = '#include "../inc dir/common.h"\n' + _ENTRY
    folder, out = driver_folder(source=source), tmp_path / "out"
    assert build_components([tiny(folder)], "x64", out, None)[0].rebuilt
    assert not build_components([tiny(folder)], "x64", out, None)[0].rebuilt
    (shared.parent / "deeper.inc").write_text('#define WORDS "two"\n')
    assert build_components([tiny(folder)], "x64", out, None)[0].rebuilt
    assert b"two\0" in (out / "tiny.sys").read_bytes()
    assert not build_components([tiny(folder)], "x64", out, None)[0].rebuilt


def test_a_header_that_comes_earlier_in_the_search_counts(
    driver_folder: DriverFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, early = tmp_path / "late", tmp_path / "early"
    for place in (late, early):
        place.mkdir()
    (late / "words.inc").write_text('#define WORDS "late"\n')
    monkeypatch.setenv("CPATH", f"{early}:{late}")
    folder, out = driver_folder(source='#include <ntddk.h>\n#include "words.inc"\n' + _ENTRY), tmp_path / "out"
    build_components([tiny(folder)], "x64", out, None)
    for place, words in ((early, b"early\0"), (folder, b"beside\0")):
        (place / "words.inc").write_text(f'#define WORDS "{words[:-1].decode()}"\n')
        assert build_components([tiny(folder)], "x64", out, None)[0].rebuilt
        assert words in (out / "tiny.sys").read_bytes()
        assert not build_components([tiny(folder)], "x64", out, None)[0].rebuilt


def test_a_file_that_is_saved_while_it_is_compiled_is_compiled_once_more(
    driver_folder: DriverFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = driver_folder(), tmp_path / "out"
    source = folder / "tiny.c"

    def run_and_save(argv: list[str], *args: Any, **options: Any) -> Any:
        finished = run(argv, *args, **options)
        if "tiny.c" in argv and "-c" in argv and b"late" not in source.read_bytes():
            source.write_text(source.read_text("utf-8").replace('"tiny"', '"late"'), "utf-8")
        return finished

    monkeypatch.setattr(compile_module, "run", run_and_save)
    assert build_components([tiny(folder)], "x64", out, None)[0].rebuilt
    assert b"late\0" in (out / "tiny.sys").read_bytes()
    assert not build_components([tiny(folder)], "x64", out, None)[0].rebuilt


def test_the_libraries_and_the_compilers_headers_count(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder, out = driver_folder(), tmp_path / "out"
    build_components([tiny(folder)], "x64", out, None)
    stamp = read_stamp(out / "tiny.sys")
    assert stamp is not None
    assert {"ntddk.h", "libntoskrnl.a", "tiny.c"} <= {Path(name).name for name in stamp.inputs.files}


def test_a_driver_never_overwrites_another_with_the_same_file_name(driver_folder: DriverFolder, tmp_path: Path) -> None:
    """`lab driver build` of a user's sync.sys replaced the lab's, because builds go to one flat folder."""
    ours, theirs = driver_folder("ours", image="tiny.sys"), driver_folder("theirs", image="TINY.sys")
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="builds a file with this name, too"):
        build_components([tiny(ours), tiny(theirs)], "x64", out, None)
    build_components([tiny(ours)], "x64", out, None)
    before = (out / "tiny.sys").read_bytes()
    (theirs / "driver.yaml").write_text((theirs / "driver.yaml").read_text("utf-8").replace("TINY", "tiny"), "utf-8")
    with pytest.raises(ConfigError, match=r"ours/driver\.yaml, and would be replaced by the build of .*theirs") as caught:
        build_components([tiny(theirs)], "x64", out, None)
    assert "--out" in caught.value.hint
    assert (out / "tiny.sys").read_bytes() == before


def test_a_checkout_that_was_moved_with_its_builds_stays_up_to_date(driver_folder: DriverFolder, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    driver_folder("drv").rename(tmp_path / "first" / "drv")
    build_components([tiny(tmp_path / "first" / "drv")], "x64", tmp_path / "first" / "out", None)
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    again = build_components([tiny(tmp_path / "second" / "drv")], "x64", tmp_path / "second" / "out", None)
    assert not again[0].rebuilt
