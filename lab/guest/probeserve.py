"""``drvprobe --serve``: scripts for one resident process, instead of a process for each.

A driver sees no difference: at the end of a script all handles are closed and nothing is pending. Scripts with a difference get
a process of their own, see :func:`needs_process`. A script that leaves requests pending ends the process, as it does otherwise.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
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
    return Question(
        data=f"run {token} {len(data)}\n".encode() + data,
        accepted=f"begin {token}\n".encode(),
        answered=lambda output: _end(output, token) is not None,
    )


@dataclass(frozen=True, slots=True)
class ServedScript:
    """The end of a script in the resident drvprobe.

    Attributes:
        result: As from a process of its own. Its exit code is 0 if the script ran to its end, else that of the process, which
            has ended.
        taken: The process had taken the whole script.
        ended_at: When the script had ended and its handles were closed, in the guest's seconds since its start; None: it did
            not end, or the process does not tell.
    """

    result: CommandResult
    taken: bool
    ended_at: float | None


def ask_probe(transport: Converses, exe: str, script: str, *, timeout: float, line: str) -> ServedScript:
    """Run a script in the resident drvprobe.

    Args:
        transport: How to reach the guest.
        exe: Windows path of ``drvprobe.exe``.
        script: In the form that the program reads.
        timeout: Seconds until the process is terminated and GuestHung raised.
        line: Its name in messages.

    Raises:
        TransportError: The guest does not answer.
        GuestHung: The script did not end in time.
    """
    token = secrets.token_hex(8)
    answer = transport.ask(standing_probe(exe), framed(script, token), timeout=timeout, line=line)
    end = _end(answer.stdout, token)
    result = CommandResult(
        command=line,
        exit_code=answer.exit_code or 0,
        stdout=answer.stdout if end is None else answer.stdout[: -len(end[0])],
        stderr=answer.stderr,
        duration_s=answer.duration_s,
    )
    return ServedScript(result, answer.accepted, None if end is None or not end["time"] else int(end["time"]) / 1e6)


def _end(output: bytes, token: str) -> re.Match[bytes] | None:
    """The last line of an output, if it ends the script."""
    last = output[output.rfind(b"\n", 0, -1) + 1 :]
    return re.fullmatch(rb"end %s(?: (?P<time>\d{1,18}))?\n" % token.encode(), last)
