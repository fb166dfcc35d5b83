"""The interface between the lab and a guest: what every transport can do, and the result of a command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from lab.errors import CommandFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """A finished guest command.

    Attributes:
        command: The command line that the guest got.
        exit_code: Windows exit code, 0..0xFFFFFFFF.
        stdout: Raw bytes of standard output.
        stderr: Raw bytes of standard error.
        duration_s: Host seconds from sending the command to its last byte.
    """

    command: str
    exit_code: int
    stdout: bytes
    stderr: bytes
    duration_s: float

    @property
    def text(self) -> str:
        """Standard output as UTF-8, undecodable bytes shown as escapes, line ends as newlines."""
        return self.stdout.decode("utf-8", "backslashreplace").replace("\r\n", "\n")

    @property
    def error_text(self) -> str:
        """Standard error, decoded like :attr:`text`."""
        return self.stderr.decode("utf-8", "backslashreplace").replace("\r\n", "\n")

    def check(self) -> CommandResult:
        """Return self, or raise :class:`~lab.errors.CommandFailed` when the exit code is not zero."""
        if self.exit_code:
            raise CommandFailed(self.command, self.exit_code, self.text, self.error_text)
        return self


class Transport(Protocol):
    """How commands and files reach a guest. One instance is used by one thread at a time.

    Every method raises :class:`~lab.errors.TransportError` when the guest does not answer or refuses the credentials,
    and :class:`~lab.errors.GuestHung` when a command is still running at its deadline (it is terminated first).
    """

    @property
    def name(self) -> str:
        """``winrm`` or ``ssh``."""

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        """Run a command in the guest and wait for its end.

        Args:
            command: A command line, or an argument list that is quoted by Windows' rules.
            timeout: Seconds until the command is terminated and :class:`~lab.errors.GuestHung` raised.
            stdin: Bytes for its standard input, then end of file.
            shell: Through ``cmd /c`` (True), or the program directly, which saves one guest process.
        """

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        r"""Copy a file, or a folder with all its content, into the guest and compare SHA-256 in the guest.

        Args:
            source: File or folder of the host.
            target: Windows path of the copy, including its name, for example ``C:\lab\sync.sys``; parents are created.
            timeout: Seconds for the whole copy.
        """

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        """Copy a file or folder out of the guest, SHA-256 compared; ``target`` must not exist yet."""

    def close(self) -> None:
        """Close the connection. Idempotent."""


@runtime_checkable
class Abandonable(Protocol):
    """A transport that can drop its connection without telling the guest."""

    def abandon(self) -> None:
        """Close the connection without sending anything. Idempotent."""


@runtime_checkable
class LearnsTime(Protocol):
    """A transport to a guest with a virtual clock, which wants to know when a program in it had done its work."""

    def answered(self, at: float) -> None:
        """The last answer was complete at this time: the guest's seconds since its start."""
