"""The part of pywinrm that the lab uses, and how its protocol object is made."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from pydantic import SecretStr
from winrm.protocol import Protocol as PywinrmProtocol

from lab.guest.secret import without_frames
from lab.guest.winrm.channel import ENDPOINT, channel_transport

#: Bytes of input per Send. As base64 in an envelope it stays below 150 KB, the smallest limit of any WinRM.
SEND_CHUNK = 96 * 1024


class ShellProtocol(Protocol):
    """The part of pywinrm's ``Protocol`` that is used here; tests put a fake in its place."""

    operation_timeout_sec: int
    transport: Any

    def open_shell(self, *, codepage: int) -> str:
        """Create a shell and return its id."""

    def run_command(
        self,
        shell_id: str,
        command: str,
        arguments: Sequence[str] = ...,
        console_mode_stdin: bool = ...,
        skip_cmd_shell: bool = ...,
    ) -> str:
        """Start a command and return its id."""

    def send_command_input(self, shell_id: str, command_id: str, stdin_input: bytes, end: bool = ...) -> None:
        """Send input."""

    def get_command_output_raw(self, shell_id: str, command_id: str) -> tuple[bytes, bytes, int, bool]:
        """Receive once: stdout, stderr, exit code, done."""

    def cleanup_command(self, shell_id: str, command_id: str) -> None:
        """Signal terminate."""

    def close_shell(self, shell_id: str, close_session: bool = ...) -> None:
        """Delete the shell."""


class Running:
    """A command in progress.

    Attributes:
        line: The command line, shortened, for messages.
        deadline: On the transport's clock.
        timeout: Seconds that it was given.
        command_id: The service's name for it; empty when it did not start.
        fed: All of its input was sent, including its end.
        stdout: Output so far.
        stderr: Error output so far.
        exit_code: Valid once it is done.
        done: It has ended.
    """

    __slots__ = ("command_id", "deadline", "done", "exit_code", "fed", "line", "stderr", "stdout", "timeout")

    def __init__(self, line: str, deadline: float, timeout: float) -> None:
        self.line = line if len(line) <= 200 else line[:200] + "…"
        self.deadline = deadline
        self.timeout = timeout
        self.command_id = ""
        self.fed = False
        self.stdout: list[bytes] = []
        self.stderr: list[bytes] = []
        self.exit_code = 0
        self.done = False


def make_protocol(endpoint: str, username: str, password: SecretStr) -> ShellProtocol:
    """Make an unconnected protocol object: NTLM, messages encrypted.

    Args:
        endpoint: URL of the service.
        username: Guest account.
        password: Its password.
    """
    return _make(endpoint, username, password, message_encryption="auto")


def make_channel_protocol(stream: Callable[[], socket.socket], username: str, password: SecretStr) -> ShellProtocol:
    """Make an unconnected protocol object over a private stream: see :mod:`lab.guest.winrm.channel`.

    Args:
        stream: Opens it.
        username: Guest account.
        password: Its password.
    """
    made = _make(ENDPOINT, username, password)
    made.transport = channel_transport(made.transport, stream)
    return made


def _make(endpoint: str, username: str, password: SecretStr, **settings: Any) -> ShellProtocol:
    # No proxy or certificates from the environment: the guest is on this host, and pywinrm warns about either.
    # For certificates, the documentation has the string "none", but only the value None turns them off.
    try:
        # The password is in no variable of this frame, because a traceback would show it.
        made = PywinrmProtocol(
            endpoint=endpoint,
            transport="ntlm",
            username=username,
            password=password.get_secret_value(),
            proxy=None,
            ca_trust_path=cast(Any, None),
            **settings,
        )
    except Exception as problem:
        raise without_frames(problem)  # noqa: B904 - the same error; a cause would be the error itself
    return cast(ShellProtocol, made)
