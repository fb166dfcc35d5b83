"""Statements about forks of a Windows guest: that it resumes at all, its clock, its network, and its random numbers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab.guest.protocol import CommandResult
from lab.image.windows.clock import set_clock
from lab.proofs.statement import Bench, Outcome, Statement, decided, not_reached
from lab.proofs.ways import EXAMPLE, Decided, InGuest, answer, in_guest

_COMMAND_S = 120.0
_DAYS_S = 3 * 24 * 3600.0
#: Far less than the clock is moved, far more than an answer takes.
_NEAR_S = 600.0
_FORK = "proof-fork"
_ADDRESS = "10.0.2.15"
_GUID = "powershell -NoProfile -Command [guid]::NewGuid().ToString()"
#: What `lab fork` ends with if guests of this image cannot be forked, or the command line is wrong.
_NOT_FORKED = (2, 10)


def _clock(bench: Bench) -> Outcome:
    """Set a guest's clock back by days, and forward again, as each fork's is."""
    transport = bench.guest()
    back = set_clock(transport, timeout=_COMMAND_S, wall=lambda: time.time() - _DAYS_S)
    forward = set_clock(transport, timeout=_COMMAND_S)
    holds = abs(back + _DAYS_S) < _NEAR_S and abs(forward - _DAYS_S) < _NEAR_S
    return decided(holds, f"the clock was moved by {back:+.0f} s, and then by {forward:+.0f} s")


def _address(bench: Bench) -> Outcome:
    moved = _clock(bench)
    result = bench.guest().run("ipconfig.exe", timeout=_COMMAND_S)
    return decided(moved.state == "proved" and _ADDRESS in result.text, f"{moved.said}; {answer(result)}")


@contextmanager
def _forked(bench: Bench) -> Iterator[CommandResult]:
    """A fork that is up meanwhile; the answer of the command that made it."""
    made = bench.lab("fork", _FORK, "--guest", bench.folder.name)
    try:
        yield made
    finally:
        if made.exit_code == 0:
            bench.lab("down", _FORK)


def _resumes(bench: Bench) -> Outcome:
    with _forked(bench) as made:
        if made.exit_code in _NOT_FORKED:
            return not_reached(answer(made))
        result = bench.lab("run-in-guest", _FORK, "--", "ver") if made.exit_code == 0 else made
        return decided(result.exit_code == 0 and "Windows" in result.text, answer(result))


def _random(bench: Bench) -> Outcome:
    """The first command of two forks of one template."""
    drawn = []
    for _ in range(2):
        with _forked(bench) as made:
            if made.exit_code:
                return not_reached(answer(made))
            drawn.append(bench.lab("run-in-guest", _FORK, "--", *_GUID.split()).check().text.strip())
    return decided(drawn[0] != drawn[1], " and ".join(drawn))


_BY_HAND = f"`lab fork {_FORK} --guest {EXAMPLE}`, then `lab run-in-guest {_FORK} -- "

STATEMENTS = (
    Statement(
        id="clock-of-a-fork",
        text="`Set-Date` in a PowerShell that reads lines (`-Command -`) sets the clock, by days in both directions, and the"
        " guest answers afterwards",
        proof=Decided(
            decide=_clock,
            by_hand=f"{in_guest('powershell Set-Date -Adjust -3.0:0')}, then {in_guest('powershell Set-Date -Adjust 3.0:0')}",
            needs="guest",
        ),
    ),
    Statement(
        id="address-of-a-fork",
        text="a guest keeps its address when its clock is moved beyond its lease and `ipconfig /renew` follows",
        proof=Decided(
            decide=_address,
            by_hand=f"the same commands, {in_guest('ipconfig /renew')}, and {in_guest('ipconfig')}: `{_ADDRESS}`",
            needs="guest",
        ),
    ),
    Statement(
        id="generation-id",
        text="Windows has a driver for QEMU's generation id (`vmgenid`), by which it reseeds its random numbers in a fork",
        proof=InGuest(command="pnputil /enum-devices /problem", never="QEMUVGID", exit_code=None, seen="no `ACPI\\QEMUVGID`"),
    ),
    Statement(
        id="forks-resume",
        text="a fork resumes: the processor with its flags, disk, firmware and network card continue, and WinRM takes a new"
        " login",
        proof=Decided(decide=_resumes, by_hand=f"{_BY_HAND}ver`: the version of Windows", needs="run"),
    ),
    Statement(
        id="forks-draw-other-numbers",
        text="the first command of two forks draws different random numbers",
        proof=Decided(decide=_random, by_hand=f"{_BY_HAND}{_GUID}` in two forks: two values", needs="run"),
    ),
)
