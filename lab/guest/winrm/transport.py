"""Transport over WinRM: one long-lived shell, NTLM with message encryption, two requests per command.

pywinrm implements the protocol. The lab adds a shell that stays open, reconnects where that is safe, and clear errors
(:mod:`lab.guest.winrm.shell`); programs that stay in it (:mod:`lab.guest.winrm.standing`); deadlines; and input in chunks.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import SecretStr

from lab.errors import GuestHung, TransportError
from lab.guest import files, quoting
from lab.guest.protocol import CommandResult
from lab.guest.standing import Answer, Question, StandingProgram
from lab.guest.winrm.errors import ServiceFault
from lab.guest.winrm.protocol import SEND_CHUNK, Running, ShellProtocol, make_channel_protocol, make_protocol
from lab.guest.winrm.shell import WinRmShell
from lab.guest.winrm.standing import CMD, StandingPrograms, greet
from lab.host.passed import passed_over

_LOG = logging.getLogger(__name__)

#: In the state of a parked shell, before the path of a program that stays in it beside the first one.
_BESIDE = "beside "


def open_winrm(
    host: str,
    port: int,
    username: str,
    password: SecretStr,
    *,
    channel: Callable[[], socket.socket] | None = None,
    tools_dir: str = files.TOOLS_DIR,
    grace_s: float = 30,
    clock: Callable[[], float] = time.monotonic,
) -> WinRmTransport:
    """Make a transport for a guest's WinRM over HTTP (NTLM, messages encrypted). Nothing is sent before the first command.

    Args:
        host: Address of the forwarded port, usually 127.0.0.1.
        port: The port on the host.
        username: Guest account.
        password: Its password; never part of a message or a repr.
        channel: Opens the guest's private stream, see :mod:`lab.guest.winrm.channel`. It is used until it breaks for the first
            time; then the port is used.
        tools_dir: Guest folder that holds ``labfile.exe``.
        grace_s: Seconds that an answer may be late before the guest counts as not answering.
        clock: Monotonic seconds.
    """
    return WinRmTransport(
        lambda: make_protocol(f"http://{host}:{port}/wsman", username, password),
        f"WinRM on {host}:{port} as {username}",
        channel=None if channel is None else lambda: make_channel_protocol(channel, username, password),
        tools_dir=tools_dir,
        grace_s=grace_s,
        clock=clock,
    )


class WinRmTransport:
    """A :class:`~lab.guest.protocol.Transport` over WinRM that also :class:`~lab.guest.standing.Converses`.

    Use it from one thread at a time.

    Args:
        connect: Makes an unconnected protocol object; called again after a broken connection.
        where: The guest's address for messages.
        channel: Makes the protocol object that is used first; None: there is only ``connect``.
        tools_dir: Guest folder that holds ``labfile.exe``.
        grace_s: Seconds that an answer may be late.
        operation_s: Longest time that one Receive may wait in the guest.
        input_end_s: When a command without input is still running after this time, its input is closed, so that a program
            that reads its input ends instead of hanging. Not at once, because that would cost a request for every command.
        keepalive_s: A connection that was idle for longer is not used again: it may be closed, and the library would encrypt
            with the keys of the old connection.
        clock: Monotonic seconds.
    """

    name = "winrm"

    def __init__(
        self,
        connect: Callable[[], ShellProtocol],
        where: str,
        *,
        channel: Callable[[], ShellProtocol] | None = None,
        tools_dir: str = files.TOOLS_DIR,
        grace_s: float = 30,
        operation_s: int = 20,
        input_end_s: int = 5,
        keepalive_s: float = 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._where = where
        self._tools_dir = tools_dir
        self._input_end_s = input_end_s
        self._clock = clock
        self._shell = WinRmShell(
            connect,
            where,
            channel=channel,
            grace_s=grace_s,
            operation_s=operation_s,
            keepalive_s=keepalive_s,
            on_lost=lambda: self._standing.forget(),
            clock=clock,
        )
        self._standing = StandingPrograms(self._shell, clock)

    def __repr__(self) -> str:
        return f"<{self._where}>"

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        """Run a command; see :meth:`lab.guest.protocol.Transport.run`."""
        line = quoting.command_text(command, shell=shell)
        started = self._clock()
        run = Running(line, started + timeout, timeout)
        run.command_id = self._shell.start(run, line, shell=shell)
        if not run.done:
            self._feed(run, stdin)
        while not run.done:
            self._shell.receive(run, longest=None if run.fed else self._input_end_s)
        return CommandResult(
            command=line,
            exit_code=run.exit_code & 0xFFFFFFFF,
            stdout=b"".join(run.stdout),
            stderr=b"".join(run.stderr),
            duration_s=self._clock() - started,
        )

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        """Copy into the guest; see :meth:`lab.guest.protocol.Transport.put`."""
        files.put(self, source, target, tools_dir=self._tools_dir, timeout=timeout)

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        """Copy out of the guest; see :meth:`lab.guest.protocol.Transport.get`."""
        files.get(self, source, target, tools_dir=self._tools_dir, timeout=timeout)

    def close(self) -> None:
        """Delete the shell, if the guest still answers, and close the connection."""
        self._shell.close()

    def abandon(self) -> None:
        """Close the connection and forget the shell, for a guest that is about to be ended."""
        self._shell.drop(forget_shell=True)

    def ask(self, program: StandingProgram, question: Question, *, timeout: float, line: str = "") -> Answer:
        """See :meth:`lab.guest.standing.Converses.ask`."""
        return self._standing.ask(program, question, timeout=timeout, line=line)

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def park(
        self, program: StandingProgram | None = None, *, beside: Sequence[StandingProgram] = (), timeout: float
    ) -> Mapping[str, str]:
        """Leave an open shell with a process that answers questions in a guest, before its snapshot.

        That process answers a fork's first question, in 0.04 s in an emulated guest; a new process takes 0.15 s or more. A TCP
        connection is closed, because it cannot survive a snapshot; a channel stays open.

        Args:
            program: The program whose process it is, of use to forks; a cmd if None.
            beside: More programs. Forks start one themselves if its process does not answer here.
            timeout: Seconds until each must have answered.

        Returns:
            The state for :meth:`resume`.

        Raises:
            TransportError: The guest does not answer.
            GuestHung: The process does not answer in time.
        """
        stays = program or CMD
        others = {}
        for other in beside:
            with passed_over(_LOG, f"{self._where}: no {other.words[0]} is left in the guest", TransportError, GuestHung):
                greet(self._standing, other, where=self._where, timeout=timeout)
                others[_BESIDE + other.words[0]] = self._standing.command_id(other)
        shell = self._shell.shell_id
        greet(self._standing, stays, where=self._where, timeout=timeout)
        state = {
            "shell": self._shell.shell_id,
            "command": self._standing.command_id(stays),
            "program": stays.words[0],
            # In another shell than before, they are gone.
            **(others if self._shell.shell_id == shell else {}),
        }
        if not self._shell.on_channel:
            self._shell.drop(forget_shell=True)
        return state

    @property
    def on_channel(self) -> bool:
        """Whether the connection is the guest's channel; False before the first connection."""
        return self._shell.on_channel

    def resume(
        self,
        state: Mapping[str, str],
        program: StandingProgram | None = None,
        *,
        beside: Sequence[StandingProgram] = (),
        timeout: float,
    ) -> bool:
        """Connect to a resumed guest, use the shell that :meth:`park` left in it, and have its process answer.

        If the service has given up the shell or the process, for example because they were idle for too long by the guest's
        new clock, others take their place.

        Args:
            state: What :meth:`park` returned.
            program: What it was given.
            beside: What it was given.
            timeout: Seconds until the process must have answered.

        Returns:
            Whether shell and process were still there.

        Raises:
            TransportError: The guest does not answer.
            GuestHung: The process does not answer in time.
        """
        stays = program or CMD
        if state["program"] != stays.words[0]:
            raise TransportError(f"{self._where}: {state['program']} stands in the guest, and not {stays.words[0]}")
        self._shell.take(state["shell"])
        self._standing.take(stays, state["command"])
        for other in beside:
            if command := state.get(_BESIDE + other.words[0]):
                self._standing.take(other, command)
        try:
            greet(self._standing, stays, where=self._where, timeout=timeout)
        except ServiceFault as fault:
            _LOG.info("%s: the %s that was left in the guest: %s", self._where, stays.words[0], fault.message)
            greet(self._standing, stays, where=self._where, timeout=timeout)
        return self._standing.command_id(stays) == state["command"]

    # -- one command ---------------------------------------------------------------------------------------------------

    def _feed(self, run: Running, stdin: bytes) -> None:
        """Send all input and its end; nothing at all when there is none (see ``input_end_s``)."""
        run.fed = bool(stdin)
        echoes = False
        for start in range(0, len(stdin), SEND_CHUNK):
            chunk = stdin[start : start + SEND_CHUNK]
            while not run.done and not self._shell.send(run, chunk, end=start + len(chunk) == len(stdin)):
                # It does not read, because its output was not received.
                echoes = True
                self._shell.receive(run, longest=1)
            if echoes and not run.done:
                self._shell.receive(run, longest=1)
