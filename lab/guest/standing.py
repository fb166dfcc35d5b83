"""Programs that stay in a guest and answer questions, so that not every question has to start a process.

A process start is nearly all that a small program costs in an emulated guest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is written to a program's standard input, and how its answer is known.

    Attributes:
        data: The bytes; not empty.
        accepted: What the program writes to its standard output when it has read all of ``data`` and has done nothing yet. It
            is no part of the answer. Empty: it writes nothing of the kind.
        answered: Whether these bytes, all that the program has written behind ``accepted``, are the whole answer.
    """

    data: bytes
    accepted: bytes = b""
    answered: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingProgram:
    """A program that answers questions until its input ends.

    Attributes:
        words: Its full Windows path, and its arguments.
        greet: Makes a question that it answers at once, and that does nothing; no two of them are the same.
    """

    words: tuple[str, ...]
    greet: Callable[[], Question] = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a program has written to answer a question.

    Attributes:
        stdout: Standard output behind :attr:`Question.accepted`.
        stderr: Standard error.
        exit_code: Its Windows exit code, 0..0xFFFFFFFF, if the process has ended instead of answering; None for a whole answer.
        duration_s: Host seconds from sending the question to the last byte.
    """

    stdout: bytes
    stderr: bytes
    exit_code: int | None
    duration_s: float


@runtime_checkable
class Converses(Protocol):
    """A transport that can leave a program running in the guest and talk with it."""

    def ask(self, program: StandingProgram, question: Question, *, timeout: float, line: str = "") -> Answer:
        """Ask the process of a program that stands; the first question starts it.

        It ends with the connection at the latest. A process that has ended before it accepted the question is replaced by
        another one, once. So is one that was lost and certainly got nothing of the question. In no other case is a question
        asked twice.

        Args:
            program: The program.
            question: The question.
            timeout: Seconds until the process is terminated and GuestHung raised; a start is part of them.
            line: What messages call the question; the program's command line if empty.

        Raises:
            TransportError: The guest does not answer.
            GuestHung: There is no answer in time; the process was terminated, and the next question gets another one.
        """
