"""A target that may have given its debugger up: the signs of it, and when it is woken by a break-in.

A kernel that was not answered for long drops its print and goes on without a debugger; it says nothing more until it finds
one again. Its new ids then tell that it had given up.
"""

from __future__ import annotations

from typing import Final

from lab.prints.kd import payload as wire
from lab.prints.kd.packet import DEBUG_IO, FILE_IO, STATE_CHANGE, SYNC, Packet

#: A target drops a print, and believes that no debugger is there, after this many tries. [ReactOS: KdpDefaultRetries]
GIVES_UP_AFTER: Final = 20
#: A target that gave up is woken when it stays silent for this long, so many times.
WAKE_S: Final = 1.0
WAKES: Final = 20
#: A host that stood still for longer must expect that its target gave it up.
STOOD_STILL_S: Final = 10.0


class Reconnect:
    """Says when a silent target is broken into, and whether prints of it must be taken for lost.

    Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._wake_at: float | None = None
        self._wakes_left = 0
        self._doubts = 0
        self._may_have_given_up = False

    @property
    def waking(self) -> bool:
        """The target is broken into as long as it stays silent."""
        return self._wake_at is not None

    def host_stood_still(self, now: float) -> None:
        """The host did not answer for longer than a kernel waits."""
        # One new packet may have been on its way before.
        self._wake(now, doubts=2)

    def tried_to_the_last(self, now: float) -> None:
        """The target sent a packet as often as it ever does, before it was answered."""
        self._wake(now, doubts=1)
        self._may_have_given_up = True

    def wake_is_due(self, now: float) -> bool:
        """Whether the target must be broken into now; that is counted, and ends after :data:`WAKES` times."""
        if self._wake_at is None or now < self._wake_at:
            return False
        # It prints nothing any more until it finds a debugger again, for which it looks at every clock tick.
        self._wakes_left -= 1
        self._wake_at = now + WAKE_S if self._wakes_left > 0 else None
        return True

    def heard(self, packet: Packet, now: float) -> None:
        """A new packet: the target need not be woken. It says by the ids whether it had given up, which is a gap then."""
        self._may_have_given_up = False
        self._doubts = 0 if packet.id & SYNC else max(0, self._doubts - 1)
        if self._wake_at is not None:
            self._wake_at = now + WAKE_S if self._doubts else None

    def take_loss(self) -> bool:
        """Whether the target must be taken for one that gave up for good; told once."""
        lost, self._may_have_given_up = self._may_have_given_up, False
        return lost

    def _wake(self, now: float, *, doubts: int) -> None:
        """Break into the target if it stays silent, until it has said ``doubts`` new things, or begins its ids anew."""
        self._wake_at, self._wakes_left, self._doubts = now + WAKE_S, WAKES, doubts


def met_running(packet: Packet) -> str:
    """Why what a target said before its first packet to us may be in no record; empty when it begins with that packet.

    A port without a host takes everything and delivers nothing: QEMU drops what a disconnected socket gets. Its kernel tries
    20 times, which takes it less than a second, then believes that no debugger is there, and prints nothing any more. A stop
    it reports all the same, with ids that begin anew. What begins with a print or a load is a boot.

    Args:
        packet: The first one.
    """
    if not packet.id & SYNC:
        return "the session began in mid-stream: earlier packets of the kernel are not in this record"
    stop = wire.parse_state_change(packet.payload) if packet.kind == STATE_CHANGE else None
    if stop is not None and stop.state == wire.EXCEPTION:
        return "the kernel ran before its debugger was attached, and a kernel without a debugger drops its prints"
    return ""


def may_be_given_up(packet: Packet) -> bool:
    """Whether a target goes on without an answer to this one; all others are sent for ever."""
    # What ReactOS's KdSendPacket gives up after its retries.
    if packet.kind == DEBUG_IO:
        debug_io = wire.parse_debug_io(packet.payload)
        return debug_io is not None and not debug_io.prompt
    if packet.kind == STATE_CHANGE:
        stop = wire.parse_state_change(packet.payload)
        return stop is not None and stop.state == wire.LOAD_SYMBOLS
    return packet.kind == FILE_IO
