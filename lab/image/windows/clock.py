"""The clock of a Windows guest that was resumed from a snapshot: it goes on from the moment of the snapshot until it is set.

Windows takes the time of day from the hardware when it boots, and otherwise from time servers, which the lab's guests do not
reach. ``w32tm /resync`` needs such a server, and ``date`` and ``time`` of cmd read their arguments by the guest's locale. So
the clock is set by ``Set-Date`` (Microsoft.PowerShell.Utility), whose argument is made from a number. As a PowerShell takes
most of a second to start, one is left in the guest before the snapshot (with ``-Command -`` it reads lines from its standard
input), and each fork asks that.

Name, SID and MAC address of all forks are equal. That does not matter, because each fork is alone in a network of its own: in
QEMU's user network all guests have the same address, whether they were booted or resumed. So a fork keeps its address, and its
lease is renewed only if its clock was moved so far that Windows might give the lease up.
"""

from __future__ import annotations

import base64
import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Final

from lab.errors import CommandFailed, GuestHung, TransportError
from lab.guest.protocol import Transport
from lab.guest.standing import Converses, Question, StandingProgram
from lab.host.passed import passed_over

_LOG = logging.getLogger(__name__)

_POWERSHELL = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe"
_PLAIN: Final = ("-NoLogo", "-NoProfile", "-NonInteractive")
#: Half of the lease that QEMU's user network gives (24 h, LEASE_TIME in libslirp's bootp.c): a client renews it then (RFC 2131,
#: 4.4.5). Windows keeps the end of its lease as a time of day.
RENEW_AFTER_S = 12 * 3600.0
_RENEW: Final = (r"C:\Windows\System32\ipconfig.exe", "/renew")
_RENEW_S = 60.0
#: Seconds by which the guest's answer may lie outside of the time in which it was asked.
_TOLERANCE_S = 2.0
#: Seconds after which an answer counts as late.
_SLOW_S = 0.3
_POLL_S = 0.25
_TICKS = 10_000_000
#: Seconds from the first day of .NET's ticks to the epoch.
_EPOCH_S = 62_135_596_800


def _question(script: str, token: str) -> Question:
    # Two empty lines: PowerShell runs a statement that it reads from its standard input when it knows that nothing follows.
    return Question(data=script.encode("ascii") + b"\r\n\r\n\r\n", answered=lambda output: _answer(output, token) is not None)


def _greeting() -> Question:
    token = secrets.token_hex(8)
    return _question(f"'lab-clock {token} ok 0 0'", token)


#: The program that sets the clock, and that stays in the guest.
CLOCK_PROGRAM: Final = StandingProgram(words=(_POWERSHELL, *_PLAIN, "-Command", "-"), greet=_greeting)


def set_clock(
    transport: Transport,
    *,
    timeout: float,
    wall: Callable[[], float] = time.time,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Set a guest's clock to that of the host; the guest answers commands when this returns.

    If that moves it so far that its network may be set up anew, the lease is renewed, and the connection may be a new one.

    Args:
        transport: A connection to the guest, with administrative rights.
        timeout: Seconds for all of it.
        wall: The host's wall clock in seconds.
        clock: Monotonic clock in seconds.
        sleep: Sleeps for some seconds.

    Returns:
        Seconds by which it was set forward; negative if it was set back.

    Raises:
        CommandFailed: Windows refused it, or has no PowerShell; with its message.
        TransportError: The guest does not answer, or its clock is wrong afterwards.
        GuestHung: PowerShell did not answer in time.
    """
    deadline = clock() + timeout
    moved = _until_answered(transport, deadline, wall, clock, sleep)
    if not -RENEW_AFTER_S < moved < RENEW_AFTER_S:
        _renew(transport)
        _until_answered(transport, deadline, wall, clock, sleep)
    return moved


def _until_answered(
    transport: Transport,
    deadline: float,
    wall: Callable[[], float],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> float:
    """Set the clock, again while the guest does not answer: its network or a process may be gone for a moment."""
    moved = 0.0
    while True:
        begin = wall()
        try:
            moved += _set(transport, max(1.0, deadline - clock()), wall)
            if wall() - begin < _SLOW_S or not isinstance(transport, Converses):
                return moved
            # A PowerShell had to start, and the time that it got was old by then. Now there is one.
            return moved + _set(transport, max(1.0, deadline - clock()), wall)
        except TransportError as error:
            if clock() >= deadline:
                raise
            _LOG.info("%r: the clock is not set yet: %s", transport, error.message)
        sleep(_POLL_S)


def _set(transport: Transport, timeout: float, wall: Callable[[], float]) -> float:
    token = secrets.token_hex(8)
    before = wall()
    script = _script(round((before + _EPOCH_S) * _TICKS), token)
    if isinstance(transport, Converses):
        answer = transport.ask(CLOCK_PROGRAM, _question(script, token), timeout=timeout, line="powershell Set-Date")
        output, errors, ended = answer.stdout, answer.stderr, answer.exit_code
    else:
        word = base64.b64encode(script.encode("utf-16-le")).decode("ascii")
        result = transport.run([_POWERSHELL, *_PLAIN, "-EncodedCommand", word], timeout=timeout, shell=False)
        output, errors, ended = result.stdout, result.stderr, result.exit_code
    after = wall()
    found = _answer(output, token)
    if found is None:
        texts = (data.decode("utf-8", "backslashreplace") for data in (output, errors))
        raise CommandFailed("powershell.exe", ended or 0, *texts, hint="`--no-fork` boots every guest instead")
    if found["error"] is not None:
        raise CommandFailed(
            "Set-Date", 1, "", found["error"].decode("utf-8", "backslashreplace"), hint="`--no-fork` boots every guest instead"
        )
    was, now = (int(found[name]) / _TICKS - _EPOCH_S for name in ("was", "now"))
    if not before - _TOLERANCE_S <= now <= after + _TOLERANCE_S:
        raise TransportError(
            f"the guest's clock is {now - after:+.1f} s off the host's after it was set",
            hint="a service in the guest may set it, too; `--no-fork` boots every guest instead",
        )
    return now - was


def _script(ticks: int, token: str) -> str:
    """One line of PowerShell that sets the clock, and writes one line: what it was and what it is, in ticks; or why not."""
    moment = f"([DateTime]::new({ticks}, [DateTimeKind]::Utc)).ToLocalTime()"
    return (
        "$ProgressPreference = 'SilentlyContinue'; try { $was = [DateTime]::UtcNow.Ticks; "
        f"Set-Date -Date {moment} -ErrorAction Stop | Out-Null; "
        f"'lab-clock {token} ok {{0}} {{1}}' -f $was, [DateTime]::UtcNow.Ticks }} "
        f"catch {{ 'lab-clock {token} failed ' + ($_.Exception.Message -replace '\\s+', ' ') }}"
    )


def _answer(output: bytes, token: str) -> re.Match[bytes] | None:
    """The line that answers; at the beginning of a line, because a shell might repeat its input."""
    line = rb"(?m)^lab-clock " + token.encode("ascii") + rb" (?:ok (?P<was>\d+) (?P<now>\d+)|failed (?P<error>.*?))\r?\n"
    return re.search(line, output)


def _renew(transport: Transport) -> None:
    """Have Windows renew its lease now, not at a moment of its own in the middle of a test."""
    # The answer may be lost with the connection. Whether the network works shows in the next command.
    with passed_over(_LOG, f"{transport!r}: ipconfig /renew", TransportError, GuestHung, CommandFailed):
        transport.run(list(_RENEW), timeout=_RENEW_S, shell=False).check()
