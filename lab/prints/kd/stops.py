"""A stopped target: the requests that continue it, step it over a breakpoint or restart it.

Stepping takes three requests, each sent after the answer to the previous one: read the registers, set them with the instruction
pointer after the ``int3``, continue.
"""

from __future__ import annotations

from typing import Final

from lab.prints.kd import payload as wire
from lab.prints.kd.packet import STATE_MANIPULATE, Packet
from lab.prints.kd.sender import PacketSender
from lab.prints.kd.stop_policy import Action

#: An NTSTATUS from this value on is a warning or an error.
_REFUSED: Final = 0x80000000


class StoppedTarget:
    """Carries out the decision about a stop. Times are monotonic seconds.

    Args:
        sender: Sends the requests.

    Attributes:
        stop: The present stop, held or in the middle of a step; None while the target runs.
        action: The decision about the last stop.
    """

    def __init__(self, sender: PacketSender) -> None:
        self._sender = sender
        self.stop: wire.StateChange | None = None
        self.action: Action = "continue"
        #: Remaining requests of setting the registers piece by piece.
        self._pieces: list[bytes] = []

    @property
    def held(self) -> bool:
        """Whether the target is stopped and no request is under way."""
        return self.stop is not None and not self._sender.busy

    def stopped(self, stop: wire.StateChange, action: Action) -> None:
        """Note a stop; :meth:`act` carries out ``action`` once the target may be answered."""
        self.action = action
        self.stop = stop if action == "hold" else None

    def runs(self) -> None:
        """Note that the target restarted or asked for a restart: there is no present stop."""
        self.stop = None

    def drop_requests(self) -> None:
        """Drop the remaining requests: they are void."""
        self._pieces = []

    def act(self, stop: wire.StateChange, now: float) -> None:
        """Carry out the decision about a stop, also if it is reported again after a reset."""
        # A new stop during the handling of another one: that one is over.
        self._sender.drop_waiting()
        self._pieces = []
        self.stop = stop
        if self.action == "reboot":
            self.stop = None
            self._request(wire.manipulate(wire.REBOOT, stop.cpu), now)
        elif self.action == "step":
            self._step(stop, now)
        elif self.action != "hold":
            handled = self.action == "continue"
            self._continue(stop, wire.DBG_CONTINUE if handled else wire.DBG_EXCEPTION_NOT_HANDLED, now)

    def is_answer(self, packet: Packet) -> bool:
        """Whether a packet is the answer to a request of the lab."""
        return packet.kind == STATE_MANIPULATE and self.stop is not None and wire.reply_api(packet.payload) != 0

    def answered(self, payload: bytes, now: float) -> str:
        """Take an answer in the middle of a step: the registers were read, or set.

        Returns:
            Why the target cannot be stepped and is held; empty if it can.
        """
        stop = self.stop
        if stop is None or stop.arch is None or self.action != "step":
            return ""
        api = wire.reply_api(payload)
        if api == 0:
            return self._cannot_step(f"its answer has only {len(payload)} bytes")
        status = wire.reply_status(payload)
        if api == wire.GET_CONTEXT:
            context = wire.stepped(wire.reply_data(payload), stop.pc, stop.arch)
            if status >= _REFUSED or context is None:
                return self._cannot_step(f"GetContext gave status {status:#x}")
            self._pieces = wire.set_context_pieces(stop.cpu, context)
            self._request(wire.set_context(stop.cpu, stop.arch, context), now)
        elif api == wire.SET_CONTEXT and status >= _REFUSED and self._pieces:
            self._request(self._pieces.pop(0), now)
        elif api in (wire.SET_CONTEXT, wire.SET_CONTEXT_EX):
            if status >= _REFUSED:
                return self._cannot_step(f"SetContext gave status {status:#x}")
            if api == wire.SET_CONTEXT_EX and self._pieces:
                self._request(self._pieces.pop(0), now)
            else:
                self._continue(stop, wire.DBG_CONTINUE, now)
        return ""

    def _step(self, stop: wire.StateChange, now: float) -> None:
        """Continue after a breakpoint: the reported address is that of the ``int3``, which would be hit again."""
        if not stop.at_int3 or stop.arch is None:
            self._continue(stop, wire.DBG_CONTINUE, now)
            return
        self._request(wire.get_context(stop.cpu, stop.arch), now)

    def _cannot_step(self, why: str) -> str:
        self.action = "hold"
        return why

    def _continue(self, stop: wire.StateChange, status: int, now: float) -> None:
        self.stop = None
        self._pieces = []
        self._request(wire.continue_request(stop, status, stop.arch), now)

    def _request(self, payload: bytes, now: float) -> None:
        self._sender.post(STATE_MANIPULATE, payload, now)
