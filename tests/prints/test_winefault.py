"""Wine's last words about a driver's process, as the print port brings them. The lines are those of a real guest."""

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


def test_a_missing_function_that_was_called_is_named_and_the_print_before_it_stays_what_it_was() -> None:
    printed, noted, fault = decode(PRINT, CALL, ERR)
    assert isinstance(printed, PrintRecord)
    assert printed.text == "frob: entry"
    assert isinstance(noted, NoteRecord)
    assert isinstance(fault, FaultRecord)
    assert (fault.code, fault.parameters, fault.lacks) == (0x80000100, (0x6FFFFFC1CF77,), LACKS)


def test_a_call_that_the_driver_handles_itself_is_no_fault() -> None:
    records = decode(PRINT, CALL, PRINT)
    assert not [record for record in records if isinstance(record, FaultRecord)]


def test_a_fault_whose_first_line_is_missing_still_accuses_nobody() -> None:
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
def test_an_instruction_that_only_a_kernel_may_execute_accuses_nobody(line: bytes) -> None:
    """In Windows' kernel nothing raises this code: a driver that reads a port is right, and the stand-in is no kernel."""
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
def test_a_process_that_does_not_count_as_debugged_says_it_in_one_line_of_its_own(line: bytes, code: int, lacks: str) -> None:
    printed, fault = decode(PRINT, line)
    assert isinstance(printed, PrintRecord)
    assert printed.text == "frob: entry"
    assert isinstance(fault, FaultRecord)
    assert (fault.code, fault.lacks, fault.guest_time) == (code, lacks, None)


def test_a_print_of_a_driver_that_only_begins_like_it_goes_on_in_its_second_line() -> None:
    [printed] = decode(PRINT, b"wine: a vintage of 1998")
    assert isinstance(printed, PrintRecord)
    assert printed.text == "frob: entry\nwine: a vintage of 1998"


def test_a_module_that_is_not_there_is_named() -> None:
    [note] = decode(
        b' 61.627:0068:0074:err:module:import_dll Library wdfldr.sys (which is needed by L"C:\\\\x\\\\frob.sys") not found'
    )
    assert isinstance(note, NoteRecord)
    assert note.lacks == "module:wdfldr.sys"
    [other] = decode(b" 61.627:0068:0074:err:module:loader_init Importing dlls for frob.exe failed, status c0000135")
    assert isinstance(other, NoteRecord)
    assert other.lacks == ""


@pytest.mark.parametrize("client", [b"probe.exe", b"PROBE.EXE"])
def test_a_module_that_a_client_misses_excuses_no_driver(client: bytes) -> None:
    [note] = decode(
        b' 61.627:0068:0074:err:module:import_dll Library frob.dll (which is needed by L"C:\\\\x\\\\' + client + b'") not found'
    )
    assert isinstance(note, NoteRecord)
    assert note.lacks == ""


def test_what_is_missing_in_words() -> None:
    assert in_words(LACKS) == "this guest's kernel has no ExInitializeRundownProtection"
    assert in_words("function:fltmgr.sys!FltFoo") == "this guest's fltmgr.sys has no FltFoo"
    assert in_words(data_name("NTOSKRNL.EXE", "MmUserProbeAddress")) == "this guest's kernel has no variable MmUserProbeAddress"
    assert in_words(module_name("WdfLdr.sys")) == "this guest has no module wdfldr.sys"
