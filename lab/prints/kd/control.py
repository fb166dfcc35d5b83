"""Requests to a running collector: report its state, stop the target, let it run.

The collector listens on a Unix socket beside the records. A request is one line of JSON, ``{"do": NAME}``; so is the answer,
with a key ``error`` if the request is wrong.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from lab.errors import ConfigError, TransportError
from lab.host.passed import passed_over
from lab.host.unix_socket import connect_unix, listen_unix
from lab.prints.kd.collector import Collector
from lab.prints.kd.ids import SessionIds
from lab.prints.kd.session import Session

_LOG = logging.getLogger(__name__)

Action = Literal["status", "break-in", "announce", "release", "reboot", "reset", "lend", "take-back"]
#: Socket beside the control socket, to which another debugger connects.
DEBUGGER_SOCKET: Final = "debugger.sock"
ACTIONS: Final[tuple[str, ...]] = get_args(Action)
_LONGEST: Final = 4096
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a session.

    Attributes:
        heard: The target has sent something.
        idle: Nothing is half received, unanswered or unsent: a snapshot may be taken, with :attr:`ids` beside it.
        held: The target is stopped until it is released.
        generation: How often the target restarted its packet ids.
        ids: Packet ids, for the collector of a fork.
        records: How many records the collector has made so far; the last ones may not be in its output yet.
        borrowed: Another debugger is connected.
        port: TCP port of 127.0.0.1 for it; only in the answer to ``lend``.
    """

    heard: bool
    idle: bool
    held: bool
    generation: int
    ids: SessionIds
    records: int = 0
    borrowed: bool = False
    port: int = 0


class ControlServer:
    """Serves requests to a collector until the process ends.

    Args:
        path: Path of the socket. It is made here and removed at the end; an existing socket is never replaced.
        collector: The collector.

    Raises:
        ConfigError: The socket cannot be made.
    """

    def __init__(self, path: Path, collector: Collector) -> None:
        self._path = path
        self._collector = collector
        self._listener = _listen(path)
        self._thread = threading.Thread(target=self._serve, name="kd control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving, and remove the socket."""
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # One after the other: a request takes milliseconds, and a client that sends nothing is dropped after some seconds.
            with connection, passed_over(_LOG, "a request to the collector", OSError):
                connection.settimeout(5.0)
                connection.sendall(json.dumps(self._answer(_read_line(connection))).encode() + b"\n")

    def _answer(self, request: bytes) -> dict[str, Any]:
        try:
            action = json.loads(request)["do"]
        except (ValueError, KeyError, TypeError):
            return {"error": "a request is one line of JSON with the key do"}
        if action not in ACTIONS:
            return {"error": f"there is no {action!r}; available: {', '.join(ACTIONS)}"}
        try:
            more: dict[str, Any] = {}
            if action == "lend":
                more["port"] = self._collector.lend(self._path.with_name(DEBUGGER_SOCKET))
            elif action == "take-back":
                self._collector.take_back()
            more["borrowed"] = self._collector.borrowed()
            return self._collector.call(lambda session, now: self._do(session, now, action)) | more
        except TransportError as error:
            return {"error": error.message}

    def _do(self, session: Session, now: float, action: str) -> dict[str, Any]:
        """Act, and report the state at one moment: ids that belong to an idle session, and the records until then."""
        return _do(session, now, action) | {"idle": self._collector.is_idle(session), "records": self._collector.told}


class CollectorControl:
    """The client side: sends requests to a collector.

    Args:
        path: Its socket.
        clock: Monotonic clock in seconds.
        wait: Sleeps for some seconds, between two requests.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._path = path
        self._clock = clock
        self._wait = wait

    def request(self, action: Action, *, timeout: float = 10.0) -> Status:
        """Request an action; returns the state of the session afterwards.

        Raises:
            TransportError: The collector does not answer, or its session is over.
        """
        try:
            with connect_unix(self._path, timeout) as connection:
                connection.sendall(json.dumps({"do": action}).encode() + b"\n")
                answer = json.loads(_read_line(connection))
        except (OSError, ValueError) as error:
            raise TransportError(f"the collector at {self._path} does not answer: {error}") from error
        if "error" in answer:
            raise TransportError(f"the collector at {self._path} cannot {action}: {answer['error']}")
        ids = SessionIds(answer["receive"], answer["send"], answer["last"])
        more = (int(answer.get("records", 0)), bool(answer.get("borrowed")), int(answer.get("port", 0)))
        return Status(answer["heard"], answer["idle"], answer["held"], answer["generation"], ids, *more)

    def status(self) -> Status:
        """The state of the session."""
        return self.request("status")

    def break_in(self, timeout: float) -> bool:
        """Stop the target until :meth:`release`; False if it did not stop within ``timeout`` seconds."""
        deadline = self._clock() + timeout
        status = self.request("break-in")
        while not status.held:
            if self._clock() >= deadline:
                return False
            self._wait(_POLL_S)
            status = self.status()
        return True

    def release(self) -> None:
        """Let a stopped target run."""
        self.request("release")


def _do(session: Session, now: float, action: str) -> dict[str, Any]:
    if action == "break-in":
        session.break_in(hold=True)
    elif action == "announce":
        session.break_in()
    elif action == "release":
        session.release(now)
    elif action == "reboot":
        session.reboot(now)
    elif action == "reset":
        session.reset(now)
    ids = session.ids
    answer = {"heard": session.heard, "held": session.held, "generation": session.generation}
    return answer | {"receive": ids.receive, "send": ids.send, "last": ids.last}


def _listen(path: Path) -> socket.socket:
    try:
        return listen_unix(path)
    except OSError as error:
        raise ConfigError(
            f"the socket {path} cannot be made: {error.strerror}", hint="its folder must exist, and the name must be free"
        ) from None


def _read_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST:
        part = connection.recv(_LONGEST)
        if not part:
            break
        line += part
    return line
