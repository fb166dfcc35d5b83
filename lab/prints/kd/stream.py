"""The receiving half of the protocol: packets in, records out; drops duplicates and records gaps.

It is the same for a live session and for decoding a capture; the session does the sending.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from dataclasses import dataclass
from typing import Final

from lab.prints.kd import payload as wire
from lab.prints.kd.packet import (
    DEBUG_IO,
    FILE_IO,
    INITIAL_ID,
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

#: Length to which Windows shortens a long call: 511 bytes, the last one replaced by a newline.
_CUT: Final = 511
#: The announcement of a bugcheck may span several calls; so many bytes of the earlier text are searched.
_TAIL: Final = 8192
_FATAL: Final = b"*** Fatal System Error: 0x"
_BUGCHECK: Final = re.compile(
    # No more digits than a pointer has: any driver may print these words, and Python refuses to convert very long numbers.
    rb"\*\*\* Fatal System Error: 0x([0-9a-fA-F]{1,8})\s*"
    rb"\(\s*0x([0-9a-fA-F]{1,16}),\s*0x([0-9a-fA-F]{1,16}),\s*0x([0-9a-fA-F]{1,16}),\s*0x([0-9a-fA-F]{1,16})\s*\)"
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A new data packet.

    Attributes:
        packet: The packet.
        records: Its records.
        debug_io: Its content, when it is debug I/O.
        stop: Its content, when it is a state change.
        again: It was recorded before a reset and is repeated after it: it needs an answer, but no record.
    """

    packet: Packet
    records: list[AnyRecord]
    debug_io: wire.DebugIo | None = None
    stop: wire.StateChange | None = None
    again: bool = False


