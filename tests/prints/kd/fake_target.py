"""The target's side of the protocol, for tests: packets as a kernel would send them."""

from __future__ import annotations

import struct

from lab.prints.kd.packet import DEBUG_IO, FILE_IO, INITIAL_ID, STATE_CHANGE, SYNC, data_packet

X86_INT3_PC = 0xFFFFFFFF80500000
X64_INT3_PC = 0xFFFFF80000500000
X86_THREAD = 0xFFFFFFFF8063C960
X64_THREAD = 0xFFFFE18B42A7C080


def print_payload(text: bytes, cpu: int = 0) -> bytes:
    return struct.pack("<IHHII", 0x3230, 6, cpu, len(text), 0) + text


def prompt_payload(text: bytes, room: int = 16, cpu: int = 0) -> bytes:
    return struct.pack("<IHHII", 0x3231, 6, cpu, len(text), room) + text


def load_payload(path: bytes, base: int = 0xFFFFFFFF80400000, size: int = 0x1000, *, unload: bool = False) -> bytes:
    header = bytearray(_stop_header(0x3031, 0xFFFFFFFF80123456, "x86"))
    struct.pack_into("<I4xQQIIB", header, 32, len(path) + 1, base, 0, 0, size, unload)
    return bytes(header) + path + b"\0"


def exception_payload(code: int, pc: int, arch: str, *, first_chance: bool = True, opcode: int = 0xCC) -> bytes:
    header = bytearray(_stop_header(0x3030, pc, arch))
    struct.pack_into("<IIQQI", header, 32, code, 0, 0, pc, 0)
    struct.pack_into("<I", header, 184, first_chance)
    header[216 if arch == "x64" else 204] = opcode
    return bytes(header)


def command_payload() -> bytes:
    return _stop_header(0x3032, 0xFFFFFFFF80123456, "x86") + b"name\0command\0"


def file_payload() -> bytes:
    return struct.pack("<II", 0x3430, 0).ljust(64, b"\0") + "\\driver.sys".encode("utf-16-le")


def _stop_header(state: int, pc: int, arch: str) -> bytes:
    header = bytearray(240)
    thread = X64_THREAD if arch == "x64" else X86_THREAD
    struct.pack_into("<IHHI4xQQ", header, 0, state, 6, 0, 1, thread, pc)
    if arch == "x64":
        struct.pack_into("<QQIHH", header, 192, 0xFFFF0FF0, 0x400, 0x246, 16, 3)
        struct.pack_into("<HHHH", header, 232, 0x10, 0x2B, 0x2B, 0x53)
    else:
        struct.pack_into("<IIHH", header, 192, 0xFFFF0FF0, 0x400, 16, 3)
        struct.pack_into("<HHHH", header, 220, 0x08, 0x23, 0x23, 0x30)
    return bytes(header)


class Target:
    """Counts packet ids as a kernel does: the first packet carries SYNC, then one bit toggles."""

    def __init__(self) -> None:
        self.next = INITIAL_ID | SYNC

    def packet(self, kind: int, payload: bytes) -> bytes:
        packet = data_packet(kind, self.next, payload)
        self.next = (self.next & ~SYNC) ^ 1
        return packet

    def print(self, text: bytes, cpu: int = 0) -> bytes:
        return self.packet(DEBUG_IO, print_payload(text, cpu))

    def prompt(self, text: bytes) -> bytes:
        return self.packet(DEBUG_IO, prompt_payload(text))

    def stop(self, payload: bytes) -> bytes:
        return self.packet(STATE_CHANGE, payload)

    def file(self) -> bytes:
        return self.packet(FILE_IO, file_payload())

    def restart(self) -> None:
        self.next = INITIAL_ID | SYNC
