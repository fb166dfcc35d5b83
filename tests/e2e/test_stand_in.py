"""Drivers that call functions which the free guest's kernel lacks, and drivers that only seem to: in the real guest."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.report.model import TestEntry
from tests.e2e.frameworked import write_frameworked
from tests.e2e.running import FinishedRun, launch

pytestmark = pytest.mark.e2e

HEAD = """
#include <ntddk.h>
static VOID NTAPI Unload(PDRIVER_OBJECT driver) { UNREFERENCED_PARAMETER(driver); }
DRIVER_INITIALIZE DriverEntry;
%s
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNREFERENCED_PARAMETER(path);
    driver->DriverUnload = Unload;
    %s
    return STATUS_SUCCESS;
}
"""
#: Name of the driver -> the code before DriverEntry, and in it.
DRIVERS = {
    "declares": ("volatile LONG never;", "if (never) ExInitializeRundownProtection((PEX_RUNDOWN_REF)&never);"),
    "calls": ("EX_RUNDOWN_REF rundown;", 'DbgPrint("calls: now\\n"); ExInitializeRundownProtection(&rundown);'),
    "variable": ("extern __declspec(dllimport) PVOID SeExports;", "if (SeExports == NULL) return STATUS_UNSUCCESSFUL;"),
    "refuses": ("", "return STATUS_INSUFFICIENT_RESOURCES;"),
    "nullcall": ("static VOID (*volatile Nothing)(VOID);", "Nothing();"),
    "ports": ("", 'DbgPrint("ports: %x\\n", READ_PORT_UCHAR((PUCHAR)0x71));'),
    "physical": ("", 'DbgPrint("physical: %d\\n", MmGetPhysicalAddress(driver).LowPart != 0);'),
    "queues": (
        """
static KDPC Dpc;
static KEVENT Ran;
static VOID NTAPI Routine(PKDPC dpc, PVOID context, PVOID one, PVOID two)
{
    DbgPrint("queues: %d %d %d\\n", dpc == &Dpc, context == &Dpc, (int)((ULONG_PTR)one + (ULONG_PTR)two));
    KeSetEvent(&Ran, IO_NO_INCREMENT, FALSE);
}
""",
        """
    LARGE_INTEGER limit;
    limit.QuadPart = -50000000;
    KeInitializeEvent(&Ran, NotificationEvent, FALSE);
    KeInitializeDpc(&Dpc, Routine, &Dpc);
    if (!KeInsertQueueDpc(&Dpc, (PVOID)3, (PVOID)4)) DbgPrint("queues: not queued\\n");
    if (KeWaitForSingleObject(&Ran, Executive, KernelMode, FALSE, &limit) != STATUS_SUCCESS) DbgPrint("queues: not run\\n");
