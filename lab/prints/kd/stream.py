"""The receiving half of the protocol: packets in, records out, duplicates dropped, gaps named.

It is the same for a live session and for a capture that is decoded later; what must be sent is the session's business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lab.prints.kd import payload as wire
from lab.prints.kd.packet import (
    DEBUG_IO,
    FILE_IO,
    STATE_CHANGE,
    SYNC,
    Packet,
    Skipped,
)
from lab.prints.kd.record import (
    AnyRecord,
    BugcheckText,
    Console,
    ExceptionStop,
    Gap,
    Load,
    Note,
    Print,
    Prompt,
    Unload,
)

#: What Windows leaves of a call that is too long: 511 bytes, the last of them replaced by a newline.
_CUT: Final = 511
#: The announcement of a bugcheck may be spread over several calls; this much of the text before is searched.
_TAIL: Final = 8192
_BUGCHECK: Final = re.compile(
    rb"\*\*\* Fatal System Error: 0x([0-9a-fA-F]+)\s*"
    rb"\(0x([0-9a-fA-F]+),\s*0x([0-9a-fA-F]+),\s*0x([0-9a-fA-F]+),\s*0x([0-9a-fA-F]+)\)"
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A data packet that is new.

    Attributes:
        packet: The packet.
        records: What it tells.
        debug_io: Its content, when it is debug I/O.
        stop: Its content, when it is a state change.
    """

    packet: Packet
    records: list[AnyRecord]
    debug_io: wire.DebugIo | None = None
    stop: wire.StateChange | None = None


class RecordStream:
    """Tells new packets from repeated ones and turns the new ones into records.

    Args:
        expected_id: Id of the next packet, kept from a frozen session; None: whatever comes first.
    """

    def __init__(self, expected_id: int | None = None) -> None:
        self.expected_id = expected_id
        self.generation = 0
        #: How often the last packet was repeated so far.
        self.repeats = 0
        self._last: Packet | None = None
        self._tail = b""
        self._console = bytearray()
        self._console_time: float | None = None

    def reset(self) -> None:
        """The ids begin anew by agreement; the next packet is taken whatever its id is."""
        self.expected_id = None
        self._last = None
        self.repeats = 0

    def restarted(self, time: float | None) -> list[AnyRecord]:
        """The target itself asked for the reset: a new boot, or it gave up on us."""
        heard_before = self._last is not None or self.expected_id is not None
        self.reset()
        gap = [self._new_generation(time, "the target reset the session")] if heard_before else []
        return [*self.console(), *gap]

    def accept(self, packet: Packet, time: float | None) -> Accepted | None:
        """Take a data packet; None when it repeats one that was taken before."""
        records: list[AnyRecord] = []
        last = self._last
        same = last is not None and (last.kind, last.payload) == (packet.kind, packet.payload)
        plain_id = packet.id & ~SYNC
        if packet.id & SYNC:
            if same and last is not None and last.id == packet.id:
                self.repeats += 1
                return None
            if last is not None or self.expected_id is not None:
                records.append(
                    self._new_generation(time, "the target began its packet ids anew: prints before this may be lost")
                )
        elif self.expected_id is not None and plain_id != self.expected_id:
            if last is None or same:
                self.repeats += 1
                return None
            # With one packet in flight a repeated id means repeated content: other content under it means that the
            # packet between the two was never seen.
            records.append(self._gap(time, "a packet id came twice with different content: the packet between is missing"))
        self.expected_id = plain_id ^ 1
        self._last = packet
        self.repeats = 0
        told, debug_io, stop = self._read(packet, time)
        return Accepted(packet, [*self.console(), *records, *told], debug_io, stop)

    def skipped(self, skipped: Skipped, time: float | None) -> None:
        """Take bytes outside of packets; they are gathered until :meth:`console` asks for them."""
        self._console += skipped.raw
        self._console_time = time

    def console(self) -> list[AnyRecord]:
        """The bytes outside of packets since the last call, as one record; none when there are none."""
        raw, self._console = bytes(self._console), bytearray()
        return [Console(time=self._console_time, generation=self.generation, raw=raw)] if raw else []

    def _read(self, packet: Packet, time: float | None) -> tuple[list[AnyRecord], wire.DebugIo | None, wire.StateChange | None]:
        if packet.kind == DEBUG_IO and (debug_io := wire.parse_debug_io(packet.payload)):
            return self._debug_io(debug_io, time), debug_io, None
        if packet.kind == STATE_CHANGE and (stop := wire.parse_state_change(packet.payload)):
            return self._state_change(stop, time), None, stop
        what = "file request" if packet.kind == FILE_IO else f"packet of type {packet.kind}"
        text = f"{what}, {len(packet.payload)} bytes: {packet.payload[:64].hex()}"
        return [Note(time=time, generation=self.generation, text=text)], None, None

    def _debug_io(self, debug_io: wire.DebugIo, time: float | None) -> list[AnyRecord]:
        if debug_io.prompt:
            answer = answer_for(debug_io.text).decode("ascii")
            return [Prompt(time=time, generation=self.generation, cpu=debug_io.cpu, raw=debug_io.text, answer=answer)]
        text = debug_io.text
        cut = len(text) == _CUT and text.endswith(b"\n")
        records: list[AnyRecord] = [
            Print(time=time, generation=self.generation, cpu=debug_io.cpu, raw=text, maybe_truncated=cut)
        ]
        self._tail = (self._tail + text)[-_TAIL:]
        # The four parameters end in a parenthesis: without one in this call, it cannot be the one that completes them.
        if b")" in text and (match := _BUGCHECK.search(self._tail)):
            code, *parameters = (int(digits, 16) for digits in match.groups())
            self._tail = self._tail[match.end() :]
            bugcheck = BugcheckText(time=time, generation=self.generation, code=code, parameters=tuple(parameters))
            records.append(bugcheck)
        return records

    def _state_change(self, stop: wire.StateChange, time: float | None) -> list[AnyRecord]:
        if stop.state == wire.LOAD_SYMBOLS:
            kind = Unload if stop.unload else Load
            return [kind(time=time, generation=self.generation, path=stop.path, base=stop.base, size=stop.size)]
        if stop.state == wire.EXCEPTION:
            return [
                ExceptionStop(
                    time=time,
                    generation=self.generation,
                    cpu=stop.cpu,
                    code=stop.code,
                    address=stop.address,
                    first_chance=stop.first_chance,
                    pc=stop.pc,
                )
            ]
        return [Note(time=time, generation=self.generation, text=f"the target stopped with state {stop.state:#x}")]

    def _new_generation(self, time: float | None, reason: str) -> Gap:
        self.generation += 1
        self._tail = b""
        return self._gap(time, reason)

    def _gap(self, time: float | None, reason: str) -> Gap:
        return Gap(time=time, generation=self.generation, reason=reason)


def answer_for(question: bytes) -> bytes:
    """What a host that nobody sits at says to a prompt: ignore a failed assertion, nothing otherwise.

    RtlAssert lists its letters in parentheses, ``(boipt)`` or ``(bic)`` by version; ``i`` is ignore in each.
    """
    letters = re.search(rb"\(([a-z]{2,8})\)", question)
    return b"i" if letters and b"i" in letters[1] else b""
