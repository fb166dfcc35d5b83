"""Detects a target that may have given up its debugger, and says when it gets a break-in.

A kernel that gets no answer for long drops its print and continues without a debugger. It sends nothing until it finds one
again; its restarted ids then show that it had given up.
"""

from __future__ import annotations

from typing import Final

from lab.prints.kd import payload as wire
from lab.prints.kd.packet import DEBUG_IO, FILE_IO, STATE_CHANGE, SYNC, Packet

#: A target drops a print, and believes that no debugger is there, after this many tries. [ReactOS: KdpDefaultRetries]
GIVES_UP_AFTER: Final = 20
#: A silent target that may have given up gets a break-in after so many seconds, and so many of them.
BREAK_IN_S: Final = 1.0
BREAK_INS: Final = 20
#: After a pause of the host of so many seconds, the target may have given up.
STOOD_STILL_S: Final = 10.0


class Reconnect:
    """Decides when a silent target gets a break-in, and whether its prints count as lost.

    Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._break_in_at: float | None = None
        self._break_ins_left = 0
        self._doubts = 0
        self._may_have_given_up = False

    @property
    def breaking_in(self) -> bool:
        """Whether break-ins are sent while the target stays silent."""
        return self._break_in_at is not None

    def host_stood_still(self, now: float) -> None:
        """Note that the host did not answer for longer than a kernel waits."""
        # One new packet may have been on its way before.
        self._doubt(now, doubts=2)

    def tried_to_the_last(self, now: float) -> None:
        """Note that the target sent a packet for the last time before it was answered."""
        self._doubt(now, doubts=1)
        self._may_have_given_up = True

    def break_in_is_due(self, now: float) -> bool:
        """Whether a break-in is due now. Each one counts; there are no more than :data:`BREAK_INS`."""
        if self._break_in_at is None or now < self._break_in_at:
            return False
        # It prints nothing until it finds a debugger again, for which it checks at every clock tick.
        self._break_ins_left -= 1
        self._break_in_at = now + BREAK_IN_S if self._break_ins_left > 0 else None
        return True

    def heard(self, packet: Packet, now: float) -> None:
        """Note a new packet: no break-in is needed. Its id shows whether the target had given up, which is a gap then."""
        self._may_have_given_up = False
        self._doubts = 0 if packet.id & SYNC else max(0, self._doubts - 1)
        if self._break_in_at is not None:
            self._break_in_at = now + BREAK_IN_S if self._doubts else None

    def take_loss(self) -> bool:
        """Whether the target counts as having given up for good; True only once."""
        lost, self._may_have_given_up = self._may_have_given_up, False
        return lost

    def _doubt(self, now: float, *, doubts: int) -> None:
        """Send break-ins if the target stays silent, until it has sent ``doubts`` new packets or restarted its ids."""
        self._break_in_at, self._break_ins_left, self._doubts = now + BREAK_IN_S, BREAK_INS, doubts


def met_running(packet: Packet) -> str:
    """Why the earlier output of a target may be missing; empty if this first packet is the beginning.

    QEMU drops the output of a port whose socket is not connected. The kernel tries 20 times, which takes less than a second,
    then assumes that there is no debugger, and prints nothing more. It still reports a stop, with restarted ids. A stream that
    begins with a print or a load is a boot.

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
    """Whether a target continues without an answer to this packet; all others are repeated for ever."""
    # The packets that ReactOS's KdSendPacket gives up after its retries.
    if packet.kind == DEBUG_IO:
        debug_io = wire.parse_debug_io(packet.payload)
        return debug_io is not None and not debug_io.prompt
    if packet.kind == STATE_CHANGE:
        stop = wire.parse_state_change(packet.payload)
        return stop is not None and stop.state == wire.LOAD_SYMBOLS
    return packet.kind == FILE_IO
