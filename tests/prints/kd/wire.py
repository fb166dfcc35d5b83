"""A session fed by hand: what it sends and records, and the answers of a stopped target."""

from __future__ import annotations

import struct

from lab.prints.kd import payload as wire
from lab.prints.kd.ids import SessionIds
from lab.prints.kd.packet import ACKNOWLEDGE, INITIAL_ID, STATE_MANIPULATE, Framer, Packet, control_packet
from lab.prints.kd.record import AnyRecord
from lab.prints.kd.session import Session
from lab.prints.kd.stop_policy import StopPolicy
from tests.prints.kd.fake_target import Target

ACK0, ACK1 = control_packet(ACKNOWLEDGE, INITIAL_ID), control_packet(ACKNOWLEDGE, INITIAL_ID | 1)
BUGCHECK = b"\n*** Fatal System Error: 0x000000d1\n (0x00000000,0x00000002,0x00000001,0xF8A01234)\n\n"


class Wire:
    """Feeds a session and looks at what it sends."""

    def __init__(self, policy: StopPolicy | None = None, ids: SessionIds | None = None) -> None:
        self.session = Session(policy, ids)
        self.target = Target()
        self.now = 100.0
        self.records: list[AnyRecord] = []

    def feed(self, data: bytes) -> bytes:
        self.session.feed(data, self.now)
        self.records += self.session.take_records()
        return self.session.take_output()

    def pass_time(self, seconds: float) -> bytes:
        self.now += seconds
        self.session.tick(self.now)
        self.records += self.session.take_records()
        return self.session.take_output()

    def sent(self, data: bytes) -> list[Packet]:
        """The packets among what was sent in answer to ``data``."""
        return [item for item in Framer().feed(self.feed(data)) if isinstance(item, Packet)]

    def kinds(self) -> list[str]:
        return [record.kind for record in self.records]


def context(arch: wire.Arch, pc: int) -> bytes:
    data = bytearray(1232 if arch == "x64" else 716)
    if arch == "x64":
        struct.pack_into("<Q", data, 0xF8, pc)
    else:
        struct.pack_into("<I", data, 0xB8, pc & 0xFFFFFFFF)
    return bytes(data)


def reply(api: int, data: bytes = b"", status: int = 0) -> bytes:
    return struct.pack("<IHHI", api, 0, 0, status).ljust(56, b"\0") + data


def continue_status(packet: Packet) -> int:
    assert packet.kind == STATE_MANIPULATE
    api, status = struct.unpack_from("<I12xI", packet.payload)
    assert api == wire.CONTINUE
    return int(status)
