"""Transports to a guest with a virtual clock: the guest runs while one of them waits for an answer.

See :class:`lab.vm.running.RunGate`. It is entered for a whole call, not for each request: between two requests of one command
the guest works, or waits for its own time, and the command waits for that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from lab.guest.protocol import Abandonable, CommandResult, Transport
from lab.guest.standing import Answer, Converses, Question, StandingProgram
from lab.vm.moment import Moment

#: Enters the time in which the guest runs.
Running = Callable[[], AbstractContextManager[None]]


class ClockedTransport:
    """A :class:`lab.guest.protocol.Transport` that wraps another one.

    Attributes:
        inner: The wrapped transport, for its own kind.

    Args:
        inner: The transport that does the work.
        running: Lets the guest run inside of the ``with``.
        moment: How far the test has come: the guest's time goes on until the host has stopped it.
    """

    def __init__(self, inner: Transport, running: Running, moment: Moment) -> None:
        self.inner = inner
        self._running = running
        self._moment = moment

    def __repr__(self) -> str:
        return f"<virtual clock: {self.inner!r}>"

    @property
    def name(self) -> str:
        """Name of the wrapped transport."""
        return self.inner.name

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        """See :class:`lab.guest.protocol.Transport`; ``timeout`` are seconds of the host."""
        with self._waiting():
            return self.inner.run(command, timeout=timeout, stdin=stdin, shell=shell)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        """See :class:`lab.guest.protocol.Transport`."""
        with self._waiting():
            self.inner.put(source, target, timeout=timeout)

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        """See :class:`lab.guest.protocol.Transport`."""
        with self._waiting():
            self.inner.get(source, target, timeout=timeout)

    def close(self) -> None:
        """See :class:`lab.guest.protocol.Transport`."""
        with self._waiting():
            self.inner.close()

    def abandon(self) -> None:
        """See :class:`lab.guest.protocol.Abandonable`; if the wrapped transport cannot, it is closed in order."""
        if isinstance(self.inner, Abandonable):
            self.inner.abandon()
        else:
            self.close()

    def answered(self, at: float) -> None:
        """See :class:`lab.guest.protocol.LearnsTime`."""
        self._moment.reached(at)

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        with self._moment.passing(), self._running():
            yield


class ClockedConversation(ClockedTransport):
    """The same around one that :class:`~lab.guest.standing.Converses`."""

    def __init__(self, inner: Transport, converses: Converses, running: Running, moment: Moment) -> None:
        super().__init__(inner, running, moment)
        self._converses = converses

    def ask(self, program: StandingProgram, question: Question, *, timeout: float, line: str = "") -> Answer:
        """See :class:`lab.guest.standing.Converses`; ``timeout`` are seconds of the host."""
        with self._waiting():
            return self._converses.ask(program, question, timeout=timeout, line=line)


def clocked(transport: Transport, running: Running, moment: Moment) -> Transport:
    """A transport with the abilities of the given one, which lets the guest run while it waits for an answer."""
    if isinstance(transport, Converses):
        return ClockedConversation(transport, transport, running, moment)
    return ClockedTransport(transport, running, moment)


def unclocked(transport: Transport) -> Transport:
    """The transport itself, without the clock around it."""
    return transport.inner if isinstance(transport, ClockedTransport) else transport