class RecordStream:
    """Separates new packets from repeated ones, and turns the new ones into records.

    Args:
        expected_id: Id of the next packet, from a snapshot; None: any.
        last_digest: :attr:`last_digest` of that session; empty: unknown.
    """

    def __init__(self, expected_id: int | None = None, last_digest: str = "") -> None:
        self.expected_id = expected_id
        self.generation = 0
        #: How often the last packet was repeated so far.
        self.repeats = 0
        #: The target has acknowledged a packet that was sent after its last one.
        self.answered = False
        self._last: Packet | None = None
        self._restored_digest = last_digest
        #: No packet since a reset: the next one may have any id, and may be the one before the reset.
        self._fresh = False
        #: ... and both sides know of the reset, so ids that begin with SYNC do not mean a new boot.
        self._agreed = False
        #: The target reset the session; the next packet shows whether that is a gap.
        self._restarted = False
        self._tails: dict[int, _Tail] = {}
        self._console = bytearray()
        self._console_time: float | None = None

    @property
    def last_digest(self) -> str:
        """SHA-256 of the last new packet, hexadecimal; empty before the first one."""
        return _digest(self._last) if self._last else self._restored_digest

    @property
    def console_size(self) -> int:
        """Number of bytes outside of packets that :meth:`console` would return."""
        return len(self._console)

    @property
    def restored(self) -> bool:
        """The last packet was one before the snapshot: none has come since."""
        return self._last is None and bool(self._restored_digest)

    def reset(self, *, agreed: bool = True) -> None:
        """The ids restart; the next packet may have any id.

        A target that reads a reset repeats its present packet. [ReactOS: KdSendPacket]

        Args:
            agreed: The target answers the lab's reset, so ids that begin with SYNC do not mean a new boot.
        """
        self._fresh = True
        self._agreed = agreed
        self.expected_id = None
        self.repeats = 0
        self.answered = False

    def restarted(self) -> None:
        """Note that the target asked for the reset: a new boot, or the answer to an unknown reset."""
        self._restarted = self._restarted or self._heard
        self.reset()

    def finish(self, time: float | None) -> list[AnyRecord]:
        """End of the stream; returns the records that were held back."""
        return [*self.console(), *self._restart_gap(time)]

    @property
    def _heard(self) -> bool:
        return self._last is not None or bool(self._restored_digest) or self.expected_id is not None

    def _restart_gap(self, time: float | None) -> list[AnyRecord]:
        restarted, self._restarted = self._restarted, False
        return [self._new_generation(time, "the kernel reset the session")] if restarted else []

    def is_repeat(self, packet: Packet) -> bool:
        """Whether a data packet is a repetition.

        With one packet in flight, a repeated id means repeated content. A first packet, which restarts the ids, is also a
        repetition as long as no other packet followed: a target repeats its first packet until it is answered.
        """
        if self._fresh:
            return False
        if packet.id & SYNC:
            first_of_its_kind = self._last is None or self._last.id == packet.id
            return self._is_same(packet) and first_of_its_kind and not self.answered
        return self.expected_id is not None and packet.id != self.expected_id and self._is_same(packet)

    def accept(self, packet: Packet, time: float | None) -> Accepted | None:
        """Take a data packet; None if it is a repetition."""
        if self.is_repeat(packet):
            self.repeats += 1
            return None
        plain_id = packet.id & ~SYNC
        fresh, self._fresh = self._fresh, False
        if fresh and plain_id == INITIAL_ID and self._is_same(packet):
            self._restarted = False
            self._take(packet, plain_id)
            return Accepted(packet, [], *_parse(packet), again=True)
        records = self._restart_gap(time)
        if packet.id & SYNC:
            if self._heard and not records and not (fresh and self._agreed):
                records.append(
                    self._new_generation(time, "the kernel started its packet ids again: earlier prints may be lost")
                )
        elif self.expected_id is not None and plain_id != self.expected_id:
            reason = "two packets with the same id differ: the packet between them is missing"
            if self.restored:
                reason = "the first packet after the snapshot does not have the next id: a packet before it is missing"
            records.append(self._gap(time, reason))
        self._take(packet, plain_id)
        debug_io, stop = _parse(packet)
        told = self._read(packet, debug_io, stop, time)
        return Accepted(packet, [*self.console(), *records, *told], debug_io, stop)

    def _take(self, packet: Packet, plain_id: int) -> None:
        self.expected_id = plain_id ^ 1
        self._last = packet
        self.repeats = 0
        self.answered = False

    def _is_same(self, packet: Packet) -> bool:
        if self._last is not None:
            return (self._last.kind, self._last.payload) == (packet.kind, packet.payload)
        return bool(self._restored_digest) and self._restored_digest == _digest(packet)

    def skipped(self, skipped: Skipped, time: float | None) -> None:
        """Take bytes outside of packets; they are collected for :meth:`console`."""
        self._console += skipped.raw
        self._console_time = time

    def console(self) -> list[AnyRecord]:
        """The bytes outside of packets since the last call, as one record; empty if there are none."""
        raw, self._console = bytes(self._console), bytearray()
        return [Console(time=self._console_time, generation=self.generation, raw=raw)] if raw else []

    def _read(
        self, packet: Packet, debug_io: wire.DebugIo | None, stop: wire.StateChange | None, time: float | None
    ) -> list[AnyRecord]:
        if debug_io:
            return self._debug_io(debug_io, time)
        if stop:
            return self._state_change(stop, time)
        what = "file request" if packet.kind == FILE_IO else f"packet of type {packet.kind}"
        text = f"{what}, {len(packet.payload)} bytes: {packet.payload[:64].hex()}"
        return [Note(time=time, generation=self.generation, text=text)]

    def _debug_io(self, debug_io: wire.DebugIo, time: float | None) -> list[AnyRecord]:
        if debug_io.prompt:
            answer = answer_for(debug_io.text).decode("ascii")
            return [Prompt(time=time, generation=self.generation, cpu=debug_io.cpu, raw=debug_io.text, answer=answer)]
        text = debug_io.text
        cut = len(text) == _CUT and text.endswith(b"\n")
        records: list[AnyRecord] = [
            Print(time=time, generation=self.generation, cpu=debug_io.cpu, raw=text, maybe_truncated=cut)
        ]
        # One processor prints the whole announcement; prints of another one may come in between.
        tail = self._tails.get(debug_io.cpu)
        if tail is None:
            tail = self._tails[debug_io.cpu] = _Tail()
        if announced := tail.add(text):
            code, *parameters = announced
            records.append(BugcheckText(time=time, generation=self.generation, code=code, parameters=tuple(parameters)))
        return records

    def _state_change(self, stop: wire.StateChange, time: float | None) -> list[AnyRecord]:
        if stop.state == wire.LOAD_SYMBOLS:
            kind = Unload if stop.unload else Load
            return [kind(time=time, generation=self.generation, path=stop.path, base=stop.base, size=stop.size)]
        if stop.state == wire.EXCEPTION:
            return [exception_stop(stop, time, self.generation)]
        text = f"the kernel stopped with state {stop.state:#x}"
        if stop.state == wire.COMMAND_STRING:
            name, command = stop.command
            text = f"the kernel requests the debugger command {command!r} in the name of {name!r}"
        return [Note(time=time, generation=self.generation, text=text)]

    def _new_generation(self, time: float | None, reason: str) -> Gap:
        self.generation += 1
        self._tails.clear()
        return self._gap(time, reason)

    def _gap(self, time: float | None, reason: str) -> Gap:
        return Gap(time=time, generation=self.generation, reason=reason)


