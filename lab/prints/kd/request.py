"""How a waiting collector is given its guest: one message on the socket that is its standard input.

The message is a line of JSON with two open files, for records and for messages. So the owner makes the files, and reports the
error if they cannot be made. The answer is one line, :data:`TAKEN`, before the collector connects to the port. No answer means
that the collector had ended: another one can still be asked.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.prints.kd.stop_policy import StopPolicy

TAKEN: Final = b"taken\n"
_LONGEST: Final = 1 << 16
_FILES: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorRequest:
    """A guest's debugger port, and where its record goes. Paths are absolute.

    Attributes:
        socket: Unix socket of the serial port.
        folder: The collector's current folder from then on: the guest's run folder.
        raw: A new file for every byte of the target.
        control: A socket to make, for requests to the running collector.
        ids: File with the packet ids of the fork's snapshot; None: the guest boots.
        policy: What to do at stops.
        wait: Seconds that it waits for the socket.
    """

    socket: Path
    folder: Path
    raw: Path
    control: Path
    ids: Path | None
    policy: StopPolicy
    wait: float

    def to_json(self) -> str:
        """One line of JSON."""
        paths = {name: str(getattr(self, name)) for name in ("socket", "folder", "raw", "control")}
        policy = {"breakpoint": self.policy.breakpoint, "bugcheck": self.policy.bugcheck}
        return json.dumps({**paths, "ids": str(self.ids) if self.ids else None, **policy, "wait": self.wait})

    @classmethod
    def from_json(cls, text: str) -> CollectorRequest:
        """The request of a line of :meth:`to_json`, which comes from the same version of the lab."""
        data: dict[str, Any] = json.loads(text)
        paths = {name: Path(data[name]) for name in ("socket", "folder", "raw", "control")}
        return cls(
            **paths,
            ids=Path(data["ids"]) if data["ids"] else None,
            policy=StopPolicy(breakpoint=data["breakpoint"], bugcheck=data["bugcheck"]),
            wait=data["wait"],
        )


def send_request(line: socket.socket, request: CollectorRequest, records: int, messages: int, *, timeout: float) -> bool:
    """Give a waiting collector its guest.

    Args:
        line: The owner's end of the collector's standard input.
        request: The guest.
        records: Descriptor of the file for records.
        messages: Descriptor of the file for messages.
        timeout: Seconds for the answer: a collector that was just started has to import its modules first.

    Returns:
        Whether it has taken the guest. If not, it has ended, and touched nothing.
    """
    line.settimeout(timeout)
    try:
        socket.send_fds(line, [request.to_json().encode()], [records, messages])
        return line.recv(len(TAKEN)) == TAKEN
    except OSError:
        return False


def wait_for_request(line: socket.socket, owner: int) -> tuple[CollectorRequest, int, int] | None:
    """Wait until the owner gives this process its guest.

    Args:
        line: The collector's end.
        owner: Pid of the process that started it.

    Returns:
        The request and the two descriptors; None if the owner has closed its end, or has ended. A fork of the owner may hold
        that end, so its pid is watched, too.
    """
    poller = select.poll()
    poller.register(line, select.POLLIN)
    watched = -1
    with contextlib.suppress(OSError):  # the kernel has no pidfd (before 5.3), or the owner has ended
        watched = os.pidfd_open(owner)
        poller.register(watched, select.POLLIN)
    if os.getppid() != owner:
        return None  # it had ended before, and the pid may be another's
    try:
        if line.fileno() not in dict(poller.poll()):
            return None
        data, files, _flags, _address = socket.recv_fds(line, _LONGEST, _FILES)
    except ConnectionResetError:
        return None
    finally:
        if watched >= 0:
            os.close(watched)
    if not data:
        return None
    records, messages = files
    return CollectorRequest.from_json(data.decode()), records, messages
