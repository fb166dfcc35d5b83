"""A standing ``cmd``: commands that only read are sent to a cmd that runs already, instead of one new process each.

Starting a process is most of the cost of a small command (130 of 140 ms in an emulated guest; the requests take 10). A command
that runs this way must leave nothing for the next one, must not wait for input, and must do no harm if it runs twice: ``echo``,
``ver``, ``vol``, ``dir`` and ``type``, alone and without redirection. Every other command gets its own process, and so do these
if the standing cmd does not answer as expected.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Final, Protocol

from lab.errors import LabError
from lab.guest.protocol import CommandResult
from lab.guest.winrm.protocol import Running

#: Without echo, without the registry's autorun commands, and stays.
CMD: Final = r"C:\windows\system32\cmd.exe /Q /D /K"
#: After so many failures, no standing cmd is used in this guest.
_MOST_FAILURES: Final = 2
_READS: Final = re.compile(r"\s*(?:echo (?!\s*(?:on|off)?\s*$)|(?:ver|vol|dir|type)(?:[\s.\\]|$))", re.IGNORECASE)
# Characters that cmd interprets, line ends, and characters outside of ASCII: cmd reads a pipe in the console's code page.
_SPECIAL: Final = re.compile(r"[&|()<>^%!\x00-\x08\x0a-\x1f\x7f-\U0010ffff]")
# Help and long lists, which wait for a key, and the console as a file.
_WAITS: Final = re.compile(r"/\s*[?p]|(?:^|[\s\"=,;\\/.:])con(?:[\s\":.]|$)", re.IGNORECASE)
_LONGEST: Final = 2000


def fits(line: str) -> bool:
    """Whether a line may be sent to a standing cmd."""
    return (
        len(line) <= _LONGEST
        and _READS.match(line) is not None
        and _SPECIAL.search(line) is None
        and _WAITS.search(line) is None
        and line.count('"') % 2 == 0
    )


def framed(line: str, mark: str) -> bytes:
    """The line between marks: one before its output, one after it with its error level, one after its error stream.

    ``ver`` clears the error level, which ``echo`` leaves as it was. ``call`` reads its line again when the command has ended.
    """
    return f"ver>nul& echo {mark}b& {line}& call echo {mark}%^errorlevel%& echo {mark} 1>&2\r\n".encode("ascii")


def taken(stdout: bytes, stderr: bytes, mark: str) -> tuple[bytes, bytes, int] | None:
    """Output, error output and error level of a framed line; None as long as they are not complete.

    Text before the first mark, such as a prompt, is dropped.
    """
    name = re.escape(mark.encode("ascii"))
    begin = re.search(name + rb"b *\r?\n", stdout)
    end = re.search(name + rb"(-?\d{1,10}) *\r?\n", stdout)
    error_end = re.search(name + rb" *\r?\n", stderr)
    if begin is None or end is None or error_end is None:
        return None
    return stdout[begin.end() : end.start()], stderr[: error_end.start()], int(end.group(1))


class Conversation(Protocol):
    """The requests that a standing cmd needs from the transport."""

    def ready(self) -> None:
        """Have a connection and a shell; a new shell has no standing cmd."""

    def start(self, line: str, timeout: float) -> Running:
        """Start a program directly."""

    def send(self, run: Running, data: bytes) -> bool:
        """Send input; False if there was no room, or if the guest has lost the shell."""

    def receive(self, run: Running) -> None:
        """Wait for output or the end; terminates the command at its deadline."""


class StandingCmd:
    """The standing cmd in a transport's shell.

    Args:
        conversation: The transport's requests.
        clock: Monotonic seconds.
    """

    def __init__(self, conversation: Conversation, clock: Callable[[], float]) -> None:
        self._conversation = conversation
        self._clock = clock
        self._token = secrets.token_hex(6)
        self._command_id = ""
        self._asked = 0
        self._failures = 0

    def run(self, line: str, timeout: float) -> CommandResult | None:
        """Run a line; None when it must be run in a process of its own.

        Raises:
            TransportError: The guest does not answer.
            GuestHung: The line did not end in time.
        """
        if self._failures >= _MOST_FAILURES or not fits(line):
            return None
        self._asked += 1
        if self._asked == 1 and not self._command_id:  # for a single line, a standing cmd saves nothing
            return None
        started = self._clock()
        try:
            self._conversation.ready()
            if not self._command_id:
                self._command_id = self._conversation.start(CMD, timeout).command_id
            run = Running(line, started + timeout, timeout)
            run.command_id = self._command_id
            if not run.command_id:
                self._failures += 1
            answer = self._talk(run, line) if run.command_id else None
        except LabError:
            self.forget()
            raise
        if answer is None:
            self.forget()
            return None
        out, err, level = answer
        return CommandResult(
            command=line, exit_code=level & 0xFFFFFFFF, stdout=out, stderr=err, duration_s=self._clock() - started
        )

    @property
    def command_id(self) -> str:
        """The service's id of the cmd that waits for lines; empty as long as there is none."""
        return self._command_id

    def take(self, command_id: str) -> None:
        """Use a cmd that waits for lines already."""
        self._command_id = command_id

    def forget(self) -> None:
        """Forget the cmd: its shell is gone, or it does not answer as expected."""
        self._command_id = ""

    def _talk(self, run: Running, line: str) -> tuple[bytes, bytes, int] | None:
        mark = f"#{self._token}.{self._asked}:"
        if not self._conversation.send(run, framed(line, mark)):
            return None
        while not run.done:
            self._conversation.receive(run)
            if answer := taken(b"".join(run.stdout), b"".join(run.stderr), mark):
                return answer
        self._failures += 1
        return None
