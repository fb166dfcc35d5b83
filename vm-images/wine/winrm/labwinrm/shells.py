"""Shells: what Create makes, commands live in, and Delete or idleness ends."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from labwinrm.faults import (
    INVALID_PARAMETER,
    SHELL_NOT_FOUND,
    TOO_MANY_COMMANDS,
    TOO_MANY_SHELLS,
    WsmanFault,
    start_failed,
)
from labwinrm.processes import Command, Launcher, StartError, StartRequest

#: Commands a shell holds at once, finished ones that the client has not signalled included. Windows allows 1500.
MAX_COMMANDS: Final = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellSettings:
    """What the client asked for when it created a shell.

    Attributes:
        owner: Account name.
        client: Address of the client.
        name: For people.
        working_directory: Windows form; may be empty.
        environment: Variables of every command.
        input_streams: Names, separated by blanks.
        output_streams: Names, separated by blanks.
        codepage: 0 when not asked for.
        no_profile: Kept to be reported; the guest has one profile.
        idle_timeout_s: Seconds without a request after which the shell closes.
        lifetime_s: Seconds after which it closes in any case; 0 means never.
    """

    owner: str
    client: str
    name: str = ""
    working_directory: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    input_streams: str = "stdin"
    output_streams: str = "stdout stderr"
    codepage: int = 0
    no_profile: bool = False
    idle_timeout_s: float = 7200.0
    lifetime_s: float = 0.0


class Shell:
    """One shell and its commands."""

    def __init__(
        self, identifier: str, settings: ShellSettings, launcher: Launcher, exit_grace_s: float, clock: Callable[[], float]
    ) -> None:
        self.identifier = identifier
        self.settings = settings
        self._launcher = launcher
        self._grace = exit_grace_s
        self._clock = clock
        self._lock = threading.Lock()
        self._commands: dict[str, Command] = {}
        self._closed = False
        self._busy = 0
        self.created = self._touched = clock()

    def __enter__(self) -> Shell:
        """Mark the shell as in use: a shell with a request at work is not idle."""
        with self._lock:
            self._busy += 1
        return self

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._busy -= 1
            self._touched = self._clock()

    @property
    def run_time_s(self) -> float:
        """Seconds since it was created."""
        return self._clock() - self.created

    @property
    def idle_s(self) -> float:
        """Seconds since the last request ended; 0 while one is at work."""
        with self._lock:
            return 0.0 if self._busy else self._clock() - self._touched

    @property
    def expired(self) -> bool:
        """Whether it has been idle, or has lived, for too long."""
        settings = self.settings
        return self.idle_s >= settings.idle_timeout_s or 0 < settings.lifetime_s <= self.run_time_s

    def start(self, request: StartRequest, identifier: str = "") -> Command:
        """Start a command in this shell.

        Args:
            request: What to start.
            identifier: CommandId that the client wants; made up when empty.

        Raises:
            WsmanFault: It does not start, the identifier is taken, or there are too many.
        """
        identifier = identifier.upper() or str(uuid.uuid4()).upper()
        with self._lock:
            if self._closed:
                raise _no_shell(self.identifier)
            if identifier in self._commands:
                raise WsmanFault(INVALID_PARAMETER, f"A command {identifier} exists already.")
            if len(self._commands) >= MAX_COMMANDS:
                raise WsmanFault(TOO_MANY_COMMANDS)
        try:
            process = self._launcher.start(request)
        except StartError as error:
            raise WsmanFault(start_failed(error.error, str(error))) from error
        command = Command(identifier, process, self._grace)
        with self._lock:
            if not self._closed and identifier not in self._commands:
                self._commands[identifier] = command
                return command
        command.close()
        raise _no_shell(self.identifier)

    def command(self, identifier: str) -> Command:
        """Find a command.

        Raises:
            WsmanFault: There is none of that identifier.
        """
        with self._lock:
            found = self._commands.get(identifier.upper())
        if found is None:
            raise WsmanFault(
                SHELL_NOT_FOUND,
                f"The shell has no command {identifier}: it was terminated, or never started here.",
            )
        return found

    def end_command(self, identifier: str) -> None:
        """Terminate a command and forget it."""
        command = self.command(identifier)
        with self._lock:
            self._commands.pop(command.identifier, None)
        command.close()

    def close(self) -> None:
        """End every command; safe to call twice."""
        with self._lock:
            self._closed = True
            commands = list(self._commands.values())
            self._commands.clear()
        for command in commands:
            command.close()
        self._launcher.end_shell(self.identifier)


class ShellTable:
    """All shells of the service.

    Args:
        launcher: Starts their commands.
        max_shells: Shells at once.
        exit_grace_s: See :class:`~labwinrm.processes.Command`.
        clock: Monotonic seconds.
    """

    def __init__(
        self, launcher: Launcher, *, max_shells: int, exit_grace_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._launcher = launcher
        self._max = max_shells
        self._grace = exit_grace_s
        self._clock = clock
        self._lock = threading.Lock()
        self._shells: dict[str, Shell] = {}

    def create(self, settings: ShellSettings, identifier: str = "") -> Shell:
        """Open a shell.

        Args:
            settings: What it is like.
            identifier: ShellId that the client wants; made up when empty.

        Raises:
            WsmanFault: The identifier is taken or malformed, or there are too many shells.
        """
        try:
            identifier = str(uuid.UUID(identifier) if identifier else uuid.uuid4()).upper()
        except ValueError:
            raise WsmanFault(INVALID_PARAMETER, f"ShellId {identifier[:60]!r} is not a UUID.") from None
        self.reap()
        with self._lock:
            if identifier in self._shells:
                raise WsmanFault(INVALID_PARAMETER, f"A shell {identifier} exists already.")
            if len(self._shells) >= self._max:
                raise WsmanFault(TOO_MANY_SHELLS, f"{self._max} shells are open; delete one first.")
            shell = Shell(identifier, settings, self._launcher, self._grace, self._clock)
            self._shells[identifier] = shell
        return shell

    def get(self, identifier: str) -> Shell:
        """Find a shell.

        Raises:
            WsmanFault: There is none of that identifier.
        """
        with self._lock:
            found = self._shells.get(identifier.upper())
        if found is None:
            raise _no_shell(identifier)
        return found

    def all(self) -> list[Shell]:
        """The open shells, oldest first."""
        with self._lock:
            return list(self._shells.values())

    def delete(self, identifier: str) -> None:
        """Close a shell and end its processes.

        Raises:
            WsmanFault: There is none of that identifier.
        """
        shell = self.get(identifier)
        with self._lock:
            self._shells.pop(shell.identifier, None)
        shell.close()

    def reap(self) -> int:
        """Close the shells whose time is up; returns how many."""
        with self._lock:
            expired = [shell for shell in self._shells.values() if shell.expired]
            for shell in expired:
                del self._shells[shell.identifier]
        for shell in expired:
            shell.close()
        return len(expired)

    def close(self) -> None:
        """Close all shells."""
        with self._lock:
            shells = list(self._shells.values())
            self._shells.clear()
        for shell in shells:
            shell.close()


def _no_shell(identifier: str) -> WsmanFault:
    return WsmanFault(
        SHELL_NOT_FOUND,
        f"The request for the shell with ShellId {identifier} failed because the shell was not found on the server: "
        "the ShellId is wrong, or the shell has been deleted or was idle for too long.",
    )
