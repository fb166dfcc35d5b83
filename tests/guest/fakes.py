"""Doubles of a guest for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.guest.protocol import CommandResult


@dataclass
class FakeClock:
    """A clock that advances only by sleeping."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass(frozen=True)
class Sent:
    """One command that a :class:`FakeTransport` got."""

    command: str | tuple[str, ...]
    timeout: float
    stdin: bytes
    shell: bool


Answer = CommandResult | Exception


def result(stdout: str | bytes = b"", *, code: int = 0, stderr: str | bytes = b"") -> CommandResult:
    """A finished command."""
    return CommandResult(
        command="",
        exit_code=code,
        stdout=stdout.encode() if isinstance(stdout, str) else stdout,
        stderr=stderr.encode() if isinstance(stderr, str) else stderr,
        duration_s=0.0,
    )


class FakeTransport:
    """Answers by a function, or by a list of answers in order; exceptions are raised."""

    name = "fake"

    def __init__(self, answers: Sequence[Answer] | Callable[[Sent], Answer]) -> None:
        self.sent: list[Sent] = []
        self.closed = 0
        self._answers = answers if callable(answers) else iter(answers)

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        sent = Sent(command if isinstance(command, str) else tuple(command), timeout, stdin, shell)
        self.sent.append(sent)
        answer = self._answers(sent) if callable(self._answers) else next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        raise NotImplementedError

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.closed += 1


#: A secret that no line of a test's source spells out, because a traceback shows those too.
UNTOLD = "-".join(["battery", "staple", "4711"])


def everything_shown(caught: pytest.ExceptionInfo[BaseException]) -> str:
    """An error as pytest shows it when it is asked for all that it can: every frame, with arguments and local variables."""
    shown = caught.getrepr(style="long", showlocals=True, funcargs=True, tbfilter=False, truncate_locals=False)
    text = str(shown)
    assert caught.type.__name__ in text
    return text
