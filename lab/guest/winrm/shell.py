"""A connection to a guest's WinRM with one shell: sends requests, and reconnects where that is safe.

A command that may have been started and must not run twice is never sent again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from winrm.exceptions import WinRMOperationTimeoutError, WSManFaultError

from lab.errors import GuestHung, LabError, TransportError
from lab.guest import quoting
from lab.guest.secret import without_frames
from lab.guest.winrm.errors import Refused, fault_text, problem_text
from lab.guest.winrm.protocol import Running, ShellProtocol
from lab.host.passed import passed_over

_LOG = logging.getLogger(__name__)

#: UTF-8: output in the console's code page arrives as UTF-8.
CODEPAGE = 65001
#: Finished commands stay in the shell until it is deleted, and WinRM limits their number per user (1500 by default). A new
#: shell now and then costs two requests; the usual Signal costs one request per command.
COMMANDS_PER_SHELL = 100
#: Seconds that one Send may wait in the guest for a program that does not read.
_SEND_S = 2


class WinRmShell:
    """One shell, opened when it is first needed, and again when it is lost. Use it from one thread at a time.

    Args:
        connect: Makes an unconnected protocol object; called again after a broken connection.
        where: The guest's address for messages.
        channel: Makes the protocol object that is used first; None: there is only ``connect``.
        grace_s: Seconds that an answer may be late.
        operation_s: Longest time that one request may wait in the guest.
        keepalive_s: A connection that was idle for longer is not used again: it may be closed, and the library would encrypt
            with the keys of the old connection.
        on_lost: Called when a shell is given up, with everything that ran in it.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        connect: Callable[[], ShellProtocol],
        where: str,
        *,
        channel: Callable[[], ShellProtocol] | None = None,
        grace_s: float = 30,
        operation_s: int = 20,
        keepalive_s: float = 60,
        on_lost: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.where = where
        self._connect = connect
        self._channel = channel
        self._on_channel = False
        self._grace_s = grace_s
        self._operation_s = operation_s
        self._keepalive_s = keepalive_s
        self._on_lost = on_lost
        self._clock = clock
        self._protocol: ShellProtocol | None = None
        self._shell: str | None = None
        self._commands = 0
        self._last_answer = 0.0

    @property
    def shell_id(self) -> str:
        """The service's id of the shell; empty as long as there is none."""
        return self._shell or ""

    @property
    def on_channel(self) -> bool:
        """Whether the connection is the guest's channel; False before the first connection."""
        return self._on_channel

    def take(self, shell_id: str) -> None:
        """Use a shell that was left in the guest."""
        if self._protocol is None:
            self._protocol = self._reach()
        self._shell, self._commands = shell_id, 1
        self._last_answer = self._clock()

    def close(self) -> None:
        """Delete the shell, if the guest still answers, and close the connection. Idempotent."""
        protocol, shell = self._protocol, self._shell
        self._protocol = self._shell = None
        self._on_lost()
        if protocol is None:
            return
        # The guest may have ended; then there is nothing to delete.
        with passed_over(_LOG, "closing a WinRM shell", Exception):
            if shell is not None:
                self._limit(protocol, 2, grace=2)
                protocol.close_shell(shell, close_session=False)
        with passed_over(_LOG, "closing a WinRM session", Exception):
            protocol.transport.close_session()

    def drop(self, *, forget_shell: bool = False) -> None:
        """Close the connection; the shell stays in the guest and is found again by its id."""
        protocol, self._protocol = self._protocol, None
        if forget_shell:
            self._shell = None
            self._on_lost()
        if protocol is not None:
            with passed_over(_LOG, "closing a WinRM session", Exception):
                protocol.transport.close_session()

    def ready(self) -> tuple[ShellProtocol, str]:
        """A connection and a shell, new ones where needed."""
        idle = self._clock() - self._last_answer > self._keepalive_s
        if self._protocol is not None and idle and not self._on_channel:
            self.drop()
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
                self.drop()
                raise refused.as_error() from refused.__cause__
            self._commands = 0
        return self._protocol, self._shell

    def start(self, run: Running, line: str, *, shell: bool) -> str:
        """Send Command; a second time if the first try certainly started nothing.

        Args:
            run: Gets the result of a program that cannot be started: the Windows error is its exit code.
            line: The command line.
            shell: It is one for cmd.

        Returns:
            The service's id of the command; empty if it was not started.

        Raises:
            TransportError: The guest does not answer, or refuses.
        """
        for last_try in (False, True):
            protocol, shell_id = self.ready()
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
                self.recover(refused)
                continue
            self._commands += 1
            return started
        raise AssertionError("unreachable")

    def recover(self, refused: Refused) -> None:
        """Get rid of what a harmless refusal says is lost, so that the next request gets a new one."""
        if refused.shell_gone:
            self._drop_shell()
        else:
            self.drop()

    def send(self, run: Running, data: bytes, *, end: bool, repeatable: bool = False) -> bool:
        """Send input; False if the guest had no room for it in time and accepted none of it.

        Raises:
            Refused: The shell, the command or the login is lost, and the guest took nothing; only if it is ``repeatable``.
            TransportError: The guest does not answer.
            GuestHung: The deadline has come; the command was terminated.
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
                raise
            # A program that ended without reading its input is no error of the transport: Receive returns its exit code.
            if not refused.is_fault or refused.shell_gone:
                raise refused.as_error() from refused.__cause__
        return True

    def receive(self, run: Running, longest: int | None = None) -> None:
        """Send one Receive: collect output, or close the input, or give up at the deadline.

        Args:
            run: The command.
            longest: Seconds that it may wait in the guest; the longest time of one request when None.

        Raises:
            GuestHung: The deadline has come; the command was terminated.
            TransportError: The guest does not answer, or the shell is gone.
        """
        left = run.deadline - self._clock()
        if left <= 0:
            raise self._hung(run)
        protocol, shell_id = self._open()
        self._limit(protocol, max(1, min(self._operation_s if longest is None else longest, round(left))))
        try:
            with self._words(f"reading the output of `{run.line}`"):
                out, err, code, done = protocol.get_command_output_raw(shell_id, run.command_id)
        except WinRMOperationTimeoutError:
            if not run.fed:
                run.fed = self.send(run, b"", end=True)
            return
        except Refused as refused:
            raise refused.as_error() from refused.__cause__
        run.stdout.append(out)
        run.stderr.append(err)
        run.exit_code, run.done = code, done

    def _not_started(self, run: Running, refused: Refused) -> str:
        """A program that does not start gives a result as in cmd: its exit code is the Windows error."""
        run.exit_code, run.done, run.fed = refused.win32 or 0, True, True
        run.stderr.append(str(refused).encode())
        return ""

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
            self.drop(forget_shell=True)
        said = (b"".join(run.stdout) + b"".join(run.stderr)).decode("utf-8", "backslashreplace").strip()[-800:]
        return GuestHung(
            f"in the guest, `{run.line}` did not end within {run.timeout:g} s; {terminated}; "
            + (f"it had written: {said}" if said else "it had written nothing"),
            hint="a pended request that is never completed keeps its client waiting; see the kernel prints",
        )

    def _reach(self) -> ShellProtocol:
        """Make a new connection: over the channel if there is one that has not failed yet."""
        channel, self._channel = self._channel, None
        self._on_channel = channel is not None
        return channel() if channel is not None else self._connect()

    def _open(self) -> tuple[ShellProtocol, str]:
        if self._protocol is None or self._shell is None:
            raise TransportError(f"{self.where}: the connection was closed while a command was running")
        return self._protocol, self._shell

    def _limit(self, protocol: ShellProtocol, operation_s: int, *, grace: float | None = None) -> None:
        """Set the waiting time in the guest and, beyond it, that of the socket."""
        protocol.operation_timeout_sec = operation_s
        protocol.transport.read_timeout_sec = operation_s + (self._grace_s if grace is None else grace)

    def _drop_shell(self) -> None:
        """Delete the shell, even if the guest does not know it any more."""
        protocol, shell = self._protocol, self._shell
        self._shell = None
        self._on_lost()
        if protocol is not None and shell is not None:
            with passed_over(_LOG, "closing a WinRM shell; if it is already closed, this gives a fault", Exception):
                self._limit(protocol, 5)
                protocol.close_shell(shell, close_session=False)

    @contextmanager
    def _words(self, doing: str) -> Iterator[None]:
        """Translate all exceptions of the libraries into :class:`Refused`, except operation timeouts."""
        try:
            yield
        except (WinRMOperationTimeoutError, LabError):
            self._last_answer = self._clock()
            raise
        except WSManFaultError as fault:
            self._last_answer = self._clock()
            raise Refused(f"{self.where}: {doing}: {fault_text(fault)}", fault=fault) from without_frames(fault)
        except Exception as problem:  # exceptions of requests, urllib3, spnego, pywinrm and XML are not raised any further
            self.drop()
            raise Refused(f"{self.where}: {doing}: {problem_text(problem)}", problem=problem) from without_frames(problem)
        else:
            self._last_answer = self._clock()
