r"""Parses what Wine writes when a driver's process ends.

Observed with Wine 10.0. In a process that counts as being debugged (the driver ``wine-compat`` ensures that):

- ``err:seh:NtRaiseException Unhandled exception code c0000005 flags 0 addr 0x…``, where a call through a null pointer has the
  address ``(nil)``;
- before it, if the driver called a function that Wine does not have, ``wine: Call from 00006FFFFFC1CF77 to unimplemented
function
  ntoskrnl.exe.MmGetVirtualForPhysical, aborting``. This covers functions that Wine only declares (stubs) and imports that are
  unknown to it: its loader links both to code that raises 0x80000100, so the load itself succeeds.

A driver that imports from a missing module is not loaded, and ``sc start`` fails with 1114:
``err:module:import_dll Library wdfldr.sys (which is needed by L"C:\\lab\\run\\frob.sys") not found``.

In every other process, it is one line without a time stamp, ``wine: Unhandled page fault on write access to … at address …
(thread 00b4), starting debugger...``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.guest.lacks import PRIVILEGED, function_name, module_name

#: Wine's exception for a call of a missing function.
STUB_CALLED = 0x80000100
#: The exception for a privileged instruction; in a real kernel, no instruction raises it.
_PRIVILEGED_INSTRUCTION = 0xC0000096

_RAISED = re.compile(rb"Unhandled exception code ([0-9a-f]{1,8}) flags [0-9a-f]+ addr (?:\(nil\)|(?:0x)?([0-9a-f]{1,16}))")
_STUB = re.compile(rb"wine: Call from (?:0x)?([0-9A-Fa-f]{1,16}) to unimplemented function (\S+)\.([^\s.]+), aborting")
#: If a program misses a library, a client was copied without it; that is not about a driver.
_MODULE = re.compile(rb'Library (\S+) \(which is needed by L"(?![^"]*\.exe")[^"]*"\) not found', re.IGNORECASE)
_OUTSIDE = re.compile(
    rb"wine: (?P<what>.{1,300}?) at address (?:0x)?(?P<at>[0-9A-Fa-f]{1,16}) \(thread [0-9a-f]{1,8}\), starting debugger\.\.\."
)
_OUTSIDE_STUB = re.compile(rb"Unimplemented function (\S+)\.([^\s.]+) called")
_OUTSIDE_CODE = re.compile(rb"Unhandled exception 0x([0-9a-f]{8})")
#: Beginning of the line of a process that is not being debugged → code of its exception, which the line does not have.
_OUTSIDE_WORDS = (
    (b"Unhandled page fault", 0xC0000005),
    (b"Unhandled division by zero", 0xC0000094),
    (b"Unhandled overflow", 0xC0000095),
    (b"Unhandled array bounds", 0xC000008C),
    (b"Unhandled illegal instruction", 0xC000001D),
    (b"Unhandled stack overflow", 0xC00000FD),
    (b"Unhandled privileged instruction", 0xC0000096),
    (b"Unhandled alignment", 0x80000002),
)


@dataclass(frozen=True, slots=True)
class WineFault:
    """An unhandled exception.

    Attributes:
        code: Its code.
        address: The address at which it was raised; 0 for a call through a null pointer.
        lacks: What the driver used and Wine lacks, as :mod:`lab.guest.lacks` names it: a function, or a privileged instruction.
    """

    code: int
    address: int
    lacks: str = ""


def raised(text: bytes) -> WineFault | None:
    """The fault in the text of an ``err:seh`` line; None if it is about something else."""
    found = _RAISED.match(text)
    return _fault(int(found[1], 16), int(found[2] or b"0", 16)) if found else None


def stub_called(line: bytes) -> WineFault | None:
    """The call of a missing function in a line without header; the fault itself follows, unless the driver handles it."""
    found = _STUB.fullmatch(line)
    return WineFault(STUB_CALLED, int(found[1], 16), _function(found[2], found[3])) if found else None


def module_missing(text: bytes) -> str:
    """The missing module of an ``err:module`` line, as :mod:`lab.guest.lacks` names it; empty if it is about something else."""
    found = _MODULE.match(text)
    return module_name(found[1].decode("ascii", "backslashreplace")) if found else ""


def unhandled_outside(line: bytes) -> WineFault | None:
    """The fault in the one line of a process that does not count as being debugged."""
    found = _OUTSIDE.fullmatch(line)
    if found is None:
        return None
    address = int(found["at"], 16)
    stub = _OUTSIDE_STUB.fullmatch(found["what"])
    if stub is not None:
        return WineFault(STUB_CALLED, address, _function(stub[1], stub[2]))
    told = _OUTSIDE_CODE.match(found["what"])
    if told is not None:
        return _fault(int(told[1], 16), address)
    return next((_fault(code, address) for words, code in _OUTSIDE_WORDS if found["what"].startswith(words)), None)


def _fault(code: int, address: int) -> WineFault:
    return WineFault(code, address, PRIVILEGED if code == _PRIVILEGED_INSTRUCTION else "")


def _function(module: bytes, name: bytes) -> str:
    return function_name(module.decode("ascii", "backslashreplace"), name.decode("ascii", "backslashreplace"))
