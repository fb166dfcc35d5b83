"""Runs the collector as a process of its own, so that no print is lost if a test process crashes, hangs or is stopped.

Each guest has a collector of its own, and one more waits for the next guest, so that no fork waits for the start of a Python.
One process for all guests of a worker would do that, too, but:

- if it is killed, or hangs, all guests of the worker lose their prints, and not one of them;
- a kernel stands still until its packet is answered: a flood of one guest would slow down the others, by Python's lock;
- a detached guest keeps its collector when the worker ends, and the other guests must not.

What a waiting collector costs is 0.1 s of processor time for each guest, while a test runs, and some 15 MB. It gets everything
that belongs to a guest (port, files, packet ids) with its guest, so any collector can serve any guest. It ends with its owner
until then, and with its VM from then on.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from lab.errors import HostToolError
from lab.prints.kd import attach
from lab.prints.kd.control import CollectorControl
from lab.prints.kd.request import CollectorRequest, send_request
from lab.prints.kd.stop_policy import StopPolicy

RECORDS_FILE = "kd.jsonl"
RAW_FILE = "kd.raw"
ERRORS_FILE = "kd.log"
CONTROL_SOCKET = "kd.ctl"
#: Packet ids at the snapshot of which the guest is a fork.
IDS_FILE = "kd.ids"
#: A Python starts, and imports the collector, in this time on any host.
_START_S = 60.0


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
        return _read(self.folder / ERRORS_FILE)

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


class WaitingCollector:
    """A collector without a guest yet; a :class:`lab.host.spare.WaitingProcess`.

    Args:
        messages: Descriptor that gets its messages until it has a guest; None: they are dropped.

    Raises:
        OSError: No process can be started.
    """

    def __init__(self, messages: int | None = None) -> None:
        # Each message arrives as a whole.
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._child: subprocess.Popen[bytes] | None = None
        try:
            # Not the interpreter's -I: the collector must find the same lab that started it. In a session of its own, so that
            # Ctrl-C for the tests does not end it before its guest.
            self._child = subprocess.Popen(
                [sys.executable, "-m", attach.MODULE, str(os.getpid())],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if messages is None else messages,
                start_new_session=True,
            )
        except BaseException:
            self.close()
            raise
        finally:
            theirs.close()

    @property
    def alive(self) -> bool:
        """It waits."""
        return self._child is not None and self._child.poll() is None

    def serve(self, request: CollectorRequest, records: int, messages: int) -> subprocess.Popen[bytes] | None:
        """Give it its guest; see :func:`lab.prints.kd.request.send_request`.

        Returns:
            The process, which the caller owns from here on; None if it had ended, or had a guest already.
        """
        if not self.alive or not send_request(self._line, request, records, messages, timeout=_START_S):
            self.close()
            return None
        taken, self._child = self._child, None
        self._line.close()
        return taken

    def close(self) -> None:
        """End it, unless it has a guest. Idempotent."""
        child, self._child = self._child, None
        self._line.close()
        if child is not None:
            child.kill()  # it has nothing to lose, and a fork of this process may hold its socket open
            child.wait()


def start_collector(
    socket: Path,
    folder: Path,
    *,
    policy: StopPolicy | None = None,
    ids: Path | None = None,
    wait: float = 30.0,
    waiting: WaitingCollector | None = None,
) -> CollectorProcess:
    """Have a collector serve a guest's debugger port.

    Args:
        socket: Unix socket of the serial port.
        folder: The guest's run folder: records, raw bytes and messages go there, into new files.
        policy: What to do at stops.
        ids: File with the packet ids of the fork's snapshot; None: the guest boots.
        wait: Seconds that it waits for the socket.
        waiting: A collector that was started in advance; it is used up in any case. Without it, or if it has ended, another one
            is started.

    Raises:
        HostToolError: It could not be started, or its files exist already.
    """
    request = CollectorRequest(
        socket=socket.absolute(),
        folder=folder.absolute(),
        raw=folder.absolute() / RAW_FILE,
        control=folder.absolute() / CONTROL_SOCKET,
        ids=ids.absolute() if ids else None,
        policy=policy or StopPolicy(),
        wait=wait,
    )
    fresh: WaitingCollector | None = None
    try:
        with (folder / RECORDS_FILE).open("xb") as records, (folder / ERRORS_FILE).open("xb") as errors:
            process = waiting.serve(request, records.fileno(), errors.fileno()) if waiting else None
            if process is None:
                fresh = WaitingCollector(errors.fileno())
                process = fresh.serve(request, records.fileno(), errors.fileno())
    except OSError as error:
        raise HostToolError(
            [sys.executable],
            None,
            message=f"the collector of {socket} cannot be started: {error}",
            hint="a run folder can be used for one guest only",
        ) from error
    finally:
        for one in (waiting, fresh):
            if one is not None:
                one.close()
    if process is None:
        said = _read(folder / ERRORS_FILE)
        raise HostToolError(
            [sys.executable, "-m", attach.MODULE],
            None,
            said,
            message=f"the collector of {socket} ended before it began",
            hint=f"`{sys.executable} -c 'import {attach.MODULE}'` must work in this folder",
        )
    return CollectorProcess(process, folder)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="backslashreplace").strip()
    except OSError:
        return ""
