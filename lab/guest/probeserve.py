"""``drvprobe --serve``: scripts for one process that stays, instead of a process for each.

To a driver, a script is the same: at its end all handles are closed and nothing is pending. What makes a difference has a
process of its own, see :func:`needs_process`. A script that leaves requests pending ends the process, as it always did.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from lab.guest.probelang import ScriptOperation
from lab.guest.protocol import CommandResult
from lab.guest.standing import Converses, Question, StandingProgram

_OPTION: Final = "--serve"


def needs_process(operations: Sequence[ScriptOperation]) -> bool:
    """Whether a script must have a process of its own: it ends that with ``exit``, or starts others (``$NAME``)."""
    return any(operation.verb == "exit" or operation.owner.startswith("$") for operation in operations)


def standing_probe(exe: str) -> StandingProgram:
    """The drvprobe at this Windows path, as a program that stays."""
    return StandingProgram(words=(exe, _OPTION), greet=lambda: framed("tick", secrets.token_hex(8)))


def framed(script: str, token: str) -> Question:
    """A script for a drvprobe that stays.

    Args:
        script: As the program reads it.
        token: A word that no earlier question had. Lines of a script's output begin with ``{``, so they are never taken for
            those in which it stands.
    """
    data = script.encode()
    end = _end(token)
    return Question(
        data=f"run {token} {len(data)}\n".encode() + data,
        accepted=f"begin {token}\n".encode(),
        answered=lambda output: output.endswith(b"\n" + end) or output == end,
    )


def ask_probe(transport: Converses, exe: str, script: str, *, timeout: float, line: str) -> CommandResult:
    """Run a script in the drvprobe that stays.

    Args:
        transport: How to reach the guest.
        exe: Windows path of ``drvprobe.exe``.
        script: As the program reads it.
        timeout: Seconds until the process is terminated and GuestHung raised.
        line: What messages call it.

    Returns:
        What a process of its own would have left: 0 as the exit code if the script ran to its end, else that of the process,
        which has ended.

    Raises:
        TransportError: The guest does not answer.
        GuestHung: The script did not end in time.
    """
    token = secrets.token_hex(8)
    answer = transport.ask(standing_probe(exe), framed(script, token), timeout=timeout, line=line)
    return CommandResult(
        command=line,
        exit_code=answer.exit_code or 0,
        stdout=answer.stdout.removesuffix(_end(token)),
        stderr=answer.stderr,
        duration_s=answer.duration_s,
    )


def _end(token: str) -> bytes:
    return f"end {token}\n".encode()
