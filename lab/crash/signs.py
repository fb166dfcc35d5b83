"""Signs in QEMU's events that a guest crashed or ended by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.crash.bugcheck import Bugcheck, from_guest_panicked
from lab.vm.qmp import QmpEvent

#: Events that may be such a sign.
SIGN_EVENTS = frozenset({"GUEST_PANICKED", "GUEST_CRASHLOADED", "RESET", "SHUTDOWN"})
_DONE_BY_ITSELF = {
    "guest-reset": "the guest reset itself",
    "guest-shutdown": "the guest switched itself off",
    "guest-panic": "the guest's kernel panicked",
}
#: The code of a crash that reported none.
NO_CODE = "0x00000000"


@dataclass(frozen=True, slots=True)
class CrashSign:
    """An end of a guest that the lab did not ask for.

    Attributes:
        index: Number of the event.
        event: Its name.
        text: What happened, for people.
        bugcheck: Code and parameters, where the event carries them.
    """

    index: int
    event: str
    text: str
    bugcheck: Bugcheck | None = None


def crash_sign(events: Iterable[QmpEvent], *, before: int | None = None) -> CrashSign | None:
    """The sign of a crash among events; the most detailed one when there are several.

    A reset or an end by QEMU's monitor, by a signal, or by the lab does not count.

    Args:
        events: In their order.
        before: Only events with a smaller number count.
    """
    signs = [sign for event in events if before is None or event.index < before for sign in [_sign(event)] if sign]
    return next((sign for sign in signs if sign.bugcheck), signs[0] if signs else None)


def _sign(event: QmpEvent) -> CrashSign | None:
    if event.name in ("GUEST_PANICKED", "GUEST_CRASHLOADED"):
        bugcheck = from_guest_panicked(event.data)
        what = "the guest's kernel reported its crash"
        text = f"{what}: {bugcheck}" if bugcheck else f"{what} by its panic device ({event.name}), without a code"
        return CrashSign(event.index, event.name, text, bugcheck)
    if event.name in ("RESET", "SHUTDOWN") and event.data.get("guest") is True:
        reason = str(event.data.get("reason", ""))
        done = _DONE_BY_ITSELF.get(reason, f"the guest ended itself ({reason or 'no reason given'})")
        if reason == "guest-shutdown":
            done += "; Windows with an expired evaluation does that every hour"
        return CrashSign(event.index, event.name, f"{done} (QEMU: {event.name})")
    return None
