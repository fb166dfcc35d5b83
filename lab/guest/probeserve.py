"""``drvprobe --serve``: scripts for one resident process, instead of a process for each.

A driver sees no difference: at the end of a script all handles are closed and nothing is pending. Scripts with a difference get
a process of their own, see :func:`needs_process`. A script that leaves requests pending ends the process, as it does otherwise.
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
    """The drvprobe at this Windows path, as a resident program."""
    return StandingProgram(words=(exe, _OPTION), greet=lambda: framed("tick", secrets.token_hex(8)))


def framed(script: str, token: str) -> Question:
    """A script for a resident drvprobe.

    Args:
        script: In the form that the program reads.
        token: A word that no earlier question had. Lines of a script's output begin with ``{``, so they never look like the
            lines with this word.
    """
    data = script.encode()
    end = _end(token)
    return Question(
        data=f"run {token} {len(data)}\n".encode() + data,
        accepted=f"begin {token}\n".encode(),
        answered=lambda output: output.endswith(b"\n" + end) or output == end,
    )


def ask_probe(transport: Converses, exe: str, script: str, *, timeout: float, line: str) -> tuple[CommandResult, bool]:
    """Run a script in the resident drvprobe.

    Args:
        transport: How to reach the guest.
        exe: Windows path of ``drvprobe.exe``.
        script: In the form that the program reads.
        timeout: Seconds until the process is terminated and GuestHung raised.
        line: Its name in messages.

    Returns:
        The result as from a process of its own: exit code 0 if the script ran to its end, else that of the process, which has
        ended; and whether it had taken the script by then.

    Raises:
        TransportError: The guest does not answer.
        GuestHung: The script did not end in time.
    """
    token = secrets.token_hex(8)
    answer = transport.ask(standing_probe(exe), framed(script, token), timeout=timeout, line=line)
    result = CommandResult(
        command=line,
        exit_code=answer.exit_code or 0,
        stdout=answer.stdout.removesuffix(_end(token)),
        stderr=answer.stderr,
        duration_s=answer.duration_s,
    )
    return result, answer.accepted


def _end(token: str) -> bytes:
    return f"end {token}\n".encode()
