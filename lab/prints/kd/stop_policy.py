"""Decides what to do at a stop: breakpoints, breaks after a bugcheck, exceptions. It sends no packets."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

from lab.prints.kd import payload as wire

#: After more stops than this at one address within the time below, continuing is useless.
_WEDGED_STOPS: Final = 20
_WEDGED_S: Final = 2.0

#: ``hold``: leave the target stopped; ``reboot``: restart it; ``step``: continue after the breakpoint; ``continue``: continue;
#: ``pass``: leave the exception to the target's own handlers.
Action = Literal["hold", "reboot", "step", "continue", "pass"]


AtBreakpoint = Literal["skip", "hold"]
AtBugcheck = Literal["hold", "continue", "reboot"]


@dataclass(frozen=True, slots=True)
class StopPolicy:
    """What to do at stops that a person might want to see.

    Attributes:
        breakpoint: At an ``int3``: step over it, or leave the target stopped.
        bugcheck: At the break that follows a bugcheck's announcement: leave the target stopped, so that its dump can be taken
            from outside; continue, so that it writes its own dump; or restart it. The second break, at the end of the bugcheck,
            repeats for ever and is never continued.
    """

    breakpoint: AtBreakpoint = "skip"
    bugcheck: AtBugcheck = "hold"


class StopJudge:
    """Decides about each stop, from the policy and the earlier output of the target.

    Args:
        policy: The user's choice.
    """

    def __init__(self, policy: StopPolicy) -> None:
        self._policy = policy
        self._hold_next = False
        #: How many breaks have come since a bugcheck was announced; -1: none was.
        self._bugcheck_stops = -1
        self._stops: deque[tuple[float, int]] = deque(maxlen=_WEDGED_STOPS + 1)

    def bugcheck_announced(self) -> None:
        """Note the announcement of a bugcheck: the next breaks belong to it."""
        self._bugcheck_stops = 0

    def target_booted(self) -> None:
        """Note that the target booted."""
        self._bugcheck_stops = -1

    def hold_next(self) -> None:
        """Hold the next breakpoint, which is a requested break-in."""
        self._hold_next = True

    def decide(self, stop: wire.StateChange, now: float) -> Action:
        """Decide what to do at a new stop.

        Args:
            stop: The stop.
            now: Monotonic seconds.
        """
        if stop.state != wire.EXCEPTION:
            return "continue"
        if self._is_wedged(stop, now):
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

    def why_held(self, stop: wire.StateChange) -> str:
        """Why the target is held at the last stop, for people."""
        if self._bugcheck_stops > 1:
            return "the kernel stops here for ever: restart the guest, or end its VM"
        if self._bugcheck_stops == 1:
            return "the kernel is stopped after its bugcheck; its memory can be dumped from outside now"
        return f"the kernel is stopped at {stop.pc:#x}"

    def _is_wedged(self, stop: wire.StateChange, now: float) -> bool:
        self._stops.append((now, stop.pc))
        first_at, _ = self._stops[0]
        often = len(self._stops) > _WEDGED_STOPS and now - first_at < _WEDGED_S
        return often and all(pc == stop.pc for _, pc in self._stops)
