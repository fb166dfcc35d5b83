"""The contents of packets: debug I/O, state changes, file I/O, and the requests of a host.

All structures are little-endian; 32-bit targets use the same ones as 64-bit ones, with pointers sign-extended to 64 bits.
Offsets: windbgkd.h of ReactOS, compared with packets of an i386 kernel; the x64 parts have not been tested with a kernel yet.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal

Arch = Literal["x86", "x64"]

PRINT_STRING: Final = 0x3230
GET_STRING: Final = 0x3231
EXCEPTION: Final = 0x3030
LOAD_SYMBOLS: Final = 0x3031
COMMAND_STRING: Final = 0x3032

GET_CONTEXT: Final = 0x3132
SET_CONTEXT: Final = 0x3133
SET_CONTEXT_EX: Final = 0x3160
REBOOT: Final = 0x313B
CONTINUE: Final = 0x313C

DBG_CONTINUE: Final = 0x00010002
DBG_EXCEPTION_NOT_HANDLED: Final = 0x80010001
STATUS_BREAKPOINT: Final = 0x80000003
STATUS_SINGLE_STEP: Final = 0x80000004
STATUS_UNSUCCESSFUL: Final = 0xC0000001

_MANIPULATE_SIZE: Final = 56
_STATE_SIZE: Final = 240
#: The common beginning of all state changes.
_COMMON_STATE_SIZE: Final = 32
#: Most bytes of a context in one SetContextEx. [ntoseye]
CONTEXT_PIECE: Final = 512
_CONTEXT_ALL: Final[dict[Arch, int]] = {"x86": 0x1003F, "x64": 0x10001F}
#: Offset and size of the instruction pointer in a CONTEXT.
_IP: Final[dict[Arch, tuple[int, str]]] = {"x86": (0xB8, "<I"), "x64": (0xF8, "<Q")}


@dataclass(frozen=True, slots=True)
class DebugIo:
    """A print, or a prompt that waits for an answer.

    Attributes:
        prompt: Whether it is a prompt.
        cpu: Processor number.
        level: Processor level, echoed in an answer.
        text: The bytes of the call.
        room: Largest answer that a prompt accepts, in bytes.
    """

    prompt: bool
    cpu: int
    level: int
    text: bytes
    room: int = 0


@dataclass(frozen=True, slots=True)
class StateChange:
    """A stop of all processors.

    Attributes:
        state: ``EXCEPTION``, ``LOAD_SYMBOLS`` or ``COMMAND_STRING``.
        cpu: Processor number.
        level: Processor level.
        pc: Program counter.
        code: Exception code.
        address: Address of the exception.
        first_chance: Whether no handler has seen the exception yet.
        path: File name of an image; empty if the kernel sends none.
        command: Name and text of a command string.
        base: Load address of an image; all ones in the unload at a shutdown.
        size: Size of an image in bytes.
        unload: The image is unloaded, not loaded.
        arch: The architecture, from the pointers in it and the segment registers of the control report; None if they fit
            neither.
        dr7: Debug control register, which is sent back.
        at_int3: The instruction at the program counter is ``int3``.
    """

    state: int
    cpu: int
    level: int
    pc: int
    code: int = 0
    address: int = 0
    first_chance: bool = False
    path: str = ""
    command: tuple[str, str] = ("", "")
    base: int = 0
    size: int = 0
    unload: bool = False
    arch: Arch | None = None
    dr7: int = 0
    at_int3: bool = False


def parse_debug_io(payload: bytes) -> DebugIo | None:
    """Read a debug I/O payload; None when it is not one."""
    if len(payload) < 12:
        return None
    api, level, cpu, length = struct.unpack_from("<IHHI", payload)
    if api not in (PRINT_STRING, GET_STRING):
        return None
    # Old stubs leave the padding of the union out. [ntoseye]
    begin = 16 if len(payload) >= 16 + length else 12
    text = payload[begin : begin + length]
    room = struct.unpack_from("<I", payload, 12)[0] if api == GET_STRING and len(payload) >= 16 else 0
    return DebugIo(api == GET_STRING, cpu, level, text, room)


def parse_state_change(payload: bytes) -> StateChange | None:
    """Read a state change; None when it is too short to be one.

    A short header is read as far as possible, because its sender waits for an answer in any case.
    """
    if len(payload) < _COMMON_STATE_SIZE:
        return None
    whole, payload = payload, payload.ljust(_STATE_SIZE, b"\0")
    state, level, cpu = struct.unpack_from("<IHH", payload)
    pc = struct.unpack_from("<Q", payload, 24)[0]
    arch, dr7, at_int3 = _control_report(payload)
    common = {"state": state, "cpu": cpu, "level": level, "pc": pc, "arch": arch, "dr7": dr7}
    if state == EXCEPTION:
        code = struct.unpack_from("<I", payload, 32)[0]
        address = struct.unpack_from("<Q", payload, 48)[0]
        first = struct.unpack_from("<I", payload, 184)[0]
        return StateChange(**common, code=code, address=address, first_chance=first != 0, at_int3=at_int3)
    if state == LOAD_SYMBOLS:
        length, base, size = struct.unpack_from("<I4xQ12xI", payload, 32)[0:3]
        # Read from the end: the header of another build may be longer.
        path = whole[len(whole) - length :] if 0 < length <= len(whole) - _COMMON_STATE_SIZE else b""
        return StateChange(**common, path=_text(path), base=base, size=size, unload=payload[64] != 0)
    if state == COMMAND_STRING:
        name, _, command = payload[_STATE_SIZE:].partition(b"\0")
        return StateChange(**common, command=(_text(name), _text(command)))
    return StateChange(**common)


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("cp1252", "backslashreplace")


def _control_report(payload: bytes) -> tuple[Arch | None, int, bool]:
    """Architecture, Dr7, and whether the next instruction is ``int3``, from the report at offset 192."""
    arch = _arch(payload)
    if arch == "x64":
        return arch, struct.unpack_from("<Q", payload, 200)[0], _is_int3(payload, 212, 216)
    if arch == "x86":
        return arch, struct.unpack_from("<I", payload, 196)[0], _is_int3(payload, 200, 204)
    return None, 0, False


def _arch(payload: bytes) -> Arch | None:
    """The architecture, from the layout of the control report.

    The thread is a kernel pointer, which a 32-bit kernel sign-extends and a 64-bit kernel does not. Without a pointer, all
    selectors together decide: the other layout has instructions, or data from the stack, in their place.
    """
    thread = struct.unpack_from("<Q", payload, 16)[0]
    if 0xFFFF8000_00000000 <= thread < 0xFFFFFFFF_80000000:
        return "x64"
    if thread >= 0xFFFFFFFF_80000000 or 0x80000000 <= thread < 1 << 32:
        return "x86"
    cs, ds, es = struct.unpack_from("<HHH", payload, 220)
    if cs in (0x08, 0x1B) and ds == es == 0x23:
        return "x86"
    cs, ds, es = struct.unpack_from("<HHH", payload, 232)
    if cs in (0x10, 0x33, 0x23) and ds == es == 0x2B:
        return "x64"
    return None


def _is_int3(payload: bytes, count_at: int, stream_at: int) -> bool:
    return bool(struct.unpack_from("<H", payload, count_at)[0]) and payload[stream_at] == 0xCC


def prompt_answer(prompt: DebugIo, text: bytes) -> bytes:
    """Payload of the answer to a prompt."""
    text = text[: prompt.room] if prompt.room else text
    return struct.pack("<IHHII", GET_STRING, prompt.level, prompt.cpu, 0, len(text)) + text


def file_refusal(payload: bytes) -> bytes:
    """Payload that refuses a file request: the target goes on with its own copy of the file."""
    api = struct.unpack_from("<I", payload.ljust(4, b"\0"))[0]
    return struct.pack("<II", api, STATUS_UNSUCCESSFUL) + bytes(56)


def manipulate(api: int, cpu: int, body: bytes = b"", data: bytes = b"") -> bytes:
    """Payload of a state manipulation request."""
    header = struct.pack("<IHHII", api, 0, cpu, 0, 0) + body
    return header.ljust(_MANIPULATE_SIZE, b"\0") + data


def continue_request(stop: StateChange, status: int, arch: Arch | None) -> bytes:
    """Payload that lets a stopped target continue.

    Its Dr7 is sent back unchanged; the symbol range from 1 to 1 means that the host traces nothing.
    """
    if arch == "x64":
        body = struct.pack("<IIQQQ", status, 0, stop.dr7, 1, 1)
    else:
        body = struct.pack("<IIIII", status, 0, stop.dr7, 1, 1)
    return manipulate(CONTINUE, stop.cpu, body)


def get_context(cpu: int, arch: Arch) -> bytes:
    """Payload that asks for the registers of a processor."""
    return manipulate(GET_CONTEXT, cpu, struct.pack("<I", _CONTEXT_ALL[arch]))


def set_context(cpu: int, arch: Arch, context: bytes) -> bytes:
    """Payload that sets the registers of a processor; they must have been asked for in the same stop."""
    return manipulate(SET_CONTEXT, cpu, struct.pack("<I", _CONTEXT_ALL[arch]), context)


def set_context_pieces(cpu: int, context: bytes) -> list[bytes]:
    """Payloads that set the registers piece by piece; they take effect with the last one.

    For kernels that refuse the single request.
    """
    total = len(context)
    return [
        manipulate(SET_CONTEXT_EX, cpu, struct.pack("<III", at, len(piece), total), piece)
        for at in range(0, total, CONTEXT_PIECE)
        for piece in (context[at : at + CONTEXT_PIECE],)
    ]


def reply_api(payload: bytes) -> int:
    """The request that a state manipulation payload answers; 0 if it is too short."""
    return int(struct.unpack_from("<I", payload)[0]) if len(payload) >= _MANIPULATE_SIZE else 0


def reply_status(payload: bytes) -> int:
    """NTSTATUS of an answer."""
    return int(struct.unpack_from("<I", payload, 8)[0])


def reply_data(payload: bytes) -> bytes:
    """The data after the header of an answer."""
    return payload[_MANIPULATE_SIZE:]


def stepped(context: bytes, pc: int, arch: Arch) -> bytes | None:
    """A CONTEXT whose instruction pointer is moved past a one-byte instruction.

    Returns:
        The new context; None if its instruction pointer is not ``pc``: then it is not the CONTEXT of this stop.
    """
    offset, form = _IP[arch]
    width = struct.calcsize(form)
    mask = (1 << 8 * width) - 1
    if len(context) < offset + width or struct.unpack_from(form, context, offset)[0] != pc & mask:
        return None
    changed = bytearray(context)
    struct.pack_into(form, changed, offset, (pc + 1) & mask)
    return bytes(changed)
