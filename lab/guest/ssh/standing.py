"""Resident programs over SSH: a session channel for each, whose input stays open."""

from __future__ import annotations

import secrets
import select
from collections.abc import Callable

import paramiko

from lab.errors import GuestHung, TransportError
from lab.guest.quoting import command_text
from lab.guest.ssh.streams import drain, has_ended, send, take_exit_code, with_exit_code
from lab.guest.standing import Answer, Question, StandingProgram

_POLL_S = 0.02


class _Session:
    """The process of one program.

    Attributes:
        out: Standard output since the last question.
        err: Standard error since then.
        ended: The process has ended.
    """

    def __init__(self, channel: paramiko.Channel, program: StandingProgram) -> None:
        self._channel = channel
        self._mark = f"#{secrets.token_hex(6)}:"
        self.out, self.err = bytearray(), bytearray()
        self.ended = False
        channel.exec_command(with_exit_code(command_text(program.words, shell=True), self._mark))
        channel.setblocking(False)

    @property
    def stands(self) -> bool:
        """Whether it still runs, as far as is known."""
        return not self.ended and not has_ended(self._channel)

    def ask(self, question: Question, *, left_s: Callable[[], float]) -> bool:
        """Ask, and wait for the answer or the end; returns whether the question was accepted.

        Raises:
            TimeoutError: The deadline has passed.
        """
        self.out.clear()
        self.err.clear()
        left = memoryview(question.data)
        accepted = not question.accepted
        while True:
            moved = drain(self._channel, self.out, self.err)
            if not accepted and self.out.startswith(question.accepted):
                accepted = True
                del self.out[: len(question.accepted)]
            if accepted and question.answered(bytes(self.out)):
                return True
            if left and self._channel.send_ready():
                left = send(self._channel, left, end=False)
                moved = True
            if moved:
                continue
            if has_ended(self._channel):
                drain(self._channel, self.out, self.err)
                self.ended = True
                return accepted
            waits = left_s()
            if waits <= 0:
                raise TimeoutError
            # The descriptor shows incoming data only; whether the window has room for input must be checked again.
            select.select([self._channel.fileno()], [], [], min(waits, _POLL_S if left or self._channel.eof_received else 1.0))

    def exit_code(self) -> int | None:
        """Take the exit code out of the output; None if the guest closed the connection without one."""
        out, code = take_exit_code(bytes(self.out), self._mark)
        self.out[:] = out
        if code is None and self._channel.exit_status_ready():
            code = self._channel.recv_exit_status()
        return None if code in (None, -1) else code

    def close(self) -> None:
        self._channel.close()


class StandingSessions:
    """The processes of resident programs on a connection, one of each program.

    Args:
        open_session: Opens a session channel within so many seconds, on a new connection if the last one is lost.
        clock: Monotonic seconds.
    """

    def __init__(self, open_session: Callable[[float], paramiko.Channel], clock: Callable[[], float]) -> None:
        self._open_session = open_session
        self._clock = clock
        self._sessions: dict[tuple[str, ...], _Session] = {}

    def ask(
        self,
        program: StandingProgram,
        question: Question,
        *,
        timeout: float,
        line: str,
        hung: Callable[[bytes], GuestHung],
    ) -> Answer:
        """See :meth:`lab.guest.standing.Converses.ask`; ``hung`` makes the error of a time-out from the output so far."""
        started = self._clock()
        stood = True
        while stood:
            stood, session = self._take(program, timeout)
            try:
                accepted = session.ask(question, left_s=lambda: started + timeout - self._clock())
            except TimeoutError:
                session.close()
                raise hung(bytes(session.out + session.err)) from None
            except BaseException:  # after any error: the next output may belong to this answer
                session.close()
                raise
            if not session.ended:
                self._sessions[program.words] = session
            if accepted:
                break
        code = session.exit_code() if session.ended else None
        if session.ended:
            session.close()
            if code is None:
                raise TransportError(f"`{line[:200]}` ended without an exit code: the guest closed the connection")
        return Answer(
            stdout=bytes(session.out),
            stderr=bytes(session.err),
            exit_code=None if code is None else code & 0xFFFFFFFF,
            duration_s=self._clock() - started,
            accepted=accepted,
        )

    def _take(self, program: StandingProgram, timeout: float) -> tuple[bool, _Session]:
        """Whether a process was running already, and its session; else that of a new one."""
        session = self._sessions.pop(program.words, None)
        if session is not None and session.stands:
            return True, session
        return False, _Session(self._open_session(timeout), program)

    def forget(self) -> None:
        """Forget them: their connection is lost."""
        self._sessions.clear()
