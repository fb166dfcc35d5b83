"""``with timing("…")``: a suite marks its assertions about time.

An assertion about time can fail although the driver is right: when its guest got no processor time. Other assertions cannot.
Only the suite knows which are about time.
"""

from __future__ import annotations

import itertools
import sys
import traceback
from types import TracebackType
from typing import Literal

from lab.errors import TimingFailed
from lab.gate.blame import judges_the_driver
from lab.plugin.host_clock import host_clock
from lab.prints.matching import PrintMismatch

#: A helper may hold the assertion, and its caller the time that it is given.
_CALLERS = 3


class timing:
    """Assertions inside of ``with timing("what must hold"):`` are about time.

    If one fails while the guest waited for a processor of the host, the driver is not accused: the test is run again in a fresh
    guest (docs/runs.md). Nor is it accused if the suite reads a clock of the host beside the assertion, and the guest has a
    virtual clock: then the test is wrong. Keep everything else outside: a wrong text is wrong on a busy host, too.
    ``prints.expect()`` says by itself whether a print was late or a wrong one.

    Args:
        what: What must hold, in a few words, such as ``ticks are one second apart``. It begins the message.
    """

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Start."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Raise an assertion that failed inside as :class:`TimingFailed`, with its own line and text.

        Raises:
            TimingFailed: An assertion or ``pytest.fail()`` inside has failed.
        """
        __tracebackhide__ = True
        if error is None or isinstance(error, TimingFailed | PrintMismatch) or not judges_the_driver(error):
            return False
        said = str(error).strip() or "assertion failed"
        inside = [frame for frame, _ in traceback.walk_tb(trace)]
        callers = itertools.islice(traceback.walk_stack(sys._getframe(1)), _CALLERS)
        read = host_clock([*inside, *(frame for frame, _ in callers)], said)
        raise TimingFailed(f"{self._what}: {said}", host_clock=read).with_traceback(trace) from None
