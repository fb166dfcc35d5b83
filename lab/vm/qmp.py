"""QEMU's monitor: a synchronous interface to qemu.qmp's asyncio client, which runs in one background thread."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError, Runstate

from lab.errors import GuestExited, TransportError
from lab.host.passed import passed_over

_LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Events kept for :meth:`Qmp.events`; a guest in a reset loop must not fill the memory.
_EVENTS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class QmpEvent:
    """An event of the monitor.

    Attributes:
        index: 1 for the first event of the connection.
        name: For example ``RESET``.
        data: Its data.
        qemu_time: Seconds since the epoch, as QEMU stamped it.
        host_time: The lab's monotonic clock at its arrival.
    """

    index: int
    name: str
    data: Mapping[str, Any]
    qemu_time: float
    host_time: float


class CommandRefused(TransportError):
    """QEMU understood a monitor command and refused it.

    Args:
        command: The command.
        error_class: QEMU's class, for example ``CommandNotFound``.
        description: QEMU's words.
    """

    def __init__(self, command: str, error_class: str, description: str) -> None:
        super().__init__(f"QEMU refused the monitor command {command}: {description}")
        self.error_class = error_class
        self.description = description


@dataclass
class _State:
    """Shared by the background thread (writer) and the callers; guarded by ``changed``."""

    events: deque[QmpEvent] = field(default_factory=lambda: deque(maxlen=_EVENTS_KEPT))
    count: int = 0
    lost: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)


class Qmp:
    """A connection to a monitor. Methods may be called from any thread.

    Args:
        connection: A connected socket; it belongs to the new object.
        name: For messages.
        timeout: Seconds for the greeting.
        explain_lost: Called when the connection is gone; gives the error to raise. It knows why QEMU ended.
        unheard: Names of events that are not kept.

    Raises:
        TransportError: No greeting in time, or none that is QMP.
        GuestExited: The connection ended during the greeting.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        name: str = "qmp",
        timeout: float = 30.0,
        explain_lost: Callable[[], GuestExited] | None = None,
        unheard: Collection[str] = (),
    ) -> None:
        self._name = name
        self._unheard = frozenset(unheard)
        self._explain_lost = explain_lost
        self._state = _State()
        self._client = QMPClient(name)
        # The listener must be registered before the negotiation, or the first events are lost.
        self._listener = EventListener()
        self._client.register_listener(self._listener)
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = asyncio.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"qmp-{name}", daemon=True)
        self._thread.start()
        try:
            self._run(self._open(connection), timeout, "the greeting")
        except BaseException:
            connection.close()
            self.close()
            raise

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 10.0) -> Any:
        """Run a monitor command and return what it returns.

        Args:
            command: For example ``query-status``.
            arguments: Its arguments, by QEMU's names.
            timeout: Seconds until the answer must be there.

        Raises:
            CommandRefused: QEMU answered with an error.
            TransportError: No answer in time.
            GuestExited: QEMU ended.
        """
        return self._run(self._client.execute(command, dict(arguments) if arguments else None), timeout, command)

    def hmp(self, line: str, *, timeout: float = 10.0) -> str:
        """Run a line of the human monitor, for what QMP does not offer, and return its text."""
        return str(self.execute("human-monitor-command", {"command-line": line}, timeout=timeout))

    def pass_file(self, name: str, descriptor: int) -> None:
        """Hand QEMU an open file; commands that take a descriptor know it by this name from here on.

        Args:
            name: Not a number.
            descriptor: It stays open here, and may be closed.
        """

        async def send() -> None:
            self._client.send_fd_scm(descriptor)

        self._run(send(), 10.0, "a descriptor")
        self.execute("getfd", {"fdname": name})

    @property
    def connected(self) -> bool:
        """Whether the connection is open."""
        return not self._state.lost

    @property
    def event_count(self) -> int:
        """Index of the newest event; give it to :meth:`wait_event` to wait for a later one."""
        with self._state.changed:
            return self._state.count

    def events(self, *, after: int = 0) -> list[QmpEvent]:
        """All events so far whose index is greater than ``after``."""
        with self._state.changed:
            return [event for event in self._state.events if event.index > after]

    def wait_event(
        self,
        names: str | Collection[str],
        *,
        timeout: float,
        after: int = 0,
        where: Callable[[QmpEvent], bool] = lambda _event: True,
    ) -> QmpEvent:
        """The first event of one of these names, also when it has come already.

        Args:
            names: One name or several.
            timeout: Seconds to wait.
            after: Only events with a greater index count; see :attr:`event_count`.
            where: A further condition.

        Raises:
            TransportError: None came in time.
            GuestExited: The connection ended first.
        """
        wanted = {names} if isinstance(names, str) else set(names)
        deadline = time.monotonic() + timeout
        state = self._state
        with state.changed:
            while True:
                for event in state.events:
                    if event.index > after and event.name in wanted and where(event):
                        return event
                    after = max(after, event.index)
                if state.lost:
                    break
                left = deadline - time.monotonic()
                if left <= 0:
                    seen = ", ".join(event.name for event in state.events) or "none"
                    wish = " or ".join(sorted(wanted))
                    raise TransportError(f"{self._name}: no {wish} event within {timeout:g} s; events so far: {seen}")
                state.changed.wait(left)
        raise self._lost_error()

    def close(self) -> None:
        """End the connection and the thread. Idempotent; QEMU runs on."""
        if self._loop.is_closed():
            return
        with passed_over(_LOG, f"{self._name}: closing the monitor's connection", TransportError, GuestExited):
            self._run(self._shut(), 5.0, "closing the connection")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T], timeout: float, what: str) -> T:
        """Have the background thread do something, and translate its errors."""
        if self._loop.is_closed():
            work.close()
            raise self._lost_error()
        future: Future[T] = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout), self._loop)
        try:
            return future.result(timeout + 5.0)
        except ExecuteError as error:
            raise CommandRefused(what, error.error_class, str(error)) from None
        except TimeoutError:
            future.cancel()
            raise TransportError(f"{self._name}: QEMU's monitor did not answer {what} within {timeout:g} s") from None
        except (QMPError, EOFError, OSError) as error:
            cause = error.__cause__ or error
            raise self._lost_error() from cause

    def _lost_error(self) -> GuestExited:
        if self._explain_lost:
            return self._explain_lost()
        return GuestExited(f"{self._name}: the connection to QEMU's monitor ended")

    async def _open(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            await self._client.connect(connection)
        except AssertionError:
            # qemu.qmp 0.0.6 asserts that the connection is open after the negotiation; QEMU may be gone by then.
            raise ConnectionResetError("QEMU ended during the negotiation") from None
        self._tasks = [asyncio.create_task(self._pump()), asyncio.create_task(self._watch())]

    async def _pump(self) -> None:
        """Copy events into the shared state as they come."""
        while True:
            self._record(await self._listener.get())

    def _record(self, message: Mapping[str, Any]) -> None:
        if str(message.get("event", "")) in self._unheard:
            return
        state = self._state
        stamp = message.get("timestamp", {})
        with state.changed:
            state.count += 1
            state.events.append(
                QmpEvent(
                    index=state.count,
                    name=str(message.get("event")),
                    data=message.get("data", {}),
                    qemu_time=float(stamp.get("seconds", 0)) + float(stamp.get("microseconds", 0)) / 1e6,
                    host_time=time.monotonic(),
                )
            )
            state.changed.notify_all()

    async def _watch(self) -> None:
        """Wait until the connection is closed, and wake the callers that wait for an event."""
        while self._client.runstate == Runstate.RUNNING:
            await self._client.runstate_changed()
        for message in self._listener.clear():
            self._record(message)
        await self._disconnect()
        with self._state.changed:
            self._state.lost = True
            self._state.changed.notify_all()

    async def _disconnect(self) -> None:
        """End the connection, by one task at a time: otherwise the client drops an error, which asyncio then prints."""
        async with self._ending:
            with passed_over(_LOG, f"{self._name}: closing the monitor's connection", Exception, level=logging.DEBUG):
                await self._client.disconnect()

    async def _shut(self) -> None:
        await self._disconnect()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with self._state.changed:
            self._state.lost = True
            self._state.changed.notify_all()
