"""A live session with a target: acknowledges, answers, steps over breakpoints. Pure protocol: no socket, no clock.

Whoever owns the port feeds what it read, sends :meth:`Session.take_output` at once, and only then looks at the records:
a target spins with all processors stopped until its packet is acknowledged.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final, Literal

from lab.prints.kd import payload as wire
from lab.prints.kd.ids import SessionIds
from lab.prints.kd.packet import (
    ACKNOWLEDGE,
    BREAK_IN,
    DEBUG_IO,
    FILE_IO,
    INITIAL_ID,
    RESEND,
    RESET,
    STATE_CHANGE,
    STATE_MANIPULATE,
    SYNC,
    Framer,
    Packet,
    Skipped,
    control_packet,
    data_packet,
)
from lab.prints.kd.record import AnyRecord, BugcheckText, ExceptionStop, Gap, Note
from lab.prints.kd.stream import Accepted, RecordStream, answer_for

#: A target answers within milliseconds, or is not listening: then the packet is sent again.
RESEND_S: Final = 1.5
#: After that many times without an answer a packet is sent only now and then: the machine may be paused, and must not find
#: thousands of copies when it goes on. It is never given up, because the target cannot go on without it.
TRIES: Final = 20
RARE_RESEND_S: Final = 30.0
#: A target drops a print, and believes that no debugger is there, after this many tries. [ReactOS: KdpDefaultRetries]
GIVES_UP_AFTER: Final = 20
#: A target that gave up is woken when it stays silent for this long, so many times.
WAKE_S: Final = 1.0
WAKES: Final = 20
#: A packet whose rest has not come after this long will not come: the target was reset in the middle of it.
STALE_S: Final = 1.0
#: The same when another packet stands whole in what has come of it; when it stands there twice, its sender waits for us.
#: Under TCG a kernel's 20 tries, of 204,800 looks at the port each, were over after half a second.
OVERTAKEN_S: Final = 0.02
#: A host that stood still for longer must expect that its target gave it up.
STOOD_STILL_S: Final = 10.0
#: A reset is not answered when one of ours went out so recently. A target may answer every one [ReactOS: KdReceivePacket],
#: so that two sides which both do would never end.
RESET_QUIET_S: Final = 5.0
#: So often a target is asked to begin its ids anew before they are guessed.
_RESETS: Final = 5
#: Text outside of packets is told when it is silent for :data:`STALE_S`, or has become this long.
CONSOLE_SIZE: Final = 1 << 16
#: More stops than this at one address within the time below: going on changes nothing.
_WEDGED_STOPS: Final = 20
_WEDGED_S: Final = 2.0
_ASSERTION: Final = 0xC0000420

_Action = Literal["hold", "reboot", "step", "continue", "pass"]


@dataclass(frozen=True, slots=True)
class StopPolicy:
    """What is done at stops that a person would look at.

    Attributes:
        breakpoint: At an ``int3``: step over it, or leave the target stopped.
        bugcheck: At the break that follows a bugcheck's announcement: leave the target stopped, so that its dump can be
            taken from outside; continue, so that it writes its own; or restart it. The second break, which comes when
            it has nothing left to do, repeats itself for ever and is never continued.
    """

    breakpoint: Literal["skip", "hold"] = "skip"
    bugcheck: Literal["hold", "continue", "reboot"] = "hold"


@dataclass(slots=True)
class _InFlight:
    packet: bytes
    id: int
    sent_at: float
    tries: int = 1


class Session:
    """The host's side.

    Args:
        policy: What to do at stops.
        ids: Of the session that a frozen guest was frozen in; None: the target begins, or is met in mid-stream.
    """

    def __init__(self, policy: StopPolicy | None = None, ids: SessionIds | None = None) -> None:
        self._policy = policy or StopPolicy()
        self._framer = Framer()
        self._stream = RecordStream(ids.receive, ids.last) if ids else RecordStream()
        self._send_id = INITIAL_ID if ids is None or ids.send is None else ids.send
        #: The target expects :attr:`_send_id`. One that was met in mid-stream may expect the other: it acknowledges a packet
        #: with the wrong id, and drops it.
        self._send_known = ids is not None and ids.receive is not None and ids.send is not None
        self._output = bytearray()
        self._records: list[AnyRecord] = []
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._in_flight: _InFlight | None = None
        self._now = 0.0
        self._reset_at: float | None = None
        self._resets_unanswered = 0
        self._unanswered: Accepted | None = None
        self._unanswered_resets = 0
        self._told: Accepted | None = None
        self._decided: _Action = "continue"
        self._hold_next = False
        self._pieces: list[bytes] = []
        self._stop: wire.StateChange | None = None
        self._bugcheck_stops = -1
        self._stops: deque[tuple[float, int]] = deque(maxlen=_WEDGED_STOPS + 1)
        self._last_data = 0.0
        self._wake_at: float | None = None
        self._wakes_left = 0
        self._doubts = 0
        self._may_have_given_up = False
        self.heard = False

    @property
    def ids(self) -> SessionIds:
        """Where both id streams stand now."""
        send = self._send_id if self._send_known else None
        return SessionIds(self._stream.expected_id, send, self._stream.last_digest)

    @property
    def idle(self) -> bool:
        """Nothing is half received, unanswered or unsent: the only state in which a guest may be frozen."""
        under_way = self._in_flight or self._waiting or self._output or self._unanswered
        return not (self._framer.pending or under_way or self._stop)

    @property
    def incomplete(self) -> bool:
        """The rest of a packet has not come yet."""
        return self._framer.pending > 0

    @property
    def held(self) -> bool:
        """The target is stopped and stays so until :meth:`release`."""
        return self._stop is not None and not (self._in_flight or self._waiting)

    @property
    def generation(self) -> int:
        """How often the target began its ids anew."""
        return self._stream.generation

    def take_output(self) -> bytes:
        """What must be sent now."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def take_records(self) -> list[AnyRecord]:
        """What happened since the last call."""
        records, self._records = self._records, []
        return records

    def feed(self, data: bytes, now: float, time: float | None = None) -> None:
        """Take bytes of the target.

        Args:
            data: The bytes.
            now: Monotonic seconds.
            time: Wall clock in seconds, for the records.
        """
        self._last_data = self._now = now
        for item in self._framer.feed(data):
            self._take(item, now, time)

    def tick(self, now: float, time: float | None = None) -> None:
        """Let time pass: packets that were not answered are sent again, ones that never end are given up."""
        self._now = now
        silent = now - self._last_data
        if self._framer.pending and (silent >= STALE_S or self._framer.overtaken > (silent < OVERTAKEN_S)):
            for item in self._framer.give_up():
                self._take(item, now, time)
            self._records += self._stream.console()
        if silent >= STALE_S or self._stream.console_size >= CONSOLE_SIZE:
            self._records += self._stream.console()
        self._ask_for_ids(now, time)
        if self._wake_at is not None and now >= self._wake_at:
            # It prints nothing any more until it finds a debugger again, for which it looks at every clock tick.
            self._wakes_left -= 1
            self._wake_at = now + WAKE_S if self._wakes_left > 0 else None
            self.break_in()
            if self._wake_at is None:
                self._gave_up(time)
        flight = self._in_flight
        if flight and now - flight.sent_at >= (RESEND_S if flight.tries < TRIES else RARE_RESEND_S):
            self._send_again(flight, now)
            if flight.tries == TRIES:
                self._note(f"the target did not answer a packet that was sent {TRIES} times: does its machine run?", time)

    def stood_still(self, seconds: float, now: float, time: float | None = None) -> None:
        """We did not run, and so did not answer, for a while that the owner of the port has measured.

        Args:
            seconds: How long it was.
            now: Monotonic seconds.
            time: Wall clock in seconds.
        """
        if self.heard and seconds > STOOD_STILL_S:
            reason = f"the debugger host stood still for {seconds:.0f} s, longer than a kernel waits: prints may be lost"
            self._records.append(Gap(time=time, generation=self._stream.generation, reason=reason))
            # One new packet may have been on its way before.
            self._wake(now, doubts=2)

    def finish(self, time: float | None = None) -> None:
        """The port is closed: nothing more comes."""
        for item in self._framer.give_up():
            self._take(item, self._last_data, time)
        self._records += self._stream.finish(time)
        self._gave_up(time)

    def remark(self, text: str, time: float | None = None) -> None:
        """Add a note to the records."""
        self._note(text, time)

    def break_in(self, *, hold: bool = False) -> None:
        """Ask a running target to stop; the stop is stepped over like any other breakpoint.

        Args:
            hold: Leave it stopped, until :meth:`release`.
        """
        if not self.held:
            self._hold_next = hold or self._hold_next
            self._output += BREAK_IN

    def reset(self, now: float | None = None) -> None:
        """Ask a stopped target to begin the session anew and to tell its stop again; a running one may drop the wish.

        Args:
            now: Monotonic seconds; None: when the session was last fed or ticked.
        """
        self._now = self._now if now is None else now
        self._send_reset()
        self._drop_unsent()
        self._send_known = False
        if self._stop:
            self._unanswered, self._unanswered_resets = self._told, 1

    def release(self, now: float) -> None:
        """Continue a target that is held, past its breakpoint."""
        if self._stop and self.held:
            self._decide("step", now)

    def reboot(self, now: float) -> None:
        """Restart a target that is stopped."""
        if self._stop and self.held:
            self._decide("reboot", now)

    def _wake(self, now: float, *, doubts: int) -> None:
        """Break into the target if it stays silent, until it has said ``doubts`` new things, or begins its ids anew."""
        self._wake_at, self._wakes_left, self._doubts = now + WAKE_S, WAKES, doubts

    def _gave_up(self, time: float | None) -> None:
        if self._may_have_given_up:
            self._may_have_given_up = False
            reason = "the target was not answered for so long that it gave up: what it printed since is lost"
            self._records.append(Gap(time=time, generation=self._stream.generation, reason=reason))

    # --- receiving ------------------------------------------------------------------------------------------------

    def _take(self, item: Packet | Skipped, now: float, time: float | None) -> None:
        if isinstance(item, Skipped):
            if item.damaged:
                self._output += control_packet(RESEND)
            self._stream.skipped(item, time)
        elif item.kind == ACKNOWLEDGE:
            self._acknowledged(item.id, now)
        elif item.kind == RESEND:
            if self._in_flight:
                self._send_again(self._in_flight, now)
        elif item.kind == RESET:
            self._reset_received(now)
        else:
            self.heard = True
            self._output += control_packet(ACKNOWLEDGE, item.id & ~SYNC)
            generation = self._stream.generation
            if accepted := self._stream.accept(item, time):
                if item.id & SYNC:
                    self._begin_ids()
                if not accepted.again and (item.id & SYNC or generation != self._stream.generation):
                    self._boot()
                self._unanswered = None
                self._lives(item, now)
                self._imply_acknowledged()
                self._react(accepted, now, time)
            elif self._stream.repeats == GIVES_UP_AFTER - 1 and _may_be_given_up(item):
                self._note(f"the target sent one packet {GIVES_UP_AFTER} times before it was answered: it may give up", time)
                self._wake(now, doubts=1)
                self._may_have_given_up = True

    def _reset_received(self, now: float) -> None:
        self.heard = True
        ours, self._resets_unanswered = self._resets_unanswered > 0, max(0, self._resets_unanswered - 1)
        late = self._reset_at is None or now - self._reset_at >= RESET_QUIET_S
        if late:
            self._send_reset()
        self._begin_ids()
        if ours:
            self._stream.reset(agreed=not late)
        else:
            self._stop = None
            self._stream.restarted()

    def _send_reset(self) -> None:
        self._output += control_packet(RESET)
        self._reset_at = self._now
        self._resets_unanswered += 1

    def _lives(self, packet: Packet, now: float) -> None:
        """A new packet: the target need not be woken. It says by the ids whether it had given up, which is a gap then."""
        self._may_have_given_up = False
        self._doubts = 0 if packet.id & SYNC else max(0, self._doubts - 1)
        if self._wake_at is not None:
            self._wake_at = now + WAKE_S if self._doubts else None

    def _imply_acknowledged(self) -> None:
        """A target that says something new has read what we sent last: its acknowledgement was lost."""
        if self._in_flight:
            self._in_flight = None
            self._send_id ^= 1

    def _begin_ids(self) -> None:
        """The target began its ids anew: what was on its way to it has no meaning any more."""
        self._send_id = INITIAL_ID
        self._send_known = True
        self._drop_unsent()

    def _boot(self) -> None:
        """The target itself began anew."""
        self._bugcheck_stops = -1
        self._stop = None

    def _react(self, accepted: Accepted, now: float, time: float | None) -> None:
        records = accepted.records
        if any(isinstance(record, BugcheckText) for record in records):
            self._bugcheck_stops = 0
        if accepted.stop:
            self._told = accepted
        if accepted.stop and not accepted.again:
            records = self._stopped(accepted.stop, records, now)
        elif self._is_answer(accepted.packet):
            records = [record for record in records if not isinstance(record, Note)]  # one that we asked for is no news
        self._records += records
        if self._send_known or not self._needs_answer(accepted):
            self._answer(accepted, now, time)
        else:
            # Not answered with an id that may be the wrong one: it says the same again with ids that are known.
            self._unanswered = accepted
            self._unanswered_resets = 0
            self._ask_for_ids(now, time)

    def _needs_answer(self, accepted: Accepted) -> bool:
        if accepted.debug_io:
            return accepted.debug_io.prompt
        # The answer to a request of an earlier host: the target stands still behind it.
        return accepted.stop is not None or accepted.packet.kind in (FILE_IO, STATE_MANIPULATE)

    def _ask_for_ids(self, now: float, time: float | None) -> None:
        """Have the target begin its ids anew, and say again what waits for an answer."""
        if self._unanswered is None or (self._reset_at is not None and now - self._reset_at < RESEND_S):
            return
        if not self._send_known and self._unanswered_resets < _RESETS:
            self._unanswered_resets += 1
            self._send_reset()
            return
        if not self._send_known:
            self._note("the target does not answer a reset: whether it takes our packet id is a guess", time)
        self._send_known = True
        accepted, self._unanswered = self._unanswered, None
        self._answer(accepted, now, time)

    def _answer(self, accepted: Accepted, now: float, time: float | None) -> None:
        packet = accepted.packet
        if accepted.debug_io and accepted.debug_io.prompt:
            answer = answer_for(accepted.debug_io.text)
            self._post(DEBUG_IO, wire.prompt_answer(accepted.debug_io, answer), now)
        elif accepted.stop:
            self._act(accepted.stop, now)
        elif packet.kind == FILE_IO:
            self._post(FILE_IO, wire.file_refusal(packet.payload), now)
        elif packet.kind == STATE_MANIPULATE and self._stop:
            self._answered(packet.payload, now, time)

    def _is_answer(self, packet: Packet) -> bool:
        return packet.kind == STATE_MANIPULATE and self._stop is not None and wire.reply_api(packet.payload) != 0

    # --- stops ----------------------------------------------------------------------------------------------------

    def _stopped(self, stop: wire.StateChange, records: list[AnyRecord], now: float) -> list[AnyRecord]:
        """Decide about a new stop; returns its records with what is done."""
        self._decided = self._action(stop, now) if stop.state == wire.EXCEPTION else "continue"
        action = self._decided
        self._stop = stop if action == "hold" else None
        told = [replace(record, action=action) if isinstance(record, ExceptionStop) else record for record in records]
        if action == "hold":
            told.append(Note(time=records[-1].time, generation=self._stream.generation, text=self._why_held(stop)))
        return told

    def _act(self, stop: wire.StateChange, now: float) -> None:
        """Do at a stop what was decided, also when it is told again behind a reset."""
        # A stop that comes while another one is being dealt with: that one is over.
        self._waiting.clear()
        self._pieces = []
        self._stop = stop
        if self._decided == "reboot":
            self._stop = None
            self._post(STATE_MANIPULATE, wire.manipulate(wire.REBOOT, stop.cpu), now)
        elif self._decided == "step":
            self._go_on(stop, now)
        elif self._decided != "hold":
            handled = self._decided == "continue"
            self._continue(stop, wire.DBG_CONTINUE if handled else wire.DBG_EXCEPTION_NOT_HANDLED, now)

    def _decide(self, action: _Action, now: float) -> None:
        """A stop that was held is not any more."""
        self._decided = action
        if self._stop and self._send_known:
            self._act(self._stop, now)
        elif self._stop:
            # The target has yet to say what it expects.
            self._ask_for_ids(now, None)

    def _why_held(self, stop: wire.StateChange) -> str:
        if self._bugcheck_stops > 1:
            return "the target has nothing left to do but to stop here for ever: restart it, or end its machine"
        if self._bugcheck_stops == 1:
            return "the target stands still behind its bugcheck; its memory can be dumped from outside now"
        return f"the target stands still at {stop.pc:#x}"

    def _action(self, stop: wire.StateChange, now: float) -> _Action:
        self._stops.append((now, stop.pc))
        first_at, _ = self._stops[0]
        wedged = len(self._stops) > _WEDGED_STOPS and now - first_at < _WEDGED_S
        if wedged and all(pc == stop.pc for _, pc in self._stops):
            return "hold"
        if self._hold_next and stop.code == wire.STATUS_BREAKPOINT:
            self._hold_next = False
            return "hold"
        if stop.code != wire.STATUS_BREAKPOINT:
            return "continue" if stop.code == wire.STATUS_SINGLE_STEP else "pass"
        if self._bugcheck_stops >= 0:
            self._bugcheck_stops += 1
            if self._policy.bugcheck == "continue" and self._bugcheck_stops == 1:
                return "step"
            return "reboot" if self._policy.bugcheck == "reboot" else "hold"
        return "hold" if self._policy.breakpoint == "hold" else "step"

    def _go_on(self, stop: wire.StateChange, now: float) -> None:
        """Continue behind a breakpoint: the reported address is that of the ``int3``, which would be met again."""
        if not stop.at_int3 or stop.arch is None:
            self._continue(stop, wire.DBG_CONTINUE, now)
            return
        self._stop = stop
        self._post(STATE_MANIPULATE, wire.get_context(stop.cpu, stop.arch), now)

    def _answered(self, payload: bytes, now: float, time: float | None) -> None:
        """An answer in the middle of a step: registers read, or registers set."""
        stop = self._stop
        if stop is None or stop.arch is None or self._decided != "step":
            return
        api = wire.reply_api(payload)
        if api == 0:
            self._cannot_step(stop, f"its answer has only {len(payload)} bytes", time)
            return
        status = wire.reply_status(payload)
        if api == wire.GET_CONTEXT:
            context = wire.stepped(wire.reply_data(payload), stop.pc, stop.arch)
            if status >= 0x80000000 or context is None:
                self._cannot_step(stop, f"GetContext gave status {status:#x}", time)
                return
            self._pieces = wire.set_context_pieces(stop.cpu, context)
            self._post(STATE_MANIPULATE, wire.set_context(stop.cpu, stop.arch, context), now)
        elif api == wire.SET_CONTEXT and status >= 0x80000000 and self._pieces:
            self._post(STATE_MANIPULATE, self._pieces.pop(0), now)
        elif api in (wire.SET_CONTEXT, wire.SET_CONTEXT_EX):
            if status >= 0x80000000:
                self._cannot_step(stop, f"SetContext gave status {status:#x}", time)
            elif api == wire.SET_CONTEXT_EX and self._pieces:
                self._post(STATE_MANIPULATE, self._pieces.pop(0), now)
            else:
                self._continue(stop, wire.DBG_CONTINUE, now)

    def _cannot_step(self, stop: wire.StateChange, why: str, time: float | None) -> None:
        """The target stays where it is: told as a stop that is held, so that whoever reads does not wait for it."""
        self._decided = "hold"
        self._records.append(
            ExceptionStop(
                time=time,
                generation=self._stream.generation,
                cpu=stop.cpu,
                code=stop.code,
                address=stop.address,
                first_chance=stop.first_chance,
                pc=stop.pc,
                action="hold",
            )
        )
        self._note(f"cannot step over the breakpoint at {stop.pc:#x}: {why}", time)

    def _continue(self, stop: wire.StateChange, status: int, now: float) -> None:
        self._stop = None
        self._pieces = []
        self._post(STATE_MANIPULATE, wire.continue_request(stop, status, stop.arch), now)

    # --- sending --------------------------------------------------------------------------------------------------

    def _post(self, kind: int, payload: bytes, now: float) -> None:
        self._waiting.append((kind, payload))
        self._send_next(now)

    def _send_next(self, now: float) -> None:
        if self._in_flight or not self._waiting:
            return
        kind, payload = self._waiting.popleft()
        packet = data_packet(kind, self._send_id, payload)
        self._in_flight = _InFlight(packet, self._send_id, now)
        self._output += packet

    def _send_again(self, flight: _InFlight, now: float) -> None:
        flight.sent_at = now
        flight.tries += 1
        self._output += flight.packet

    def _acknowledged(self, packet_id: int, now: float) -> None:
        if self._in_flight and packet_id & ~SYNC == self._in_flight.id:
            self._in_flight = None
            self._send_id ^= 1
            self._stream.answered = True
            self._send_next(now)

    def _drop_unsent(self) -> None:
        self._in_flight = None
        self._waiting.clear()
        self._pieces = []

    def _note(self, text: str, time: float | None) -> None:
        self._records.append(Note(time=time, generation=self._stream.generation, text=text))


def _may_be_given_up(packet: Packet) -> bool:
    """Whether a target goes on without an answer to this one; all others are sent for ever."""
    # What ReactOS's KdSendPacket gives up after its retries.
    if packet.kind == DEBUG_IO:
        debug_io = wire.parse_debug_io(packet.payload)
        return debug_io is not None and not debug_io.prompt
    if packet.kind == STATE_CHANGE:
        stop = wire.parse_state_change(packet.payload)
        return stop is not None and stop.state == wire.LOAD_SYMBOLS
    return packet.kind == FILE_IO
