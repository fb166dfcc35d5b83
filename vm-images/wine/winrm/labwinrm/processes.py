"""A running command: what any launcher gives, and its streams as WinRM's Receive and Send see them."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from labwinrm.faults import ABORTED, INVALID_PARAMETER, RECEIVE_IN_PROGRESS, TIMED_OUT, WsmanFault
from labwinrm.stdin import Input

#: After output came, more of it is awaited so that it shares the answer: by naps, until one brought nothing, and no longer
#: than this in all. A nap is not ended by output: waking up for each of the small writes of most programs costs more than the
#: program itself (50000 lines of findstr: 42 s so, 7 s by naps, in an emulated guest). A command
#: that was just sent a line, and waits for another, has mostly answered in one write, so the first nap is short then; any other
#: command ends soon after its output: its end stops the nap and shares the answer, which saves a request.
FIRST_NAP_S: Final = 0.004
LONGEST_NAP_S: Final = 0.02
LINGER_MOST_S: Final = 0.2
#: A command that writes this much at once gets no nap: the pipe would be full before its end.
NAP_BELOW: Final = 16384
_READ: Final = 1 << 18


class StartError(Exception):
    """A command could not be started.

    Args:
        error: Windows error number.
        message: What the launcher says about it.
    """

    def __init__(self, error: int, message: str) -> None:
        super().__init__(message)
        self.error = error


class ClientGone(Exception):
    """The client hung up while its request waited, so no one would get the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """What is to be started.

    Attributes:
        command: Program, or command line when there are no arguments.
        arguments: As the client sent them; they are joined by blanks, quoting is the client's business.
        use_shell: Through the command interpreter, or the program directly.
        working_directory: Windows form; empty for the default.
        environment: Variables on top of the launcher's own.
        codepage: Code page of the shell, 0 for the default.
        shell: Identifier of the shell it belongs to.
    """

    command: str
    arguments: tuple[str, ...] = ()
    use_shell: bool = True
    working_directory: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    codepage: int = 0
    shell: str = ""

    @property
    def line(self) -> str:
        """The command line without the interpreter."""
        return " ".join((self.command, *self.arguments))


class Process(Protocol):
    """A started process with the service's ends of its three pipes, which the service owns and closes."""

    @property
    def stdin(self) -> int:
        """File descriptor to write to."""

    @property
    def stdout(self) -> int:
        """File descriptor to read from."""

    @property
    def stderr(self) -> int:
        """File descriptor to read from."""

    @property
    def exit_fd(self) -> int:
        """Readable once the process has ended; stays the process's own."""

    def exit_code(self) -> int | None:
        """Exit code, 0..0xFFFFFFFF; ``None`` while it runs."""

    def interrupt(self, *, hard: bool) -> None:
        """Give it ctrl-c, or ctrl-break when ``hard``."""

    def terminate(self) -> None:
        """End it and every process that it started."""

    def release(self) -> None:
        """Let go of it; the processes that it left run until its shell ends. Safe to call twice."""


class Launcher(Protocol):
    """How commands are started."""

    def start(self, request: StartRequest) -> Process:
        """Start a command.

        Raises:
            StartError: It does not start.
        """

    def end_shell(self, shell: str) -> None:
        """End what the commands of a shell have left running."""

    def close(self) -> None:
        """End the launcher and every process it started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What one Receive gives.

    Attributes:
        chunks: Bytes by stream name, in the order in which streams were asked for; only streams with news.
        ended: Names of the streams that have come to their end.
        exit_code: Set when the command is done.
    """

    chunks: dict[str, bytes]
    ended: frozenset[str]
    exit_code: int | None