""",
    ),
    "chatty": ("", 'for (LONG i = 0; i < 10000; i++) DbgPrint("chatty: line %d of ten thousand\\n", i);'),
}
#: What a driver prints, and what NT prints for it.
PRINTS = {
    '"%wZ|%Z|%d", &wide, &narrow, 7': "wide|narrow|7",
    '"%hZ|%lZ|[%8wZ]", &narrow, &wide, &wide': "narrow|wide|[    wide]",
    '"%ws|%S|%ls|%hs|%s", L"w", L"w", L"w", "n", "n"': "w|w|w|n|n",
    "\"%C|%lc|%wc|%hc|%c\", L'w', L'w', L'w', 'n', 'n'": "w|w|w|n|n",
    '"[%8.2ws][%-6S]", L"wide", L"wide"': "[      wi][wide  ]",
    '"%I64x|%Ix|%llx", huge, (ULONG_PTR)huge, huge': "123456789abc|123456789abc|123456789abc",
    '"%I32d|%08x|%#x", 5, 18, 18': "5|00000012|0x12",
    '"%p", (PVOID)(ULONG_PTR)0x1234ABCD': "000000001234ABCD",
    '"%s|%ws|%wZ", (PCSTR)NULL, (PCWSTR)NULL, (PUNICODE_STRING)NULL': "(null)|(null)|(null)",
    '"%S", L"\\x8BFB\\x20AC"': "\u8bfb\u20ac",
    '"%s", "100%% as it is: %wZ"': "100%% as it is: %wZ",
    '"%.2000s", long_text': "x" * 510,
}
STRINGS = {
    'sprintf(text, "%wZ|%d", &wide, 7)': "wide|7",
    '_snprintf(text, sizeof(text), "%Z|%ws|%C", &narrow, L"w", L\'w\')': "narrow|w|w",
    '(_snwprintf(buffer, 64, L"%wZ|%s|%S|%hs", &wide, L"w", "n", "n"), sprintf(text, "%S", buffer))': "wide|w|n|n",
    '(swprintf(buffer, L"%Z|%d", &narrow, 7), sprintf(text, "%ws", buffer))': "narrow|7",
    'sprintf(text, "%d", _snprintf(buffer8, 8, "%wZ%wZ", &wide, &wide))': "8",
    'sprintf(text, "%d", _snprintf(buffer8, 7, "%wZ%wZ", &wide, &wide))': "-1",
}


def write_driver(folder: Path, name: str, source: str) -> Path:
    place = folder / name
    place.mkdir()
    (place / f"{name}.c").write_text(source, encoding="utf-8")
    manifest = f"name: {name}\nimage: {name}.sys\nsources: [{name}.c]\narches: [x64]\n"
    (place / "driver.yaml").write_text(manifest, encoding="utf-8")
    return place


def speaker() -> str:
    declared = """
int __cdecl sprintf(char *, const char *, ...);
int __cdecl _snprintf(char *, SIZE_T, const char *, ...);
int __cdecl _snwprintf(WCHAR *, SIZE_T, const WCHAR *, ...);
int __cdecl swprintf(WCHAR *, const WCHAR *, ...);
static CHAR long_text[2001], text[512], buffer8[8];
static WCHAR buffer[64];
"""
    body = """
    UNICODE_STRING wide; ANSI_STRING narrow; volatile ULONG64 huge = 0x123456789ABC; ULONG i;
    RtlInitUnicodeString(&wide, L"wide");
    RtlInitAnsiString(&narrow, "narrow");
    for (i = 0; i < 2000; i++) long_text[i] = 'x';
"""
    lines = [f"    DbgPrint({call});" for call in PRINTS]
    lines += [f'    {call}; DbgPrint("%s\\n", text);' for call in STRINGS]
    lines += ['    DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_TRACE_LEVEL, "half: %f\\n", 0.5);']
    lines += ['    DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_TRACE_LEVEL, "%wZ\\n", &wide);']
    return (HEAD % (declared, body + "\n".join(lines))).replace("<ntddk.h>", "<ntifs.h>")


SUITE = """
import pytest

PRINTED = {printed!r}


@pytest.mark.lab_driver("speaker")
def test_speaker(driver, prints):
    got = prints.expect(PRINTED)
    assert (got[-1].component, got[-1].level) == (77, 4), "component and level stay what they are"
    assert [p.text.rstrip() for p in got if p.unlike_nt] == ["\u8bfb\u20ac", "half: f"]
    assert (got[-2].component, got[-2].level) == (77, 4)
    assert len(got[{long}].raw) == 510, "511 bytes and a newline in the place of the last one, which is the line's end here"


@pytest.mark.lab_driver("chatty")
def test_chatty(driver, prints):
    assert [p.text.rstrip() for p in prints.drain()] == [f"chatty: line {{i}} of ten thousand" for i in range(10000)]
