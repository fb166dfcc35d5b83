r"""What Wine says when a driver's process ends: its own words, taken apart.

Seen with Wine 10.0. In a process that counts as being debugged (the driver ``wine-compat`` sees to that):

- ``err:seh:NtRaiseException Unhandled exception code c0000005 flags 0 addr 0x…``, where a call through a null pointer has the
  address ``(nil)``;
- ahead of it, when a function was called that Wine does not have, ``wine: Call from 00006FFFFFC1CF77 to unimplemented function
  ntoskrnl.exe.MmGetVirtualForPhysical, aborting``. That holds for functions that Wine only declares (stubs) and for imports
  that it has never heard of: its loader links both to code that raises 0x80000100, so the load itself succeeds.

A driver whose import names a module that is not there is not loaded at all, and ``sc start`` says 1114:
``err:module:import_dll Library wdfldr.sys (which is needed by L"C:\\lab\\run\\frob.sys") not found``.

Everywhere else one line without a time stamp, ``wine: Unhandled page fault on write access to … at address … (thread 00b4),
starting debugger...``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.guest.lacks import PRIVILEGED, function_name, module_name

#: Wine's exception for a call of a function that it does not have.
STUB_CALLED = 0x80000100
#: In a true kernel no instruction raises it.
_PRIVILEGED_INSTRUCTION = 0xC0000096

_RAISED = re.compile(rb"Unhandled exception code ([0-9a-f]{1,8}) flags [0-9a-f]+ addr (?:\(nil\)|(?:0x)?([0-9a-f]{1,16}))")
_STUB = re.compile(rb"wine: Call from (?:0x)?([0-9A-Fa-f]{1,16}) to unimplemented function (\S+)\.([^\s.]+), aborting")
#: A program that misses a library is a client that was not copied with it, and says nothing about a driver.
_MODULE = re.compile(rb'Library (\S+) \(which is needed by L"(?![^"]*\.exe")[^"]*"\) not found', re.IGNORECASE)
_OUTSIDE = re.compile(
    rb"wine: (?P<what>.{1,300}?) at address (?:0x)?(?P<at>[0-9A-Fa-f]{1,16}) \(thread [0-9a-f]{1,8}\), starting debugger\.\.\."
)
_OUTSIDE_STUB = re.compile(rb"Unimplemented function (\S+)\.([^\s.]+) called")
_OUTSIDE_CODE = re.compile(rb"Unhandled exception 0x([0-9a-f]{8})")
#: How the line of a process that is not being debugged begins, and the exception's code, which it does not tell.
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
    """An exception that nobody handled.

    Attributes:
        code: Its code.
        address: Where it was raised; 0 for a call through a null pointer.
        lacks: What Wine does not have and the driver wanted, as :mod:`lab.guest.lacks` names it: a function that it called, or
            an instruction that only a kernel may execute.
    """

    code: int
    address: int
    lacks: str = ""


def raised(text: bytes) -> WineFault | None:
    """The fault in the text of an ``err:seh`` line; None when it tells of something else."""
    found = _RAISED.match(text)
    return _fault(int(found[1], 16), int(found[2] or b"0", 16)) if found else None


def stub_called(line: bytes) -> WineFault | None:
    """The call of a missing function in a line without header; the fault itself follows, unless the driver handles it."""
    found = _STUB.fullmatch(line)
    return WineFault(STUB_CALLED, int(found[1], 16), _function(found[2], found[3])) if found else None


def module_missing(text: bytes) -> str:
    """The module that an ``err:module`` line misses, as :mod:`lab.guest.lacks` names it; empty when it tells something else."""
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
