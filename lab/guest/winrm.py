"""Transport over WinRM: one long-lived shell, NTLM with message encryption, two requests per command.

pywinrm does the protocol. What this module adds: a shell that is kept, a cmd in it that is kept as well
(:mod:`lab.guest.winrm_kept`), deadlines, input in chunks, reconnecting where that is safe, and errors in the lab's words. A
command that may have been started, and that may not be repeated, is never sent a second time.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import SecretStr
from winrm.exceptions import WinRMOperationTimeoutError, WSManFaultError

from lab.errors import GuestHung, LabError, TransportError
from lab.guest import files, quoting
from lab.guest.protocol import CommandResult
from lab.guest.secret import without_frames
from lab.guest.winrm_errors import Refused, fault_text, problem_text
from lab.guest.winrm_kept import CMD, KeptCmd
from lab.guest.winrm_protocol import Running, ShellProtocol, make_channel_protocol, make_protocol

#: UTF-8: what a program writes in the console's code page arrives as UTF-8.
CODEPAGE = 65001
#: Bytes of input per Send. As base64 in an envelope it stays below 150 KB, the smallest limit of any WinRM.
SEND_CHUNK = 96 * 1024
#: Finished commands stay in the shell until it is deleted; WinRM counts them against the user (1500 by default). A new shell
#: every so often costs two requests, the usual Signal after each command one request per command.
COMMANDS_PER_SHELL = 100
#: Takes lines.
_INTERPRETER = CMD
#: Seconds that one Send may wait in the guest for a program that does not read.
_SEND_S = 2


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
        channel: Opens the guest's private stream, see :mod:`lab.guest.winrm_channel`. It is used until it breaks for the first
            time; from then on the port is.
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
    """A :class:`~lab.guest.protocol.Transport` over WinRM. Use it from one thread at a time.

    Args:
        connect: Makes an unconnected protocol object; called again after a broken connection.
        where: The guest's address for messages.
        channel: Makes the protocol object that is used first; None: there is only ``connect``.
        tools_dir: Guest folder that holds ``labfile.exe``.
        grace_s: Seconds that an answer may be late.
        operation_s: Longest time that one Receive may wait in the guest.
        input_end_s: When a command without input is still running after this time, its input is closed, so that a program
            that reads its input ends instead of hanging. Not at once, because that would cost every command a request.
        keepalive_s: A connection that was idle for longer is not trusted any more. It may be closed by then, and the library
            would encrypt with the keys of the old connection.
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
        self._connect = connect
        self._channel = channel
        self._on_channel = False
        self._where = where
        self._tools_dir = tools_dir
        self._grace_s = grace_s
        self._operation_s = operation_s
        self._input_end_s = input_end_s
        self._keepalive_s = keepalive_s
        self._clock = clock
        self._protocol: ShellProtocol | None = None
        self._shell: str | None = None
        self._commands = 0
        self._last_answer = 0.0
        self._kept = KeptCmd(_Kept(self), clock)

    def __repr__(self) -> str:
        return f"<{self._where}>"

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        """Run a command; see :meth:`lab.guest.protocol.Transport.run`."""
        line = quoting.command_text(command, shell=shell)
        if shell and not stdin and (done := self._kept.run(line, timeout)):
            return done
        started = self._clock()
        run = Running(line, started + timeout, timeout)
        run.command_id = self._start(run, line, shell)
        if not run.done:
            self._feed(run, stdin)
        while not run.done:
            self._receive(run, self._operation_s if run.fed else self._input_end_s)
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
        protocol, shell = self._protocol, self._shell
        self._protocol = self._shell = None
        self._kept.forget()
        if protocol is None:
            return
        with suppress(Exception):  # the guest may be gone already; there is nothing left to save
            if shell is not None:
                self._limit(protocol, 2, grace=2)
                protocol.close_shell(shell, close_session=False)
        with suppress(Exception):
            protocol.transport.close_session()

    def abandon(self) -> None:
        """Close the connection and forget the shell, for a guest that is ended anyway."""
        self._drop_connection(forget_shell=True)

    # -- frozen guests -------------------------------------------------------------------------------------------------

    def park(self, *, timeout: float) -> Mapping[str, str]:
        """Leave an open shell, and in it a cmd that waits for lines, in a guest that is about to be frozen.

        A fork's first question is put to that cmd: an answer takes an emulated guest 0.04 s instead of the 0.3 s that a new
        process takes. A TCP connection ends, because it could not be carried over; a channel stays as it is.

        Returns:
            What :meth:`resume` wants.

        Raises:
            TransportError: The guest does not answer.
            GuestHung: The cmd does not answer in time.
        """
        run = Running(_INTERPRETER, self._clock() + timeout, timeout)
        self._ready()
        run.command_id = self._kept.command_id or self._start(run, _INTERPRETER, False)
        self._converse(run)
        assert self._shell is not None
        state = {"shell": self._shell, "command": run.command_id}
        if not self._on_channel:
            self._drop_connection(forget_shell=True)
        return state

    @property
    def on_channel(self) -> bool:
        """Whether the connection is the guest's channel; that of a transport that has not connected yet is not."""
        return self._on_channel

    def resume(self, state: Mapping[str, str], *, timeout: float) -> None:
        """Connect to a woken guest, take up the shell that :meth:`park` left in it, and have its cmd answer a line.

        Raises:
            TransportError: The guest does not answer, or the shell is gone.
            GuestHung: The cmd does not answer in time.
        """
        if self._protocol is None:
            self._protocol = self._reach()
        self._shell, self._commands = state["shell"], 1
        self._last_answer = self._clock()
        run = Running(_INTERPRETER, self._clock() + timeout, timeout)
        run.command_id = state["command"]
        self._converse(run)
        self._kept.take(run.command_id)

    def _converse(self, run: Running) -> None:
        """Have a waiting cmd echo something that cannot be guessed."""
        token = secrets.token_hex(8)
        run.fed = True  # or _receive would end its input
        if not self._send(run, f"echo {token}\r\n".encode("ascii"), end=False):
            raise TransportError(f"{self._where}: the waiting cmd takes no input")
        while token.encode("ascii") not in b"".join(run.stdout):
            if run.done:
                raise TransportError(f"{self._where}: the waiting cmd has ended with {run.exit_code}")
            self._receive(run, self._operation_s)

    # -- one command ---------------------------------------------------------------------------------------------------

    def _start(self, run: Running, line: str, shell: bool) -> str:
        """Send Command; once more where the first try certainly started nothing."""
        for last_try in (False, True):
            protocol, shell_id = self._ready()
            self._limit(protocol, self._operation_s)
            program, rest = (line, "") if shell else quoting.split_program(line)
            try:
                with self._words(f"starting `{run.line}`"):
                    started = protocol.run_command(
                        shell_id, program, [rest] if rest else [], console_mode_stdin=False, skip_cmd_shell=not shell
                    )
            except Refused as refused:
                if refused.win32 is not None and not shell:
                    return self._not_started(run, refused)
                if last_try or not refused.harmless:
                    raise refused.as_error() from refused.__cause__
                if refused.shell_gone:
                    self._drop_shell()
                else:
                    self._drop_connection()
                continue
            self._commands += 1
            return started
        raise AssertionError("unreachable")

    def _not_started(self, run: Running, refused: Refused) -> str:
        """A program that does not start is a result like cmd's: its exit code is the Windows error."""
        run.exit_code, run.done, run.fed = refused.win32 or 0, True, True
        run.stderr.append(str(refused).encode())
        return ""

    def _ready(self) -> tuple[ShellProtocol, str]:
        """A connection and a shell, new ones where needed."""
        idle = self._clock() - self._last_answer > self._keepalive_s
        if self._protocol is not None and idle and not self._on_channel:
            self._drop_connection()
        if self._commands >= COMMANDS_PER_SHELL:
            self._drop_shell()
        if self._protocol is None:
            self._protocol = self._reach()
        if self._shell is None:
            self._limit(self._protocol, self._operation_s)
            try:
                with self._words("opening a shell"):
                    self._shell = self._protocol.open_shell(codepage=CODEPAGE)
            except Refused as refused:
                self._drop_connection()
                raise refused.as_error() from refused.__cause__
            self._commands = 0
        return self._protocol, self._shell

    def _feed(self, run: Running, stdin: bytes) -> None:
        """Send all input and its end; nothing at all when there is none (see ``input_end_s``)."""
        run.fed = bool(stdin)
        echoes = False
        for start in range(0, len(stdin), SEND_CHUNK):
            chunk = stdin[start : start + SEND_CHUNK]
            while not run.done and not self._send(run, chunk, end=start + len(chunk) == len(stdin)):
                # It does not read because nobody takes what it has written. It will go on like that.
                echoes = True
                self._receive(run, longest=1)
            if echoes and not run.done:
                self._receive(run, longest=1)

    def _send(self, run: Running, data: bytes, *, end: bool, repeatable: bool = False) -> bool:
        """Send input; False when the guest had no room for it in time and took nothing of it.

        False as well when the shell or the login is lost, if the command is ``repeatable``.
        """
        if self._clock() >= run.deadline:
            raise self._hung(run)
        protocol, shell_id = self._open()
        self._limit(protocol, _SEND_S)
        try:
            with self._words(f"sending input to `{run.line}`"):
                protocol.send_command_input(shell_id, run.command_id, data, end=end)
        except WinRMOperationTimeoutError:
            return False
        except Refused as refused:
            if repeatable and refused.harmless:
                return False
            # A program that ended without reading its input is no error of the transport: Receive tells its exit code.
            if not refused.is_fault or refused.shell_gone:
                raise refused.as_error() from refused.__cause__
        return True

    def _receive(self, run: Running, longest: int) -> None:
        """One Receive: collect what came, or close the input, or give up at the deadline."""
        left = run.deadline - self._clock()
        if left <= 0:
            raise self._hung(run)
        protocol, shell_id = self._open()
        self._limit(protocol, max(1, min(longest, round(left))))
        try:
            with self._words(f"reading the output of `{run.line}`"):
                out, err, code, done = protocol.get_command_output_raw(shell_id, run.command_id)
        except WinRMOperationTimeoutError:
            if not run.fed:
                run.fed = self._send(run, b"", end=True)
            return
        except Refused as refused:
            raise refused.as_error() from refused.__cause__
        run.stdout.append(out)
        run.stderr.append(err)
        run.exit_code, run.done = code, done

    def _hung(self, run: Running) -> GuestHung:
        """Terminate the command and make the error that says so."""
        terminated = "it was terminated"
        try:
            protocol, shell_id = self._open()
            self._limit(protocol, 5)
            with self._words("terminating"):
                protocol.cleanup_command(shell_id, run.command_id)
        except (LabError, Refused, WinRMOperationTimeoutError) as problem:
            terminated = f"terminating it failed too ({type(problem).__name__})"
            self._drop_connection(forget_shell=True)
        said = (b"".join(run.stdout) + b"".join(run.stderr)).decode("utf-8", "backslashreplace").strip()[-800:]
        return GuestHung(
            f"in the guest, `{run.line}` did not end within {run.timeout:g} s; {terminated}; "
            + (f"it had written: {said}" if said else "it had written nothing"),
            hint="a pended request that nobody completes keeps its client; look at the kernel prints",
        )

    # -- connection ----------------------------------------------------------------------------------------------------

    def _reach(self) -> ShellProtocol:
        """A new connection: by the channel, where there is one that has not failed yet."""
        channel, self._channel = self._channel, None
        self._on_channel = channel is not None
        return channel() if channel is not None else self._connect()

    def _open(self) -> tuple[ShellProtocol, str]:
        if self._protocol is None or self._shell is None:
            raise TransportError(f"{self._where}: the connection was closed while a command was running")
        return self._protocol, self._shell

    def _limit(self, protocol: ShellProtocol, operation_s: int, *, grace: float | None = None) -> None:
        """Set the waiting time in the guest and, beyond it, that of the socket."""
        protocol.operation_timeout_sec = operation_s
        protocol.transport.read_timeout_sec = operation_s + (self._grace_s if grace is None else grace)

    def _drop_shell(self) -> None:
        """Delete the shell, also one that the guest has forgotten."""
        protocol, shell = self._protocol, self._shell
        self._shell = None
        self._kept.forget()
        if protocol is not None and shell is not None:
            with suppress(Exception):  # a shell that is gone answers with a fault
                self._limit(protocol, 5)
                protocol.close_shell(shell, close_session=False)

    def _drop_connection(self, *, forget_shell: bool = False) -> None:
        """Close the connection; the shell lives on in the guest and is found again by its id."""
        protocol, self._protocol = self._protocol, None
        if forget_shell:
            self._shell = None
            self._kept.forget()
        if protocol is not None:
            with suppress(Exception):
                protocol.transport.close_session()

    @contextmanager
    def _words(self, doing: str) -> Iterator[None]:
        """Turn everything that the libraries raise into :class:`Refused`; operation time-outs pass."""
        try:
            yield
        except (WinRMOperationTimeoutError, LabError):
            self._last_answer = self._clock()
            raise
        except WSManFaultError as fault:
            self._last_answer = self._clock()
            raise Refused(f"{self._where}: {doing}: {fault_text(fault)}", fault=fault) from without_frames(fault)
        except Exception as problem:  # requests, urllib3, spnego, pywinrm, XML: their types end here
            self._drop_connection()
            raise Refused(f"{self._where}: {doing}: {problem_text(problem)}", problem=problem) from without_frames(problem)
        else:
            self._last_answer = self._clock()


class _Kept:
    """The requests of a kept command; a :class:`lab.guest.winrm_kept.Conversation`."""

    def __init__(self, transport: WinRmTransport) -> None:
        self._transport = transport

    def ready(self) -> None:
        self._transport._ready()

    def start(self, line: str, timeout: float) -> Running:
        run = Running(line, self._transport._clock() + timeout, timeout)
        run.command_id = self._transport._start(run, line, shell=False)
        return run

    def send(self, run: Running, data: bytes) -> bool:
        run.fed = True  # its input stays open
        return self._transport._send(run, data, end=False, repeatable=True)

    def receive(self, run: Running) -> None:
        self._transport._receive(run, self._transport._operation_s)
