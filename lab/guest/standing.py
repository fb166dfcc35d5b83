"""Resident programs in a guest that answer questions, so that a question does not start a process.

In an emulated guest, the start of a process takes nearly all of the time of a small program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Input for a program, and how its answer is recognized.

    Attributes:
        data: The bytes; not empty.
        accepted: Output of the program when it has read all of ``data`` and has done nothing yet. It is not part of the answer.
            Empty: it writes no such output.
        answered: Whether these bytes, all output after ``accepted``, are the whole answer.
    """

    data: bytes
    accepted: bytes = b""
    answered: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingProgram:
    """A program that answers questions until its input ends.

    Attributes:
        words: Its full Windows path, and its arguments.
        greet: Makes a question that it answers at once, and that does nothing; each one is different.
    """

    words: tuple[str, ...]
    greet: Callable[[], Question] = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A program's output for a question.

    Attributes:
        stdout: Standard output after :attr:`Question.accepted`.
        stderr: Standard error.
        exit_code: Its Windows exit code, 0..0xFFFFFFFF, if the process has ended without an answer; None for a whole answer.
        duration_s: Host seconds from sending the question to the last byte.
        accepted: The program had read the whole question, so that it may have done a part of it before its process ended.
    """

    stdout: bytes
    stderr: bytes
    exit_code: int | None
    duration_s: float
    accepted: bool = True


@runtime_checkable
class Converses(Protocol):
    """A transport that can keep a program running in the guest and ask it questions."""

    def ask(self, program: StandingProgram, question: Question, *, timeout: float, line: str = "") -> Answer:
        """Ask a resident program; the first question starts its process.

        It ends with the connection at the latest. A process that has ended before it accepted the question is replaced by
        another one, once. So is one that was lost and certainly received no part of the question. In all other cases, a
        question is asked only once.

        Args:
            program: The program.
            question: The question.
            timeout: Seconds until the process is terminated and GuestHung raised; a start is part of them.
            line: The question in messages; the program's command line if empty.

        Raises:
            TransportError: The guest does not answer.
            GuestHung: There is no answer in time; the process was terminated, and the next question gets another one.
        """
