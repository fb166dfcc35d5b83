"""Notices at once that a guest has crashed, saves the evidence, and ends the VM so that no command waits for it.

A guest whose kernel has stopped answers nothing: a pending command would only fail at its own deadline, and by then Windows may
have written its dump and restarted, so that nothing can be examined from outside.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from lab.crash.bugcheck import Bugcheck
from lab.crash.signs import CrashSign, crash_sign
from lab.errors import LabError
from lab.host.passed import passed_over
from lab.live.evidence import events_of
from lab.live.guest import LiveGuest
from lab.prints.stream import first_fault

_LOG = logging.getLogger(__name__)

#: How often the guest is looked at, in seconds.
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Crash:
    """A crash that was noticed.

    Attributes:
        bugcheck: Code and parameters, where they are known.
        sign: QEMU's event, where there was one.
    """

    bugcheck: Bugcheck | None
    sign: CrashSign | None


class CrashWatch:
    """Watches one guest whose faults are final, in a thread of its own.

    Args:
        guest: The guest.
        save: Called once, with the crash, while the VM is still there; must not raise.
        end: End the VM afterwards.
        poll: Seconds between two looks.
    """

    def __init__(self, guest: LiveGuest, save: Callable[[Crash], None], *, end: bool = True, poll: float = POLL_S) -> None:
        self._guest = guest
        self._save = save
        self._end = end
        self._poll = poll
        self._position = len(guest.prints.records_since(0))
        self._events = max((event.index for event in events_of(guest.machine)), default=0)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"crash watch {guest.guest_id}", daemon=True)
        self.crash: Crash | None = None

    def start(self) -> None:
        """Start watching; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; waits for a running collection."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def pause(self) -> None:
        """Stop looking, because the lab will do something that looks like a crash; :meth:`check` finds nothing any more."""
        with self._lock:
            self._stopping.set()

    def check(self) -> Crash | None:
        """Look now; waits for a running collection. From any thread.

        Returns:
            The crash, its evidence saved; None when there is none.
        """
        with self._lock:
            if self.crash is None and not self._stopping.is_set():
                found = self._look()
                if found is not None:
                    self.crash = found
                    self._save(found)
                    if self._end:
                        with passed_over(_LOG, f"{self._guest.guest_id}: ending its VM", LabError):
                            self._guest.machine.kill()
            return self.crash

    def _look(self) -> Crash | None:
        fault = first_fault(self._guest.prints.records_since(self._position))
        sign = crash_sign(events_of(self._guest.machine, after=self._events))
        if fault is None and sign is None:
            return None
        bugcheck = sign.bugcheck if sign else None
        if fault is not None and len(fault.parameters) == 4:
            first, second, third, fourth = fault.parameters
            bugcheck = Bugcheck(fault.code, (first, second, third, fourth), text=fault.text)
        return Crash(bugcheck, sign)

    def _watch(self) -> None:
        while not self._stopping.wait(self._poll):
            if self.check() is not None or not self._guest.alive:
                return
