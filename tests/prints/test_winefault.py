"""Wine's messages about the end of a driver's process, from the print port. The lines are those of a real guest."""

from __future__ import annotations

import pytest

from lab.guest.lacks import PRIVILEGED, data_name, in_words, module_name
from lab.prints.decode import WineDecoder
from lab.prints.record import FaultRecord, NoteRecord, PrintRecord, Record

PRINT = b"150.727:0068:0074:warn:debugstr:vDbgPrintExWithPrefix 00000000:00000001: frob: entry"
CALL = b"wine: Call from 00006FFFFFC1CF77 to unimplemented function ntoskrnl.exe.ExInitializeRundownProtection, aborting"
ERR = b"150.745:0068:0074:err:seh:NtRaiseException Unhandled exception code 80000100 flags 1 addr 0x6fffffc1cf77"
LACKS = "function:ntoskrnl.exe!ExInitializeRundownProtection"


def decode(*lines: bytes) -> list[Record]:
    decoder = WineDecoder()
    records: list[Record] = []
    for number, line in enumerate(lines):
        records += decoder.feed(b"\x1e%d;%d;%s\n" % (number, len(line), line), 1.0)
    return records + decoder.flush()


def test_a_call_of_a_missing_function_is_named_and_the_print_before_it_is_unchanged() -> None:
    printed, noted, fault = decode(PRINT, CALL, ERR)
    assert isinstance(printed, PrintRecord)
    assert printed.text == "frob: entry"
    assert isinstance(noted, NoteRecord)
    assert isinstance(fault, FaultRecord)
    assert (fault.code, fault.parameters, fault.lacks) == (0x80000100, (0x6FFFFFC1CF77,), LACKS)


def test_an_exception_that_the_driver_handles_is_not_a_fault() -> None:
    records = decode(PRINT, CALL, PRINT)
    assert not [record for record in records if isinstance(record, FaultRecord)]


def test_a_missing_function_without_its_first_line_accuses_no_driver() -> None:
    [fault] = decode(ERR)
    assert isinstance(fault, FaultRecord)
    assert fault.lacks


def test_a_call_through_a_null_pointer_is_a_fault_at_address_0() -> None:
    [fault] = decode(b"207.102:0628:0634:err:seh:NtRaiseException Unhandled exception code c0000005 flags 0 addr (nil)")
    assert isinstance(fault, FaultRecord)
    assert (fault.code, fault.parameters, fault.lacks) == (0xC0000005, (0,), "")


@pytest.mark.parametrize(
    "line",
    [
        b"207.102:0628:0634:err:seh:NtRaiseException Unhandled exception code c0000096 flags 0 addr 0x6fffff001020",
        b"wine: Unhandled privileged instruction at address 00006FFFFF001020 (thread 00b4), starting debugger...",
    ],
)
def test_a_privileged_instruction_accuses_no_driver(line: bytes) -> None:
    """Nothing raises this code in the kernel of Windows: a driver may read a port there, but not in the stand-in."""
    [fault] = decode(line)
    assert isinstance(fault, FaultRecord)
    assert (fault.code, fault.lacks) == (0xC0000096, PRIVILEGED)
    assert "without a kernel's privilege" in in_words(fault.lacks)


@pytest.mark.parametrize(
    ("line", "code", "lacks"),
    [
        (
            b"wine: Unhandled page fault on execute access to 0000000000000000 at address 0000000000000000 (thread 00b4), "
            b"starting debugger...",
            0xC0000005,
            "",
        ),
        (b"wine: Unhandled division by zero at address 00006FFFFF001020 (thread 00b4), starting debugger...", 0xC0000094, ""),
        (
            b"wine: Unhandled exception 0xc0000420 in thread b4 at address 00006FFFFF001020 (thread 00b4), "
            b"starting debugger...",
            0xC0000420,
            "",
        ),
        (
            b"wine: Unimplemented function ntoskrnl.exe.ExInitializeRundownProtection called at address 00006FFFFFC1CF77 "
            b"(thread 07e0), starting debugger...",
            0x80000100,
            LACKS,
        ),
    ],
)
def test_a_fault_of_an_undebugged_process_is_one_line(line: bytes, code: int, lacks: str) -> None:
    printed, fault = decode(PRINT, line)
    assert isinstance(printed, PrintRecord)
    assert printed.text == "frob: entry"
    assert isinstance(fault, FaultRecord)
    assert (fault.code, fault.lacks, fault.guest_time) == (code, lacks, None)


def test_a_print_that_only_begins_like_a_fault_stays_a_print() -> None:
    [printed] = decode(PRINT, b"wine: a vintage of 1998")
    assert isinstance(printed, PrintRecord)
    assert printed.text == "frob: entry\nwine: a vintage of 1998"


def test_a_missing_module_is_named() -> None:
    [note] = decode(
        b' 61.627:0068:0074:err:module:import_dll Library wdfldr.sys (which is needed by L"C:\\\\x\\\\frob.sys") not found'
    )
    assert isinstance(note, NoteRecord)
    assert note.lacks == "module:wdfldr.sys"
    [other] = decode(b" 61.627:0068:0074:err:module:loader_init Importing dlls for frob.exe failed, status c0000135")
    assert isinstance(other, NoteRecord)
    assert other.lacks == ""


@pytest.mark.parametrize("client", [b"probe.exe", b"PROBE.EXE"])
def test_a_missing_module_of_a_client_excuses_no_driver(client: bytes) -> None:
    [note] = decode(
        b' 61.627:0068:0074:err:module:import_dll Library frob.dll (which is needed by L"C:\\\\x\\\\' + client + b'") not found'
    )
    assert isinstance(note, NoteRecord)
    assert note.lacks == ""


def test_missing_functions_and_modules_in_words() -> None:
    assert in_words(LACKS) == "this guest's kernel has no ExInitializeRundownProtection"
    assert in_words("function:fltmgr.sys!FltFoo") == "this guest's fltmgr.sys has no FltFoo"
    assert in_words(data_name("NTOSKRNL.EXE", "MmUserProbeAddress")) == "this guest's kernel has no variable MmUserProbeAddress"
    assert in_words(module_name("WdfLdr.sys")) == "this guest has no module wdfldr.sys"
