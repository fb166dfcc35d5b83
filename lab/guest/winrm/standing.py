"""Resident programs in a transport's shell: a question is one Send, and its answer is one or more Receives."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from lab.errors import TransportError
from lab.guest.quoting import command_text
from lab.guest.standing import Answer, Question, StandingProgram
from lab.guest.winrm.errors import Refused
from lab.guest.winrm.protocol import SEND_CHUNK, Running
from lab.guest.winrm.shell import WinRmShell


def _echo() -> Question:
    token = secrets.token_hex(8).encode()
    return Question(data=b"echo " + token + b"\r\n", answered=lambda output: token in output)


#: A cmd, which every Windows has: without echo and the registry's autorun commands. It reads lines.
CMD: Final = StandingProgram(words=("C:\\windows\\system32\\cmd.exe", "/Q", "/D", "/K"), greet=_echo)


class StandingPrograms:
    """The processes of resident programs in a shell, one of each program.

    Args:
        shell: The shell. Its owner calls :meth:`forget` when it is lost.
        clock: Monotonic seconds.
    """

    def __init__(self, shell: WinRmShell, clock: Callable[[], float]) -> None:
        self._shell = shell
        self._clock = clock
        self._commands: dict[tuple[str, ...], str] = {}

    def command_id(self, program: StandingProgram) -> str:
        """The service's id of a program's process; empty as long as there is none."""
        return self._commands.get(program.words, "")

    def take(self, program: StandingProgram, command_id: str) -> None:
        """Use a process that runs already."""
        self._commands[program.words] = command_id

    def forget(self) -> None:
        """Forget them: their shell is lost."""
        self._commands.clear()

    def ask(self, program: StandingProgram, question: Question, *, timeout: float, line: str = "") -> Answer:
        """See :meth:`lab.guest.standing.Converses.ask`."""
        started = self._clock()
        line = line or command_text(program.words, shell=False)
        for _ in range(2):
            run = Running(line, started + timeout, timeout)
            run.fed = True  # otherwise its input would be closed
            stood = bool(self.command_id(program))
            try:
                accepted, answered = self._ask(run, program, question)
            except BaseException:  # after any error: its next line may belong to this question
                self._commands.pop(program.words, None)
                raise
            if run.done:
                self._commands.pop(program.words, None)
            if accepted or not stood:
                break
        return Answer(
            stdout=b"".join(run.stdout),
            stderr=b"".join(run.stderr),
            # The end of a process after a whole answer does not belong to that question.
            exit_code=None if answered else run.exit_code & 0xFFFFFFFF,
            duration_s=self._clock() - started,
            accepted=accepted,
        )

    def _ask(self, run: Running, program: StandingProgram, question: Question) -> tuple[bool, bool]:
        """Whether the process accepted the question, and whether it answered it; if not, it has ended."""
        self._send(run, program, question.data)
        accepted = not question.accepted
        while not run.done:
            self._shell.receive(run)
            written = b"".join(run.stdout)
            if not accepted and written.startswith(question.accepted):
                accepted, written = True, written.removeprefix(question.accepted)
                run.stdout[:] = [written]
            if accepted and question.answered(written):
                return True, True
        return accepted, False

    def _send(self, run: Running, program: StandingProgram, data: bytes) -> None:
        """Send a question; start a process for it if there is none, or if the present one received nothing."""
        for last_try in (False, True):
            self._start(run, program)
            if run.done:
                return
            try:
                for start in range(0, len(data), SEND_CHUNK):
                    # Without room, the guest has accepted nothing of the piece. The loop ends at the deadline.
                    while not self._shell.send(run, data[start : start + SEND_CHUNK], end=False, repeatable=not start):
                        pass
                return
            except Refused as refused:  # nothing of the first piece reached a process
                self._shell.recover(refused)
                if last_try:
                    raise refused.as_error() from refused.__cause__

    def _start(self, run: Running, program: StandingProgram) -> None:
        self._shell.ready()  # a new shell has no process
        if not self.command_id(program):
            started = self._shell.start(run, command_text(program.words, shell=False), shell=False)
            if run.done:
                return
            self._commands[program.words] = started
        run.command_id = self.command_id(program)


def greet(programs: StandingPrograms, program: StandingProgram, *, where: str, timeout: float) -> None:
    """Let a program's process answer a question that does nothing.

    Args:
        programs: Those of the shell.
        program: Which.
        where: The guest's address for messages.
        timeout: Seconds until it must have answered.

    Raises:
        TransportError: The guest does not answer, or the process has ended.
        GuestHung: The process does not answer in time.
    """
    answer = programs.ask(program, program.greet(), timeout=timeout)
    if answer.exit_code is not None:
        raise TransportError(f"{where}: the waiting {program.words[0]} ended with {answer.exit_code}")
