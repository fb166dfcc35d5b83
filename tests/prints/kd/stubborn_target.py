"""A target that waits for its host as ReactOS's kernel does, for tests; made of generators, without a clock.

Its special behaviour [ReactOS: drivers/base/kdcom/kddll.c]: it answers every reset with a reset and sends again what it
was busy with; it acknowledges a packet with the wrong id and drops it; it sends SYNC only at its boot and after it gave up.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Literal

from lab.prints.kd import payload as wire
from lab.prints.kd.packet import (
    ACKNOWLEDGE,
    DEBUG_IO,
    FILE_IO,
    INITIAL_ID,
    RESEND,
    RESET,
    STATE_CHANGE,
    STATE_MANIPULATE,
    SYNC,
    TRAILER,
    control_packet,
    data_packet,
)
from lab.prints.kd.record import AnyRecord
from lab.prints.kd.session import Session
from tests.prints.kd.fake_target import exception_payload, file_payload, load_payload, print_payload, prompt_payload

GIVES_UP_AFTER = 20
TIMEOUT_S = 0.5

Run = Generator[None, bool, None]
_Outcome = Literal["got", "again", "timeout"]
_Received = Generator[None, bool, tuple[_Outcome, bytes]]


class _Timeout(Exception):
    pass


@dataclass
class StubbornTarget:
    """The kernel's side.

    Attributes:
        send_id: Of its next packet.
        expected_id: Of the host's next packet.
        told_to_step: Instruction pointers that the host has set.
    """

    send_id: int = INITIAL_ID | SYNC
    expected_id: int = INITIAL_ID
    input: bytearray = field(default_factory=bytearray)
    output: bytearray = field(default_factory=bytearray)
    answers: list[bytes] = field(default_factory=list)
    told_to_step: list[int] = field(default_factory=list)

    def print(self, text: bytes) -> Run:
        yield from self._send(DEBUG_IO, print_payload(text))

    def load(self, path: bytes) -> Run:
        yield from self._stop(load_payload(path), 0)

    def breakpoint(self, pc: int) -> Run:
        yield from self._stop(exception_payload(wire.STATUS_BREAKPOINT, pc, "x86"), pc)

    def prompt(self, text: bytes) -> Run:
        yield from self._ask(DEBUG_IO, prompt_payload(text))

    def file(self) -> Run:
        yield from self._ask(FILE_IO, file_payload())

    def answer_of_an_earlier_host(self, pc: int) -> Run:
        """A host that has gone asked it for its registers, and it is in the middle of its answer."""
        yield from self._send(STATE_MANIPULATE, _registers(pc))
        yield from self._wait_for_continue(pc)
        yield from self.breakpoint(pc)

    def _ask(self, kind: int, payload: bytes) -> Run:
        while True:
            yield from self._send(kind, payload)
            outcome: _Outcome = "timeout"
            while outcome == "timeout":
                outcome, answer = yield from self._receive(kind)
            if outcome == "got":
                self.answers.append(answer)
                return

    def _stop(self, payload: bytes, pc: int) -> Run:
        while True:
            yield from self._send(STATE_CHANGE, payload)
            if (yield from self._wait_for_continue(pc)):
                return

    def _wait_for_continue(self, pc: int) -> Generator[None, bool, bool]:
        while True:
            outcome, request = yield from self._receive(STATE_MANIPULATE)
            if outcome == "again":
                return False
            if outcome == "timeout":
                continue
            api = wire.reply_api(request)
            if api == wire.CONTINUE:
                return True
            if api == wire.GET_CONTEXT:
                yield from self._send(STATE_MANIPULATE, _registers(pc))
            elif api == wire.SET_CONTEXT:
                self.told_to_step.append(struct.unpack_from("<I", wire.reply_data(request), 0xB8)[0])
                yield from self._send(STATE_MANIPULATE, wire.manipulate(api, 0))

    def _send(self, kind: int, payload: bytes) -> Run:
        tries = 0
        while True:
            self.output += data_packet(kind, self.send_id, payload)
            outcome, _ = yield from self._receive(ACKNOWLEDGE)
            if outcome == "got":
                self.send_id &= ~SYNC
                return
            tries += outcome == "timeout"
            if kind == DEBUG_IO and tries == GIVES_UP_AFTER:
                self.send_id, self.expected_id = INITIAL_ID | SYNC, INITIAL_ID
                return

    def _receive(self, wanted: int) -> _Received:
        while True:
            try:
                leader = yield from self._leader()
                if not leader:
                    return "again", b""  # a break-in
                kind, count, packet_id, checksum = struct.unpack("<HHII", (yield from self._bytes(12)))
                if leader == 0x69:
                    if kind == ACKNOWLEDGE and wanted == ACKNOWLEDGE and packet_id == self.send_id & ~SYNC:
                        self.send_id ^= 1
                        return "got", b""
                    if kind == RESET:
                        self.send_id = self.expected_id = INITIAL_ID
                        self.output += control_packet(RESET)
                    if kind in (RESET, RESEND):
                        return "again", b""
                    continue
                if wanted == ACKNOWLEDGE:
                    # Data instead of an acknowledgement counts as one, and must come again.
                    self.output += control_packet(RESEND)
                    self.send_id ^= 1
                    return "got", b""
                payload = yield from self._bytes(count + 1)
            except _Timeout:
                return "timeout", b""
            if payload[-1] != TRAILER or sum(payload[:-1]) != checksum:
                self.output += control_packet(RESEND)
                continue
            self.output += control_packet(ACKNOWLEDGE, packet_id)
            if packet_id == self.expected_id and kind == wanted:
                self.expected_id ^= 1
                return "got", payload[:-1]

    def _leader(self) -> Generator[None, bool, int]:
        seen = b""
        while len(seen) < 4:
            byte = yield from self._bytes(1)
            if byte == b"\x62":
                return 0
            seen = seen + byte if byte in (b"\x30", b"\x69") and seen.strip(byte) == b"" else b""
        return seen[0]

    def _bytes(self, count: int) -> Generator[None, bool, bytes]:
        while len(self.input) < count:
            if (yield):
                raise _Timeout
        taken = bytes(self.input[:count])
        del self.input[:count]
        return taken


def _registers(pc: int) -> bytes:
    context = bytearray(716)
    struct.pack_into("<I", context, 0xB8, pc & 0xFFFFFFFF)
    return wire.manipulate(wire.GET_CONTEXT, 0, data=bytes(context))


def play(
    run: Run, target: StubbornTarget, session: Session, *, before: bytes = b"", patience: float = 120.0
) -> list[AnyRecord]:
    """Let a target and a session talk until the target has done its run; the records.

    Args:
        run: What the target does.
        target: The target.
        session: The host.
        before: Bytes that are already in the target's port.
        patience: Seconds of their time after which they hang.
    """
    now = 0.0
    records: list[AnyRecord] = []
    target.input += before
    waits = True
    next(run)
    while True:
        session.feed(bytes(target.output), now)
        target.output.clear()
        session.tick(now)
        target.input += session.take_output()
        records += session.take_records()
        waits = not target.input
        if waits:
            now += TIMEOUT_S
            assert now < patience, "target and host wait for each other"
        try:
            run.send(waits)
        except StopIteration:
            session.feed(bytes(target.output), now)
            return records + session.take_records()


def in_turn(*runs: Callable[[], Run]) -> Run:
    """One after the other."""
    for run in runs:
        yield from run()
