"""Runs the collector as a process of its own, so that no print is lost if a test process crashes, hangs or is stopped."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from lab.errors import HostToolError
from lab.prints.kd.attach import Attachment, command
from lab.prints.kd.control import CollectorControl
from lab.prints.kd.stop_policy import StopPolicy

RECORDS_FILE = "kd.jsonl"
RAW_FILE = "kd.raw"
ERRORS_FILE = "kd.log"
CONTROL_SOCKET = "kd.ctl"
#: Packet ids at the snapshot of which the guest is a fork.
IDS_FILE = "kd.ids"


@dataclass(frozen=True, slots=True)
class CollectorProcess:
    """A running collector; it ends when its VM ends.

    Attributes:
        process: The process.
        folder: The folder with its files.
    """

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def records(self) -> Path:
        """The file that it appends records to, one JSON object a line."""
        return self.folder / RECORDS_FILE

    @property
    def command(self) -> list[str]:
        """Its argument list."""
        return [str(word) for word in cast(Sequence[str], self.process.args)]

    @property
    def control(self) -> CollectorControl:
        """Sends it requests: the state of its session, stop the target, let it run."""
        return CollectorControl(self.folder / CONTROL_SOCKET)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def last_words(self) -> str:
        """Its output on standard error, possibly empty."""
        try:
            return (self.folder / ERRORS_FILE).read_text(encoding="utf-8", errors="backslashreplace").strip()
        except OSError:
            return ""

    def leave(self) -> None:
        """Let it outlive this process, with a detached guest; it ends with its VM."""
        # Without an exit code, Popen warns at its end about a child that still runs.
        self.process.returncode = 0

    def close(self, timeout: float = 5.0) -> None:
        """Wait for it after its VM has ended; kill it if it does not end."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout)


def start_collector(
    socket: Path, folder: Path, *, policy: StopPolicy | None = None, ids: Path | None = None, wait: float = 30.0
) -> CollectorProcess:
    """Start the collector of a guest's debugger port.

    Args:
        socket: Unix socket of the serial port.
        folder: The guest's run folder: records, raw bytes and messages go there, into new files.
        policy: What to do at stops.
        ids: File with the packet ids of the fork's snapshot; None: the guest boots.
        wait: Seconds that it waits for the socket.

    Raises:
        HostToolError: It could not be started, or its files exist already.
    """
    raw, control = folder / RAW_FILE, folder / CONTROL_SOCKET
    argv = command(Attachment(socket=socket, raw=raw, control=control, ids=ids, policy=policy or StopPolicy(), wait=wait))
    try:
        with (folder / RECORDS_FILE).open("xb") as records, (folder / ERRORS_FILE).open("xb") as errors:
            # In a session of its own, so that Ctrl-C for the tests does not end it before its guest.
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=records, stderr=errors, start_new_session=True)
    except OSError as error:
        raise HostToolError(
            argv,
            None,
            message=f"the collector of {socket} cannot be started: {error}",
            hint="a run folder can be used for one guest only",
        ) from error
    return CollectorProcess(process, folder)
