"""Questions to a running collector: does the target stand, may a snapshot be taken, stop it now.

The collector listens on a Unix socket beside the records. A question is one line of JSON, ``{"do": NAME}``; so is the
answer, with a key ``error`` when there is something wrong with the question.
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
from lab.prints.kd.collector import Collector
from lab.prints.kd.ids import SessionIds
from lab.prints.kd.lend import listen_unix
from lab.prints.kd.session import Session
from lab.vm.qmp import connect_unix

_LOG = logging.getLogger(__name__)

Deed = Literal["status", "break-in", "wake", "release", "reboot", "reset", "lend", "take-back"]
#: Beside the control socket: where another debugger connects.
DEBUGGER_SOCKET: Final = "debugger.sock"
DEEDS: Final[tuple[str, ...]] = get_args(Deed)
_LONGEST: Final = 4096
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Status:
    """Where a session stands.

    Attributes:
        heard: The target has said something.
        idle: Nothing is half received, unanswered or unsent: a snapshot may be taken, with :attr:`ids` beside it.
        held: The target is stopped and stays so until it is released.
        generation: How often it began its ids anew.
        ids: To be handed to the collector of a fork.
        borrowed: Another debugger is connected.
        port: TCP port of 127.0.0.1 for it; only of the answer to ``lend``.
    """

    heard: bool
    idle: bool
    held: bool
    generation: int
    ids: SessionIds
    borrowed: bool = False
    port: int = 0


class ControlServer:
    """Answers questions about a collector until the process ends.

    Args:
        path: The socket; made, and removed at the end. A socket that exists already is never replaced.
        collector: Whom they are about.

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
        """Answer nothing any more."""
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
            # One after the other: whoever asks is served in milliseconds, and one who only connects is not waited for.
            with connection, passed_over(_LOG, "a request to the collector", OSError):
                connection.settimeout(5.0)
                connection.sendall(json.dumps(self._answer(_read_line(connection))).encode() + b"\n")

    def _answer(self, question: bytes) -> dict[str, Any]:
        try:
            deed = json.loads(question)["do"]
        except (ValueError, KeyError, TypeError):
            return {"error": "a request is one line of JSON with the key do"}
        if deed not in DEEDS:
            return {"error": f"there is no {deed!r}; available: {', '.join(DEEDS)}"}
        try:
            more: dict[str, Any] = {}
            if deed == "lend":
                more["port"] = self._collector.lend(self._path.with_name(DEBUGGER_SOCKET))
            elif deed == "take-back":
                self._collector.take_back()
            more |= {"borrowed": self._collector.borrowed(), "idle": self._collector.idle()}
            return self._collector.call(lambda session, now: _do(session, now, deed)) | more
        except TransportError as error:
            return {"error": error.message}


class CollectorControl:
    """The other side: asks a collector.

    Args:
        path: Its socket.
        clock: Monotonic clock in seconds.
        wait: Sleeps for some seconds, between two questions.
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

    def tell(self, deed: Deed, *, timeout: float = 10.0) -> Status:
        """Have something done; returns where the session stands behind it.

        Raises:
            TransportError: The collector does not answer, or its session is over.
        """
        try:
            with connect_unix(self._path, timeout) as connection:
                connection.sendall(json.dumps({"do": deed}).encode() + b"\n")
                answer = json.loads(_read_line(connection))
        except (OSError, ValueError) as error:
            raise TransportError(f"the collector at {self._path} does not answer: {error}") from error
        if "error" in answer:
            raise TransportError(f"the collector at {self._path} cannot {deed}: {answer['error']}")
        ids = SessionIds(answer["receive"], answer["send"], answer["last"])
        more = (bool(answer.get("borrowed")), int(answer.get("port", 0)))
        return Status(answer["heard"], answer["idle"], answer["held"], answer["generation"], ids, *more)

    def status(self) -> Status:
        """Where the session stands."""
        return self.tell("status")

    def break_in(self, timeout: float) -> bool:
        """Stop the target and leave it so until :meth:`release`; False when it did not stop within ``timeout`` seconds."""
        deadline = self._clock() + timeout
        status = self.tell("break-in")
        while not status.held:
            if self._clock() >= deadline:
                return False
            self._wait(_POLL_S)
            status = self.status()
        return True

    def release(self) -> None:
        """Let a stopped target go on."""
        self.tell("release")


def _do(session: Session, now: float, deed: str) -> dict[str, Any]:
    if deed == "break-in":
        session.break_in(hold=True)
    elif deed == "wake":
        session.break_in()
    elif deed == "release":
        session.release(now)
    elif deed == "reboot":
        session.reboot(now)
    elif deed == "reset":
        session.reset(now)
    ids = session.ids
    told = {"heard": session.heard, "held": session.held, "generation": session.generation}
    return told | {"receive": ids.receive, "send": ids.send, "last": ids.last}


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
