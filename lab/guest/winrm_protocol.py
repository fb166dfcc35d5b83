"""The part of pywinrm that the lab uses, and how its protocol object is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

from pydantic import SecretStr
from winrm.protocol import Protocol as PywinrmProtocol

from lab.guest.secret import without_frames


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


def make_protocol(endpoint: str, username: str, password: SecretStr) -> ShellProtocol:
    """Make an unconnected protocol object: NTLM, messages encrypted.

    Args:
        endpoint: URL of the service.
        username: Guest account.
        password: Its password.
    """
    # Neither proxy nor certificates of the environment: the guest is on the loopback, and pywinrm warns about either.
    try:
        made = PywinrmProtocol(
            endpoint=endpoint,
            transport="ntlm",
            username=username,
            password=password.get_secret_value(),
            message_encryption="auto",
            proxy=None,
            ca_trust_path=cast(Any, None),  # documented as "none", annotated as a string
        )
    except Exception as problem:
        raise without_frames(problem)  # noqa: B904 - the same error; a cause would be the error itself
    return cast(ShellProtocol, made)