class _Tail:
    """The last prints of one processor, searched for the announcement of a bugcheck."""

    def __init__(self) -> None:
        self._texts: deque[bytes] = deque()
        self._size = 0

    def add(self, text: bytes) -> list[int] | None:
        """Take the next print; returns code and parameters of an announcement that it completes."""
        # An announcement begins with an asterisk; without one, which is the usual case, nothing is kept or searched.
        if not self._texts and b"*" not in text:
            return None
        self._texts.append(text)
        self._size += len(text)
        while self._size > _TAIL and len(self._texts) > 1:
            self._size -= len(self._texts.popleft())
            while self._texts and b"*" not in self._texts[0]:
                self._size -= len(self._texts.popleft())
        # The parameters end in a parenthesis: a print without one cannot complete them.
        if b")" not in text:
            return None
        joined = b"".join(self._texts)
        at = joined.rfind(_FATAL)
        match = _BUGCHECK.match(joined, at) if at >= 0 else None
        if match is None:
            return None
        self._texts.clear()
        self._size = 0
        return [int(digits, 16) for digits in match.groups()]


def _parse(packet: Packet) -> tuple[wire.DebugIo | None, wire.StateChange | None]:
    debug_io = wire.parse_debug_io(packet.payload) if packet.kind == DEBUG_IO else None
    stop = wire.parse_state_change(packet.payload) if packet.kind == STATE_CHANGE else None
    return debug_io, stop


def exception_stop(stop: wire.StateChange, time: float | None, generation: int) -> ExceptionStop:
    """The record of a stop at an exception; the action is not known yet."""
    return ExceptionStop(
        time=time,
        generation=generation,
        cpu=stop.cpu,
        code=stop.code,
        address=stop.address,
        first_chance=stop.first_chance,
        pc=stop.pc,
    )


def _digest(packet: Packet) -> str:
    return hashlib.sha256(packet.kind.to_bytes(2, "little") + packet.payload).hexdigest()


def answer_for(question: bytes) -> bytes:
    """The answer to a prompt without a user: ignore a failed assertion; otherwise nothing.

    RtlAssert lists its letters in parentheses, ``(boipt)`` or ``(bic)`` by version; ``i`` is always ignore.
    """
    letters = re.search(rb"\(([a-z]{2,8})\)", question)
    return b"i" if letters and b"i" in letters[1] else b""
