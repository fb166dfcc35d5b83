"""A transport over a Unix socket in the VM's folder: one line of JSON for each command, and one for its end."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from lab.errors import GuestHung, TransportError
from lab.guest import files
from lab.guest.protocol import CommandResult
from lab.guest.quoting import command_text
from lab.guest.transport_kind import GuestAccess


class ToyTransport:
    """See lab.guest.protocol.Transport."""

    name = "toy"  # as the entry point

    def __init__(self, path: Path, token: str, tools_dir: str) -> None:
        self._path, self._token, self._tools_dir = path, token, tools_dir

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        """Run a command; a connection of its own for each."""
        line = command_text(command, shell=shell)
        begin = time.monotonic()
        question = {"token": self._token, "command": line, "stdin": base64.b64encode(stdin).decode("ascii")}
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(timeout)
                connection.connect(str(self._path))
                connection.sendall(json.dumps(question).encode() + b"\n")
                answer = json.loads(connection.makefile("rb").readline())
            return CommandResult(
                command=line,
                exit_code=answer["exit_code"],
                stdout=base64.b64decode(answer["stdout"]),
                stderr=base64.b64decode(answer["stderr"]),
                duration_s=time.monotonic() - begin,
            )
        except TimeoutError:
            raise GuestHung(f"in the guest, `{line}` did not end within {timeout:g} s") from None
        except (OSError, ValueError, KeyError) as error:
            raise TransportError(f"{self._path}: no answer to `{line}`: {error}") from error

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        """Copy into the guest, by the guest's labfile.exe and the streams of a command."""
        files.put(self, source, target, tools_dir=self._tools_dir, timeout=timeout)

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        """Copy out of the guest, in the same way."""
        files.get(self, source, target, tools_dir=self._tools_dir, timeout=timeout)

    def close(self) -> None:
        """Nothing is open between two commands."""


class ToyKind:
    """See lab.guest.transport_kind.TransportKind."""

    title = "Toy"
    port = None
    files_by = "toy"

    def connect(self, access: GuestAccess) -> ToyTransport:
        """Make a transport; nothing is sent yet."""
        return ToyTransport(access.run_dir / "toy.sock", access.account.others.get("toy", ""), access.tools_dir)


TOY = ToyKind()
