"""Waits until a guest is ready: it has answered an authenticated command. An open port proves nothing.

QEMU's forwarded port accepts connections before the guest has a network, WinRM answers before accounts are usable, and both may
go away once more when Windows finishes its first boot.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable

from lab.errors import BootTimeout, GuestExited, GuestHung, TransportError
from lab.guest.protocol import Transport
from lab.host.passed import passed_over

_LOG = logging.getLogger(__name__)

_FILE_NOT_FOUND = 2


def wait_ready(
    open_transport: Callable[[], Transport],
    *,
    deadline: float,
    alive: Callable[[], bool],
    confirmations: int = 1,
    gap_s: float = 5,
    poll_s: float = 0.25,
    attempt_s: float = 30,
    labfile: str = "",
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[str], None] = lambda _text: None,
    console: Callable[[], str] = lambda: "",
) -> Transport:
    """Wait until the guest answers an authenticated command.

    Args:
        open_transport: Makes a fresh transport; called again after every failure.
        deadline: Value of ``clock`` at which the wait ends.
        alive: False once the VM has ended.
        confirmations: Answers in a row that count as ready. Windows takes 2: its service may restart at the end of a boot.
        gap_s: Seconds between two confirmations.
        poll_s: Seconds between two tries.
        attempt_s: Longest time for one try.
        labfile: Windows path of ``labfile.exe``, where the guest is known to have it: asked directly, it answers in half the
            time of a cmd process. Empty: cmd's echo is asked.
        clock: Monotonic seconds.
        sleep: Sleeps for some seconds.
        progress: Gets each new reason for waiting, once, and a line when the guest is ready.
        console: The guest's last console lines, for the error.

    Returns:
        The transport that got the answer; it is open.

    Raises:
        GuestExited: The VM ended.
        BootTimeout: No answer before the deadline; the message has the last error and the console.
    """
    started = clock()
    transport: Transport | None = None
    answers = 0
    last = "it was not tried"
    seen: set[str] = set()
    while True:
        left = deadline - clock()
        if not alive():
            _let_go(transport)
            raise GuestExited(_with_console(f"the guest ended after {clock() - started:.1f} s; last try: {last}", console))
        if left <= 0:
            _let_go(transport)
            raise BootTimeout(
                _with_console(f"the guest answered no command within {clock() - started:.0f} s; last try: {last}", console),
                hint="the console log shows how far it got; a slow host needs a larger boot_timeout_s",
            )
        transport = transport or open_transport()
        reason = _ask(transport, min(attempt_s, max(1.0, left)), labfile)
        if not reason:
            answers += 1
            if answers >= confirmations:
                progress(f"ready after {clock() - started:.1f} s")
                return transport
            sleep(min(gap_s, max(0.0, deadline - clock())))
            continue
        answers = 0
        _let_go(transport)
        transport = None
        if reason not in seen:
            progress(reason)
        seen.add(reason)
        last = reason
        sleep(min(poll_s, max(0.0, deadline - clock())))


def _ask(transport: Transport, timeout: float, labfile: str) -> str:
    """Send one command whose answer cannot be guessed; returns why it failed, or an empty string."""
    token = secrets.token_hex(8)
    try:
        if labfile:
            # It answers that there is no such file, and names it.
            result = transport.run([labfile, "sum", f"C:\\{token}"], timeout=timeout, shell=False)
            good = result.exit_code == _FILE_NOT_FOUND and f"{token}: " in result.error_text
        else:
            result = transport.run(f"echo {token}", timeout=timeout)
            good = result.exit_code == 0 and result.text.strip() == token
    except (TransportError, GuestHung) as problem:
        return problem.message
    return (
        "" if good else f"the first command was answered by {result.exit_code} and {(result.text + result.error_text)[:200]!r}"
    )


def _let_go(transport: Transport | None) -> None:
    if transport is not None:
        with passed_over(_LOG, "closing a connection that did not answer", TransportError, GuestHung):
            transport.close()


def _with_console(text: str, console: Callable[[], str]) -> str:
    lines = console().strip().splitlines()[-15:]
    return text + ("; its last console lines:\n" + "\n".join("    " + line for line in lines) if lines else "")