"""


def suite(folder: Path) -> Path:
    text = SUITE.format(printed=[*PRINTS.values(), *STRINGS.values(), "half: f", "wide"], long=len(PRINTS) - 1)
    for name in ("declares", "calls", "variable", "refuses", "nullcall", "frameworked", "ports", "physical", "queues"):
        text += (
            f'\n\n@pytest.mark.lab_driver("{name}")\ndef test_{name}(driver):\n    assert driver.state().name == "RUNNING"\n'
        )
    file = folder / "test_stand_in_suite.py"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """One run for all tests of this module."""
    folder = tmp_path_factory.mktemp("stand-in")
    drivers = [write_driver(folder, name, HEAD % parts) for name, parts in DRIVERS.items()]
    drivers += [write_driver(folder, "speaker", speaker()), write_frameworked(folder)]
    options = [part for driver in drivers for part in ("--driver", str(driver))]
    run = launch(folder / "out", *options, "--workers", "1", str(suite(folder))).finish()
    assert (run.out / "run.json").exists(), run.output
    return run


def entry(run: FinishedRun, name: str) -> TestEntry:
    [found] = [test for test in run.report.tests if test.nodeid.endswith(f"::test_{name}")]
    return found


def test_every_conversion_prints_what_nt_prints(ran: FinishedRun) -> None:
    found = entry(ran, "speaker")
    assert found.verdict == "passed", found.reason + found.details


def test_a_driver_that_prints_ten_thousand_lines_while_it_loads_is_loaded(ran: FinishedRun) -> None:
    found = entry(ran, "chatty")
    assert found.verdict == "passed", found.reason


def test_an_import_that_is_only_declared_does_no_harm_until_it_is_called(ran: FinishedRun) -> None:
    assert entry(ran, "declares").verdict == "passed", entry(ran, "declares").reason
    called = entry(ran, "calls")
    stub = "function:ntoskrnl.exe!ExInitializeRundownProtection"
    assert (called.verdict, called.missing_capability, called.fault) == ("skipped", stub, None)
    assert called.reason == f"needs {stub}: this guest's kernel has no ExInitializeRundownProtection"
    assert [line.text for line in called.prints] == ["calls: now"], "Wine's own words are no part of a print"
    assert called.evidence == []


@pytest.mark.parametrize(
    ("name", "missing", "words"),
    [
        ("ports", "instruction:privileged", "this guest runs drivers without a kernel's privilege"),
        ("physical", "function:ntoskrnl.exe!MmGetPhysicalAddress", "this guest's kernel has no MmGetPhysicalAddress"),
    ],
)
def test_privileged_instructions_accuse_no_driver(ran: FinishedRun, name: str, missing: str, words: str) -> None:
    found = entry(ran, name)
    assert (found.verdict, found.missing_capability, found.fault) == ("skipped", missing, None), found.reason
    assert words in found.reason


def test_a_dpc_that_the_driver_queues_itself_runs(ran: FinishedRun) -> None:
    found = entry(ran, "queues")
    assert (found.verdict, [line.text.strip() for line in found.prints]) == ("passed", ["queues: 1 1 7"]), found.reason


@pytest.mark.parametrize(
    ("name", "missing", "words"),
    [
        ("frameworked", "module:wdfldr.sys", "this guest has no module wdfldr.sys"),
        ("variable", "data:ntoskrnl.exe!SeExports", "this guest's kernel has no variable SeExports"),
    ],
)
def test_missing_modules_are_reported_before_the_boot(ran: FinishedRun, name: str, missing: str, words: str) -> None:
    found = entry(ran, name)
    assert (found.verdict, found.missing_capability, found.guest_id) == ("skipped", missing, None)
    assert words in found.reason
    assert f"{name}: {words}: its tests are skipped on this guest" in ran.output


def test_the_run_reports_missing_functions_before_the_boot(ran: FinishedRun) -> None:
    line = "calls imports functions that this guest's kernel only declares: ExInitializeRundownProtection;"
    assert line in ran.output


def test_the_status_of_driver_entry_is_reported_as_the_drivers_own(ran: FinishedRun) -> None:
    found = entry(ran, "refuses")
    assert found.verdict == "product"
    assert "DriverEntry returned 0xC000009A (STATUS_INSUFFICIENT_RESOURCES) or one like it" in found.reason
    assert "as sc start's 1450 says" in found.reason
    assert "memory_mb" not in found.details


def test_a_call_through_a_null_pointer_is_the_drivers_fault(ran: FinishedRun) -> None:
    found = entry(ran, "nullcall")
    assert found.verdict == "crash"
    assert found.fault is not None
    assert (found.fault.code, found.fault.parameters) == ("0xC0000005", ["0x0"])
    assert "a null function pointer was called" in found.fault.hint
