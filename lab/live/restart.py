"""Restarts a Windows guest inside of its VM, and waits until the new boot answers.

The order matters. The guest's network goes down first, QEMU's RESET event follows, and its forwarded port takes connections all
the time. So neither an open port nor a first answer proves a restart: RESET and another boot id do.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterator

from lab.errors import BootTimeout, GuestError, GuestExited, GuestHung, TransportError
from lab.guest.protocol import Transport
from lab.guest.readiness import wait_ready
from lab.host.passed import passed_over
from lab.vm.protocol import Machine

_LOG = logging.getLogger(__name__)

#: Windows counts its boots there, for its prefetcher.
_PREFETCH = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"
_BOOT_ID = re.compile(r"\bBootId\s+REG_DWORD\s+(0x[0-9a-f]+)", re.IGNORECASE)
_LAST_BOOT = "(Get-CimInstance Win32_OperatingSystem).LastBootUpTime.ToFileTimeUtc()"
_COMMAND_S = 60.0
#: A guest that still ends its services answers for some seconds more.
_POLL_S = 2.0


def boot_id(transport: Transport) -> str:
    """What identifies the present boot of a Windows guest: the number of the boot, else the time at which it began.

    Raises:
        TransportError: The guest says neither.
    """
    result = transport.run(["reg", "query", _PREFETCH, "/v", "BootId"], timeout=_COMMAND_S)
    found = _BOOT_ID.search(result.text)
    if result.exit_code == 0 and found is not None:
        return f"boot {int(found[1], 16)}"
    # A guest whose prefetcher is off may have no number.
    result = transport.run(["powershell", "-NoProfile", "-Command", _LAST_BOOT], timeout=_COMMAND_S)
    if result.exit_code == 0 and (text := result.text.strip()).isdigit():
        return f"booted at {text}"
    raise TransportError(f"the guest says neither the number nor the time of its boot: {result.text.strip()[-200:]!r}")


def restart_guest(
    machine: Machine,
    transport: Transport,
    open_transport: Callable[[], Transport],
    *,
    timeout: float,
    confirmations: int = 2,
    progress: Callable[[str], None] = lambda _text: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Transport:
    """Restart the guest; returns a connection to its new boot. The old one is closed.

    Args:
        machine: Its VM.
        transport: The connection to it.
        open_transport: Opens another one.
        timeout: Seconds for all of it.
        confirmations: Answers in a row that count as ready.
        progress: Gets a line for each step.
        clock: Monotonic clock in seconds.
        sleep: Sleeps for some seconds.

    Raises:
        GuestError: It did not restart.
        GuestExited: It switched itself off, or QEMU ended.
        BootTimeout: It restarted, and does not answer.
        TransportError: It does not say which boot it is.
    """
    deadline = clock() + timeout
    before = boot_id(transport)
    seen = machine.qmp.event_count
    with _resets_allowed(machine):
        progress("the guest restarts")
        with passed_over(_LOG, "the answer to the restart command", TransportError, GuestHung, level=logging.DEBUG):
            transport.run("shutdown /r /t 0 /f", timeout=_COMMAND_S)
        with passed_over(_LOG, "closing the connection to a guest that restarts", TransportError, GuestHung):
            transport.close()
        try:
            event = machine.qmp.wait_event(("RESET", "SHUTDOWN"), timeout=max(1.0, deadline - clock()), after=seen)
        except TransportError as error:
            raise GuestError(
                f"the guest did not restart within {timeout:g} s after `shutdown /r`: QEMU reported no reset ({error.message})",
                hint="`lab up` boots such a guest for you to look at: does it wait for a program to end?",
            ) from error
        if event.name == "SHUTDOWN":
            raise GuestExited(f"the guest switched itself off instead of restarting: {dict(event.data)}")
        of_old = False
        while True:
            try:
                ready = wait_ready(
                    open_transport,
                    deadline=deadline,
                    alive=lambda: machine.alive,
                    confirmations=confirmations,
                    progress=progress,
                    console=machine.console_tail,
                    clock=clock,
                    sleep=sleep,
                )
            except BootTimeout:
                if of_old:
                    said = f"the guest still answers from the boot before its reset ({before}), after {timeout:g} s"
                    raise BootTimeout(said) from None
                raise
            try:
                if boot_id(ready) != before:
                    return ready
                of_old = True
            except (TransportError, GuestHung) as error:
                _LOG.info("the guest does not say yet which boot it is: %s", error.message)
            with passed_over(_LOG, "closing the connection to the old boot", TransportError, GuestHung):
                ready.close()
            sleep(_POLL_S)


@contextlib.contextmanager
def _resets_allowed(machine: Machine) -> Iterator[None]:
    """A reset of the guest does not end its VM inside of the ``with``: see :func:`lab.live.machine_spec.machine_spec`."""
    machine.qmp.execute("set-action", {"reboot": "reset"})
    try:
        yield
    finally:
        with passed_over(_LOG, "a reset ends the VM again", TransportError, GuestExited):
            machine.qmp.execute("set-action", {"reboot": machine.spec.actions.reboot})
