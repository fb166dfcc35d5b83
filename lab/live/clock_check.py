"""A guest whose clock runs at a wrong rate cannot be used: its deadlines pass early, and its ticks prove nothing.

Seen with the free guest: on a loaded host the kernel's calibration of its time stamp counter went wrong at boot, the guest
counted 453 s where 33 s had passed, and each driver's start ended with error 1053 (no answer in time), which looks like the
driver's fault.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from lab.errors import GuestClockWrong
from lab.prints.record import PrintSource
from lab.prints.uptime import marked_at

_MARK_S = 30.0
#: The guest's clock starts after the host's, never before it; stamps are rounded, and calibration errs by parts of a percent.
_RATE = 1.1
_SLACK_S = 2.0


def require_sound_clock(prints: PrintSource, elapsed: Callable[[], float]) -> None:
    """Compare the guest's uptime with the time that has passed since its VM was started.

    Args:
        prints: Its print source, started; one without guest time proves nothing.
        elapsed: Host seconds since the VM was started.

    Raises:
        GuestClockWrong: The guest counts more time than has passed.
        EvidenceLost: The marker did not come back.
    """
    token = f"clock-{secrets.token_hex(4)}"
    position = prints.mark(token, timeout=_MARK_S)
    passed = elapsed()
    uptime = marked_at(prints, position)
    if uptime is not None and uptime > passed * _RATE + _SLACK_S:
        raise GuestClockWrong(
            f"the guest's clock is wrong: it counts {uptime:.0f} s since its start, and {passed:.0f} s have passed",
            hint="the host was too busy while the guest's kernel measured its clock: use fewer --workers, or run again",
        )
