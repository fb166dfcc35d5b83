"""A live session with a target: acknowledges, answers, steps over breakpoints. Only protocol: no socket, no clock.

The owner of the port feeds the data that it read, sends :meth:`Session.take_output` at once, and only then processes the
records: all processors of a target are stopped until its packet is acknowledged.

The session combines the parts of the protocol: :mod:`~lab.prints.kd.stream` receives, :mod:`~lab.prints.kd.sender`
sends, :mod:`~lab.prints.kd.stops` handles a stopped target.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lab.prints.kd import payload as wire
from lab.prints.kd.ids import SessionIds
from lab.prints.kd.packet import ACKNOWLEDGE, DEBUG_IO, FILE_IO, RESEND, RESET, STATE_MANIPULATE, SYNC, Framer, Packet, Skipped
from lab.prints.kd.reconnect import GIVES_UP_AFTER, STOOD_STILL_S, Reconnect, may_be_given_up, met_running
from lab.prints.kd.record import AnyRecord, BugcheckText, ExceptionStop, Gap, Note
from lab.prints.kd.sender import TRIES, PacketSender
from lab.prints.kd.stop_policy import Action, StopJudge, StopPolicy
from lab.prints.kd.stops import StoppedTarget
from lab.prints.kd.stream import Accepted, RecordStream, answer_for, exception_stop

#: If the rest of a packet has not come after so many seconds, it will not come: the target was reset in the middle of it.
STALE_S: Final = 1.0
#: The same if its bytes contain another whole packet; if they contain it twice, its sender waits for an answer. Under TCG, a
#: kernel's 20 tries, with 204,800 polls of the port each, were over after half a second.
OVERTAKEN_S: Final = 0.02
#: How often a target is asked to restart its ids before they are guessed.
_RESETS: Final = 5
#: Text outside of packets is recorded after :data:`STALE_S` of silence, or when it has so many bytes.
CONSOLE_SIZE: Final = 1 << 16


class Session:
    """The host's side.

    Args:
        policy: What to do at stops.
        ids: Packet ids at the snapshot of the guest; None: the target boots, or the session begins in mid-stream.
    """

    def __init__(self, policy: StopPolicy | None = None, ids: SessionIds | None = None) -> None:
        self._framer = Framer()
        self._stream = RecordStream(ids.receive, ids.last) if ids else RecordStream()
        self._sender = PacketSender(ids)
        self._reconnect = Reconnect()
        self._judge = StopJudge(policy or StopPolicy())
        self._target = StoppedTarget(self._sender)
        self._records: list[AnyRecord] = []
        #: The packet that waits for an answer until the expected id is known, and how often that was requested.
        self._unanswered: Accepted | None = None
        self._unanswered_resets = 0
        #: The last stop.
        self._told: Accepted | None = None
        self._last_data = 0.0
        #: Nothing came yet, and the position of the target is unknown.
        self._unmet = ids is None
        #: Another debugger answers the target; this session only reads.
        self._lent = False
        self.heard = False

    @property
    def ids(self) -> SessionIds:
        """The present positions of both id streams."""
        return SessionIds(self._stream.expected_id, self._sender.next_id, self._stream.last_digest)

    @property
    def idle(self) -> bool:
        """Nothing is half received, unanswered or unsent: the only state in which a snapshot may be taken."""
        return self._sender.idle and not (self._framer.pending or self._unanswered or self._target.stop)

    @property
    def incomplete(self) -> bool:
        """The rest of a packet has not come yet."""
        return self._framer.pending > 0

    @property
    def held(self) -> bool:
        """Whether the target is stopped until :meth:`release`."""
        return self._target.held

    @property
    def generation(self) -> int:
        """How often the target restarted its ids."""
        return self._stream.generation

    @property
    def lent(self) -> bool:
        """Another debugger has the target, see :meth:`lend`."""
        return self._lent

    def lend(self, time: float | None = None) -> None:
        """Let another debugger answer from here on, and continue to read."""
        self._lent = True
        self._unanswered = None
        self._target.runs()
        self._note("from here on, another debugger answers the kernel", time)

    def take_back(self, now: float, time: float | None = None) -> None:
        """Answer again: the other debugger has disconnected. If it left the target stopped, the target reports its stop again.

        Args:
            now: Monotonic seconds.
            time: Wall clock in seconds.
        """
        self._lent = False
        self._last_data = now
        self.reset(now)  # the other debugger has advanced the ids; any packet of the target is acknowledged
        self._note("the other debugger has disconnected; the collector answers the kernel again", time)

    def take_output(self) -> bytes:
        """The bytes to send now; empty while another debugger has the target."""
        output = self._sender.take_output()
        return b"" if self._lent else output

    def take_records(self) -> list[AnyRecord]:
        """The records since the last call."""
        records, self._records = self._records, []
        return records

    def feed(self, data: bytes, now: float, time: float | None = None) -> None:
        """Take bytes from the target.

        Args:
            data: The bytes.
            now: Monotonic seconds.
            time: Wall clock in seconds, for the records.
        """
        self._last_data = now
        for item in self._framer.feed(data):
            self._take(item, now, time)

    def tick(self, now: float, time: float | None = None) -> None:
        """Let time pass: repeat unanswered packets, and give up incomplete ones."""
        silent = now - self._last_data
        if self._lent:
            if silent >= STALE_S or self._stream.console_size >= CONSOLE_SIZE:
                self._records += self._stream.console()
            return
        if self._framer.pending and (silent >= STALE_S or self._framer.overtaken > (silent < OVERTAKEN_S)):
            for item in self._framer.give_up():
                self._take(item, now, time)
            self._records += self._stream.console()
        if silent >= STALE_S or self._stream.console_size >= CONSOLE_SIZE:
            self._records += self._stream.console()
        self._ask_for_ids(now, time)
        if self._reconnect.break_in_is_due(now):
            self.break_in()
            if not self._reconnect.breaking_in:
                self._gave_up(time)
        if self._sender.tick(now):
            self._note(f"the kernel did not answer a packet that was sent {TRIES} times: is its VM running?", time)

    def stood_still(self, seconds: float, now: float, time: float | None = None) -> None:
        """Note that this process did not run, and so did not answer, for a while.

        Args:
            seconds: Length of that time.
            now: Monotonic seconds.
            time: Wall clock in seconds.
        """
        if self.heard and not self._lent and seconds > STOOD_STILL_S:
            self._gap(f"the collector did not run for {seconds:.0f} s, longer than a kernel waits, so prints may be lost", time)
            self._reconnect.host_stood_still(now)

    def finish(self, time: float | None = None) -> None:
        """End of the session: the port is closed."""
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
            if hold:
                self._judge.hold_next()
            self._sender.break_in()

    def reset(self, now: float) -> None:
        """Ask a stopped target to restart the session and report its stop again; a running target may ignore this."""
        self._sender.reset(now)
        self._target.drop_requests()
        if self._target.stop:
            self._unanswered, self._unanswered_resets = self._told, 1

    def release(self, now: float) -> None:
        """Continue a target that is held, past its breakpoint."""
        self._let_go("step", now)

    def reboot(self, now: float) -> None:
        """Restart a target that is stopped."""
        self._let_go("reboot", now)

    # --- receiving ------------------------------------------------------------------------------------------------

    def _take(self, item: Packet | Skipped, now: float, time: float | None) -> None:
        if self._lent:
            self._read_only(item, time)
        elif isinstance(item, Skipped):
            if item.damaged:
                self._sender.ask_again()
            self._stream.skipped(item, time)
        elif item.kind == ACKNOWLEDGE:
            if self._sender.acknowledged(item.id, now):
                self._stream.answered = True
        elif item.kind == RESEND:
            self._sender.send_again(now)
        elif item.kind == RESET:
            self._reset_received(now)
        else:
            self._data_received(item, now, time)

    def _read_only(self, item: Packet | Skipped, time: float | None) -> None:
        """Record what the target sends to another debugger."""
        if isinstance(item, Skipped):
            self._stream.skipped(item, time)
        elif item.kind == RESET:
            self._stream.reset()  # the answer to a request of the other debugger
        elif item.kind not in (ACKNOWLEDGE, RESEND) and (accepted := self._stream.accept(item, time)):
            for record in accepted.records:
                if isinstance(record, ExceptionStop):
                    self._records.append(replace(record, action="debugger"))
                elif not (isinstance(record, Note) and item.kind == STATE_MANIPULATE):
                    self._records.append(record)

    def _reset_received(self, now: float) -> None:
        self.heard = True
        meaning = self._sender.take_reset(now)
        self._target.drop_requests()
        if meaning == "restart":
            self._target.runs()
            self._stream.restarted()
        else:
            self._stream.reset(agreed=meaning == "answer")

    def _data_received(self, packet: Packet, now: float, time: float | None) -> None:
        self.heard = True
        self._sender.acknowledge(packet.id)
        generation = self._stream.generation
        unmet, self._unmet = self._unmet, False
        if accepted := self._stream.accept(packet, time):
            if packet.id & SYNC:
                self._sender.begin_ids()
                self._target.drop_requests()
            if not accepted.again and (packet.id & SYNC or generation != self._stream.generation):
                self._judge.target_booted()
                self._target.runs()
            if unmet and (reason := met_running(packet)):
                self._gap(reason, time)
            self._unanswered = None
            self._reconnect.heard(packet, now)
            self._sender.imply_acknowledged()
            self._react(accepted, now, time)
        elif self._stream.restored and self._stream.repeats == 1:
            self._note("the kernel repeats the last packet before the snapshot, which was recorded then", time)
        elif self._stream.repeats == GIVES_UP_AFTER - 1 and may_be_given_up(packet):
            self._note(f"the kernel sent one packet {GIVES_UP_AFTER} times before it got an answer, and may give up", time)
            self._reconnect.tried_to_the_last(now)

    # --- answering ------------------------------------------------------------------------------------------------

    def _react(self, accepted: Accepted, now: float, time: float | None) -> None:
        records = accepted.records
        if any(isinstance(record, BugcheckText) for record in records):
            self._judge.bugcheck_announced()
        if accepted.stop:
            self._told = accepted
        if accepted.stop and not accepted.again:
            records = self._stopped(accepted.stop, records, now)
        elif self._target.is_answer(accepted.packet):
            records = [record for record in records if not isinstance(record, Note)]  # not recorded: the lab asked for it
        self._records += records
        if self._sender.id_known or not _needs_answer(accepted):
            self._answer(accepted, now, time)
        else:
            # Not answered, because the id may be wrong: the target repeats it once the ids are known.
            self._unanswered = accepted
            self._unanswered_resets = 0
            self._ask_for_ids(now, time)

    def _stopped(self, stop: wire.StateChange, records: list[AnyRecord], now: float) -> list[AnyRecord]:
        """Decide about a new stop; returns its records, with the action."""
        action = self._judge.decide(stop, now)
        self._target.stopped(stop, action)
        told = [replace(record, action=action) if isinstance(record, ExceptionStop) else record for record in records]
        if action == "hold":
            told.append(Note(time=records[-1].time, generation=self._stream.generation, text=self._judge.why_held(stop)))
        return told

    def _ask_for_ids(self, now: float, time: float | None) -> None:
        """Ask the target to restart its ids and to repeat the packet that waits for an answer."""
        if self._unanswered is None or self._sender.awaits_reset(now):
            return
        if not self._sender.id_known and self._unanswered_resets < _RESETS:
            self._unanswered_resets += 1
            self._sender.ask_for_ids(now)
            return
        if not self._sender.id_known:
            self._note("the kernel does not answer a reset; it may not accept the lab's packet id", time)
        self._sender.guess_id()
        accepted, self._unanswered = self._unanswered, None
        self._answer(accepted, now, time)

    def _answer(self, accepted: Accepted, now: float, time: float | None) -> None:
        packet = accepted.packet
        if accepted.debug_io and accepted.debug_io.prompt:
            answer = answer_for(accepted.debug_io.text)
            self._sender.post(DEBUG_IO, wire.prompt_answer(accepted.debug_io, answer), now)
        elif accepted.stop:
            self._target.act(accepted.stop, now)
        elif packet.kind == FILE_IO:
            self._sender.post(FILE_IO, wire.file_refusal(packet.payload), now)
        elif packet.kind == STATE_MANIPULATE and (stop := self._target.stop) is not None:
            self._step_answered(stop, packet.payload, now, time)

    def _step_answered(self, stop: wire.StateChange, payload: bytes, now: float, time: float | None) -> None:
        if why := self._target.answered(payload, now):
            # It stays stopped: recorded as held, so that readers do not wait for it.
            self._records.append(replace(exception_stop(stop, time, self._stream.generation), action="hold"))
            self._note(f"cannot step over the breakpoint at {stop.pc:#x}: {why}", time)

    def _let_go(self, action: Action, now: float) -> None:
        """Note that a held stop is over."""
        stop = self._target.stop
        if stop is None or not self.held:
            return
        self._target.action = action
        if self._sender.id_known:
            self._target.act(stop, now)
        else:
            # The expected id is not known yet.
            self._ask_for_ids(now, None)

    # --- recording ------------------------------------------------------------------------------------------------

    def _gave_up(self, time: float | None) -> None:
        if self._reconnect.take_loss():
            self._gap("the kernel got no answer for so long that it gave up; its prints since then are lost", time)

    def _gap(self, reason: str, time: float | None) -> None:
        self._records.append(Gap(time=time, generation=self._stream.generation, reason=reason))

    def _note(self, text: str, time: float | None) -> None:
        self._records.append(Note(time=time, generation=self._stream.generation, text=text))


def _needs_answer(accepted: Accepted) -> bool:
    if accepted.debug_io:
        return accepted.debug_io.prompt
    # The answer to a request of an earlier host: the target is stopped after it.
    return accepted.stop is not None or accepted.packet.kind in (FILE_IO, STATE_MANIPULATE)
