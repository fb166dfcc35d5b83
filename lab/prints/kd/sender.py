"""The sending half of the protocol: one packet on its way at a time, its id, what is sent again and when, and resets.

The receiving half is :mod:`lab.prints.kd.stream`. What must be sent is gathered until the session is asked for it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

from lab.prints.kd.ids import SessionIds
from lab.prints.kd.packet import ACKNOWLEDGE, BREAK_IN, INITIAL_ID, RESEND, RESET, SYNC, control_packet, data_packet

#: A target answers within milliseconds, or is not listening: then the packet is sent again.
RESEND_S: Final = 1.5
#: After that many times without an answer a packet is sent only now and then: the machine may be paused, and must not find
#: thousands of copies when it goes on. It is never given up, because the target cannot go on without it.
TRIES: Final = 20
RARE_RESEND_S: Final = 30.0
#: A reset is not answered when one of ours went out so recently. A target may answer every one [ReactOS: KdReceivePacket],
#: so that two sides which both do would never end.
RESET_QUIET_S: Final = 5.0

ResetMeaning = Literal["answer", "late answer", "restart"]


@dataclass(slots=True)
class _InFlight:
    packet: bytes
    id: int
    sent_at: float
    tries: int = 1


class PacketSender:
    """What goes to the target, in order; times are monotonic seconds.

    Args:
        ids: Of the session in which the guest's snapshot was taken; None: the target begins, or is met in mid-stream.
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
        """The target expects the id of our next packet.

        One that was met in mid-stream may expect the other: it acknowledges a packet with the wrong id, and drops it.
        """
        return self._id_known

    @property
    def next_id(self) -> int | None:
        """Id of our next packet; None when it is not known."""
        return self._id if self._id_known else None

    @property
    def busy(self) -> bool:
        """A packet is on its way, or waits for the one that is."""
        return bool(self._in_flight or self._waiting)

    @property
    def idle(self) -> bool:
        """Nothing is under way, and all that had to be sent was taken."""
        return not (self.busy or self._output)

    def take_output(self) -> bytes:
        """What must be sent now."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def tick(self, now: float) -> bool:
        """Send again what was not answered; whether that was the last time but now and then."""
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
        """Send the packet that is on its way once more; nothing when there is none."""
        if flight := self._in_flight:
            flight.sent_at = now
            flight.tries += 1
            self._output += flight.packet

    def drop_waiting(self) -> None:
        """Forget what is not on its way yet."""
        self._waiting.clear()

    # --- control packets and the break-in -------------------------------------------------------------------------

    def acknowledge(self, packet_id: int) -> None:
        """Acknowledge a packet of the target."""
        self._output += control_packet(ACKNOWLEDGE, packet_id & ~SYNC)

    def ask_again(self) -> None:
        """Ask for a packet that came damaged."""
        self._output += control_packet(RESEND)

    def break_in(self) -> None:
        """Ask a running target to stop."""
        self._output += BREAK_IN

    # --- acknowledgements of the target ---------------------------------------------------------------------------

    def acknowledged(self, packet_id: int, now: float) -> bool:
        """The target acknowledged this id; whether that was the packet on its way."""
        if self._in_flight is None or packet_id & ~SYNC != self._in_flight.id:
            return False
        self.imply_acknowledged()
        self._send_next(now)
        return True

    def imply_acknowledged(self) -> None:
        """A target that says something new has read what we sent last: its acknowledgement was lost."""
        if self._in_flight:
            self._in_flight = None
            self._id ^= 1

    # --- resets ---------------------------------------------------------------------------------------------------

    def reset(self, now: float) -> None:
        """Ask the target to begin the ids anew; until it does, the id that it expects is not known."""
        self.ask_for_ids(now)
        self._drop()
        self._id_known = False

    def ask_for_ids(self, now: float) -> None:
        """Send a reset, and keep what is to be sent."""
        self._output += control_packet(RESET)
        self._reset_at = now
        self._resets_unanswered += 1

    def awaits_reset(self, now: float) -> bool:
        """Whether a reset of ours went out so recently that its answer may still come."""
        return self._reset_at is not None and now - self._reset_at < RESEND_S

    def take_reset(self, now: float) -> ResetMeaning:
        """The target sent a reset: answer it where that must be, and begin the ids anew.

        Returns:
            ``answer``: to a reset of ours; ``late answer``: perhaps, but so late that it was answered in its turn;
            ``restart``: the target asks by itself.
        """
        ours, self._resets_unanswered = self._resets_unanswered > 0, max(0, self._resets_unanswered - 1)
        late = self._reset_at is None or now - self._reset_at >= RESET_QUIET_S
        if late:
            self.ask_for_ids(now)
        self.begin_ids()
        return "restart" if not ours else "late answer" if late else "answer"

    def begin_ids(self) -> None:
        """The target began its ids anew: what was on its way to it has no meaning any more."""
        self._id = INITIAL_ID
        self._id_known = True
        self._drop()

    def guess_id(self) -> None:
        """Go on with the id that we have: the target does not tell which one it expects."""
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