class Command:
    """A command of a shell.

    Args:
        identifier: CommandId.
        process: The started process.
        exit_grace_s: Seconds that output of left-over children is awaited after the process has ended.
    """

    def __init__(self, identifier: str, process: Process, exit_grace_s: float) -> None:
        self.identifier = identifier
        self._process = process
        self._grace = exit_grace_s
        self._streams = {"stdout": process.stdout, "stderr": process.stderr}
        self._ended: set[str] = set()
        self._exited_at: float | None = None
        self._receiving = threading.Lock()
        self._conversing = False
        self._closed = threading.Event()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._input = Input(process.stdin)
        for descriptor in self._streams.values():
            os.set_blocking(descriptor, False)

    def receive(self, names: tuple[str, ...], *, timeout_s: float, limit: int, client: int = -1) -> Output:
        """Wait for output or the end.

        Args:
            names: Streams that are wanted.
            timeout_s: Seconds to wait.
            limit: Most bytes to give.
            client: Socket of the client; when it hangs up, nothing is taken from the streams.

        Raises:
            WsmanFault: Time is up, the command was closed, or another receive is at work.
            ClientGone: The client hung up.
        """
        if not names or any(name not in self._streams for name in names):
            raise WsmanFault(INVALID_PARAMETER, f"Streams {' '.join(names)!r} are not streams of this shell.")
        if not self._receiving.acquire(blocking=False):
            raise WsmanFault(RECEIVE_IN_PROGRESS)
        try:
            return self._receive(names, time.monotonic() + timeout_s, limit, client)
        finally:
            self._receiving.release()

    def _receive(self, names: tuple[str, ...], deadline: float, limit: int, client: int) -> Output:
        chunks: dict[str, list[bytes]] = {}
        before = frozenset(self._ended)
        total, fresh, give_up, quiet = 0, 0, 0.0, False
        nap = FIRST_NAP_S if self._conversing else LONGEST_NAP_S
        while True:
            if self._closed.is_set():
                raise WsmanFault(ABORTED)
            now = time.monotonic()
            until = deadline if not total else give_up
            if self._exited_at is not None:
                until = min(until, self._exited_at + self._grace)
                if now >= self._exited_at + self._grace:
                    self._ended.update(names)
            done = self._exited_at is not None and self._ended.issuperset(names)
            if done or total >= limit or (total and (quiet or now >= give_up)):
                ended = frozenset(self._ended if done else self._ended - before)
                news = {name: b"".join(parts) for name, parts in chunks.items()}
                return Output(chunks=news, ended=ended, exit_code=self._process.exit_code() if done else None)
            if now >= deadline and not total:
                raise WsmanFault(TIMED_OUT)
            lingering = bool(total) and self._exited_at is None
            napping = lingering and fresh < NAP_BELOW
            ready = self._poll(() if napping else names, nap if lingering else until - now, client)
            if lingering:
                nap = min(2 * nap, LONGEST_NAP_S)
            fresh = self._drain(names if napping else ready, chunks, limit - total)
            if fresh and not total:
                give_up = time.monotonic() + LINGER_MOST_S
            total += fresh
            quiet = lingering and not fresh and self._exited_at is None

    def _drain(self, names: Iterable[str], chunks: dict[str, list[bytes]], most: int) -> int:
        total = 0
        for name in names:
            while name not in self._ended and (data := self._read(name, most - total)):
                chunks.setdefault(name, []).append(data)
                total += len(data)
        return total

    def _poll(self, names: Iterable[str], seconds: float, client: int) -> list[str]:
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        open_streams = {self._streams[name]: name for name in names if name not in self._ended}
        for descriptor in open_streams:
            poller.register(descriptor, select.POLLIN)
        if self._exited_at is None:
            poller.register(self._process.exit_fd, select.POLLIN)
        if client >= 0:
            poller.register(client, select.POLLRDHUP)
        ready = dict(poller.poll(max(0.0, seconds) * 1000))
        if self._wake in ready:
            return []
        if client in ready:
            raise ClientGone
        if self._exited_at is None and self._process.exit_fd in ready and self._process.exit_code() is not None:
            self._exited_at = time.monotonic()
        return [name for descriptor, name in open_streams.items() if descriptor in ready]

    def _read(self, name: str, most: int) -> bytes:
        if most <= 0:
            return b""
        try:
            data = os.read(self._streams[name], min(most, _READ))
        except BlockingIOError:
            return b""
        if not data:
            self._ended.add(name)
        return data

    def send(self, data: bytes, *, end: bool, timeout_s: float) -> None:
        """Queue input for the command.

        Raises:
            WsmanFault: The input has been closed, or there is no room for it in time; then none of it is taken.
        """
        self._input.put(data, end=end, timeout_s=timeout_s)
        self._conversing = not end

    def interrupt(self, *, hard: bool) -> None:
        """Give the command ctrl-c, or ctrl-break when ``hard``; nothing happens when it has ended."""
        if self._process.exit_code() is None:
            self._process.interrupt(hard=hard)

    def close(self) -> None:
        """End the command and let go of all it holds; a waiting receive gets a fault. Safe to call twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        os.eventfd_write(self._wake, 1)
        if self._process.exit_code() is None:
            self._process.terminate()
        self._input.close()
        with self._receiving:
            for descriptor in (*self._streams.values(), self._wake):
                os.close(descriptor)
            self._process.release()
