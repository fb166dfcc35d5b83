"""The sending half of the protocol: one packet at a time, ids, repetitions, and resets.

The receiving half is :mod:`lab.prints.kd.stream`. Output is collected until the session is asked for it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

from lab.prints.kd.ids import SessionIds
from lab.prints.kd.packet import ACKNOWLEDGE, BREAK_IN, INITIAL_ID, RESEND, RESET, SYNC, control_packet, data_packet

#: A target answers within milliseconds, or does not listen; then the packet is sent again after so many seconds.
RESEND_S: Final = 1.5
#: After so many tries without an answer, a packet is repeated only now and then: a paused VM must not find thousands of copies
#: when it continues. It is never given up, because the target cannot continue without it.
TRIES: Final = 20
RARE_RESEND_S: Final = 30.0
#: A reset is not answered if the lab sent one so many seconds ago. A target may answer every reset [ReactOS: KdReceivePacket],
#: so if both sides did that, it would never end.
RESET_QUIET_S: Final = 5.0

ResetMeaning = Literal["answer", "late answer", "restart"]


@dataclass(slots=True)
class _InFlight:
    packet: bytes
    id: int
    sent_at: float
    tries: int = 1


class PacketSender:
    """Sends to the target, in order; times are monotonic seconds.

    Args:
        ids: Packet ids at the snapshot of the guest; None: the target boots, or the session begins in mid-stream.
    """

    def __init__(self, ids: SessionIds | None = None) -> None:
        self._id = INITIAL_ID if ids is None or ids.send is None else ids.send
        self._id_known = ids is not None and ids.receive is not None and ids.send is not None
        self._output = bytearray()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._in_flight: _InFlight | None = None
        self._reset_at: float | None = None
        self._resets_unanswered = 0

    @property
    def id_known(self) -> bool:
        """Whether the id that the target expects is known.

        In mid-stream, a target may expect the other id: it acknowledges a packet with the wrong id, and drops it.
        """
        return self._id_known

    @property
    def next_id(self) -> int | None:
        """Id of our next packet; None when it is not known."""
        return self._id if self._id_known else None

    @property
    def busy(self) -> bool:
        """Whether a packet is unacknowledged, or waits for another one."""
        return bool(self._in_flight or self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nothing is unacknowledged or unsent."""
        return not (self.busy or self._output)

    def take_output(self) -> bytes:
        """The bytes to send now."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def tick(self, now: float) -> bool:
        """Repeat unanswered packets; returns whether this was the last of the frequent repetitions."""
        flight = self._in_flight
        if flight is None or now - flight.sent_at < (RESEND_S if flight.tries < TRIES else RARE_RESEND_S):
            return False
        self.send_again(now)
        return flight.tries == TRIES

    def post(self, kind: int, payload: bytes, now: float) -> None:
        """Send a data packet as soon as the one before it is acknowledged."""
        self._waiting.append((kind, payload))
        self._send_next(now)

    def send_again(self, now: float) -> None:
        """Repeat the unacknowledged packet, if there is one."""
        if flight := self._in_flight:
            flight.sent_at = now
            flight.tries += 1
            self._output += flight.packet

    def drop_waiting(self) -> None:
        """Drop packets that were not sent yet."""
        self._waiting.clear()

    # --- control packets and the break-in -------------------------------------------------------------------------

    def acknowledge(self, packet_id: int) -> None:
        """Acknowledge a packet of the target."""
        self._output += control_packet(ACKNOWLEDGE, packet_id & ~SYNC)

    def ask_again(self) -> None:
        """Ask the target to repeat a damaged packet."""
        self._output += control_packet(RESEND)

    def break_in(self) -> None:
        """Ask a running target to stop."""
        self._output += BREAK_IN

    # --- acknowledgements of the target ---------------------------------------------------------------------------

    def acknowledged(self, packet_id: int, now: float) -> bool:
        """Note an acknowledgement; returns whether it was for the sent packet."""
        if self._in_flight is None or packet_id & ~SYNC != self._in_flight.id:
            return False
        self.imply_acknowledged()
        self._send_next(now)
        return True

    def imply_acknowledged(self) -> None:
        """Note new data from the target: it has read the last packet, and its acknowledgement was lost."""
        if self._in_flight:
            self._in_flight = None
            self._id ^= 1

    # --- resets ---------------------------------------------------------------------------------------------------

    def reset(self, now: float) -> None:
        """Ask the target to restart the ids; until it does, the expected id is unknown."""
        self.ask_for_ids(now)
        self._drop()
        self._id_known = False

    def ask_for_ids(self, now: float) -> None:
        """Send a reset, and keep the queue."""
        self._output += control_packet(RESET)
        self._reset_at = now
        self._resets_unanswered += 1

    def awaits_reset(self, now: float) -> bool:
        """Whether a reset was sent so recently that its answer may still come."""
        return self._reset_at is not None and now - self._reset_at < RESEND_S

    def take_reset(self, now: float) -> ResetMeaning:
        """Handle a reset from the target: answer it if necessary, and restart the ids.

        Returns:
            ``answer``: to the lab's reset; ``late answer``: perhaps, but so late that it was answered as well; ``restart``: the
            target asks for one.
        """
        ours, self._resets_unanswered = self._resets_unanswered > 0, max(0, self._resets_unanswered - 1)
        late = self._reset_at is None or now - self._reset_at >= RESET_QUIET_S
        if late:
            self.ask_for_ids(now)
        self.begin_ids()
        return "restart" if not ours else "late answer" if late else "answer"

    def begin_ids(self) -> None:
        """The target restarted its ids: packets on the way to it are void."""
        self._id = INITIAL_ID
        self._id_known = True
        self._drop()

    def guess_id(self) -> None:
        """Continue with the present id, because the target does not report which one it expects."""
        self._id_known = True

    def _drop(self) -> None:
        self._in_flight = None
        self._waiting.clear()

    def _send_next(self, now: float) -> None:
        if self._in_flight or not self._waiting:
            return
        kind, payload = self._waiting.popleft()
        packet = data_packet(kind, self._id, payload)
        self._in_flight = _InFlight(packet, self._id, now)
        self._output += packet
