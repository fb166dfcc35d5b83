"""KDCOM packets, and the framer that finds them in a byte stream.

A data packet is a 16-byte header (leader, type, byte count, id, checksum; little-endian), the payload, and one trailing
byte 0xAA. A control packet is a header alone. Firmware and boot loaders write to the same port, so any text may come before,
between and inside packets. The framer accepts only packets whose checksum is right, and continues one byte after a false
leader.

Facts: windbgkd.h and kdcom of ReactOS, which ntoseye and radare2 agree with.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

DATA_LEADER: Final = 0x30303030
CONTROL_LEADER: Final = 0x69696969
TRAILER: Final = 0xAA
#: A single byte between packets, which asks a running target to stop.
BREAK_IN: Final = b"\x62"
INITIAL_ID: Final = 0x80800000
SYNC: Final = 0x800
MAX_PAYLOAD: Final = 4000

STATE_MANIPULATE: Final = 2
DEBUG_IO: Final = 3
ACKNOWLEDGE: Final = 4
RESEND: Final = 5
RESET: Final = 6
STATE_CHANGE: Final = 7
TRACE_IO: Final = 9
CONTROL_REQUEST: Final = 10
FILE_IO: Final = 11

_DATA_TYPES: Final = frozenset({1, STATE_MANIPULATE, DEBUG_IO, STATE_CHANGE, TRACE_IO, CONTROL_REQUEST, FILE_IO})
_CONTROL_TYPES: Final = frozenset({ACKNOWLEDGE, RESEND, RESET})
_HEADER: Final = struct.Struct("<IHHII")
_LEADER: Final = re.compile(rb"0000|iiii")


@dataclass(frozen=True, slots=True)
class Packet:
    """One verified packet.

    Attributes:
        kind: Packet type, 1 to 11.
        id: Packet id as sent, SYNC bit included.
        payload: Payload; empty in a control packet.
        end: Offset in the whole stream just after the packet.
    """

    kind: int
    id: int
    payload: bytes
    end: int = 0

    @property
    def is_control(self) -> bool:
        """Whether it is an acknowledgement, a resend request or a reset."""
        return self.kind in _CONTROL_TYPES


@dataclass(frozen=True, slots=True)
class Skipped:
    """Bytes that belong to no packet.

    Attributes:
        raw: The bytes.
        damaged: They begin with the valid header of a data packet whose checksum or trailer is wrong.
    """

    raw: bytes
    damaged: bool = False


def data_packet(kind: int, packet_id: int, payload: bytes) -> bytes:
    """The bytes of a data packet.

    Raises:
        ValueError: The payload is longer than a packet holds.
    """
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a packet holds {MAX_PAYLOAD} bytes, not {len(payload)}")
    header = _HEADER.pack(DATA_LEADER, kind, len(payload), packet_id, sum(payload) & 0xFFFFFFFF)
    return header + payload + bytes((TRAILER,))


def control_packet(kind: int, packet_id: int = 0) -> bytes:
    """The bytes of a control packet."""
    return _HEADER.pack(CONTROL_LEADER, kind, 0, packet_id, 0)


class Framer:
    """Splits a byte stream into packets and the bytes between them; never loses a byte.

    Every byte that is fed comes out once, in order: in a packet or in a :class:`Skipped`.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._offset = 0
        self._damaged = False

    @property
    def pending(self) -> int:
        """Number of bytes that wait for the rest of a packet."""
        return len(self._buffer)

    @property
    def overtaken(self) -> int:
        """Number of whole packets inside the pending one, as when a target was reset in mid-packet.

        A print whose text is a packet with a right checksum looks the same, so the caller waits a moment before it acts.
        """
        if len(self._buffer) <= 2 * _HEADER.size:
            return 0
        inside = Framer()
        inside._buffer = self._buffer[1:]
        return sum(isinstance(item, Packet) for item in inside.give_up())

    def feed(self, data: bytes) -> list[Packet | Skipped]:
        """Take the next bytes; returns the items that are now complete."""
        self._buffer += data
        return self._scan(final=False)

    def give_up(self) -> list[Packet | Skipped]:
        """Stop waiting for the rest of the pending packet, and search its bytes for other packets.

        For a target that became silent in mid-packet, and for the end of a stream.
        """
        return self._scan(final=True)

    def _scan(self, *, final: bool) -> list[Packet | Skipped]:
        buffer = self._buffer
        found: list[Packet | Skipped] = []
        begin = position = 0  # bytes from begin to position belong to no packet
        while True:
            match = _LEADER.search(buffer, position)
            if match is None:
                # The last three bytes may be the beginning of a leader.
                keep = 0 if final else _leader_prefix(buffer, position)
                position = len(buffer) - keep
                break
            position = match.start()
            packet = self._packet_at(position)
            if packet is None and not final:
                break
            if isinstance(packet, Packet):
                self._skip(found, begin, position)
                found.append(packet)
                begin = position = packet.end - self._offset
                continue
            if packet is False:
                self._skip(found, begin, position)
                begin = position
                self._damaged = True
            position += 1
        self._skip(found, begin, position)
        del buffer[:position]
        self._offset += position
        return found

    def _packet_at(self, at: int) -> Packet | bool | None:
        """The packet at a leader; None: more bytes are needed; True: a false leader; False: a damaged packet."""
        buffer = self._buffer
        if len(buffer) - at < _HEADER.size:
            return None if _may_be_header(buffer, at) else True
        leader, kind, count, packet_id, checksum = _HEADER.unpack_from(buffer, at)
        if leader == CONTROL_LEADER:
            if kind not in _CONTROL_TYPES or count or checksum:
                return True
            return Packet(kind, packet_id, b"", self._offset + at + _HEADER.size)
        if kind not in _DATA_TYPES or not 0 < count <= MAX_PAYLOAD or packet_id & ~(SYNC | 1) != INITIAL_ID:
            return True
        end = at + _HEADER.size + count + 1
        if len(buffer) < end:
            return None
        payload = bytes(buffer[at + _HEADER.size : end - 1])
        if buffer[end - 1] != TRAILER or sum(payload) != checksum:
            return False
        return Packet(kind, packet_id, payload, self._offset + end)

    def _skip(self, found: list[Packet | Skipped], begin: int, end: int) -> None:
        if end > begin:
            found.append(Skipped(bytes(self._buffer[begin:end]), self._damaged))
            self._damaged = False


def _leader_prefix(buffer: bytearray, begin: int) -> int:
    """Length of the longest end of the buffer that may grow into a leader."""
    for length in (3, 2, 1):
        tail = buffer[max(begin, len(buffer) - length) :]
        if len(tail) == length and (tail == b"0" * length or tail == b"i" * length):
            return length
    return 0


def _may_be_header(buffer: bytearray, at: int) -> bool:
    """Whether an incomplete header may still become valid; an impossible type means a false leader at once."""
    if len(buffer) - at < 6:
        return True
    kind = int.from_bytes(buffer[at + 4 : at + 6], "little")
    return kind in (_DATA_TYPES if buffer[at] == 0x30 else _CONTROL_TYPES)
