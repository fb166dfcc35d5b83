"""The usual ways to prove a statement: a command in a guest, a run of suites, a look at the build, a question to a person."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from lab.gate.exitcode import CRASH, OK, PRODUCT, TEST
from lab.guest.protocol import CommandResult
from lab.proofs.statement import Bench, Need, Outcome, decided, not_reached

#: The image in commands for people.
EXAMPLE = "windows-server-2022"
_COMMAND_S = 300.0
_QUOTED = 400
#: What a run says of its drivers or its suites, and so of the guest that they ran in.
RED = (PRODUCT, CRASH, TEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class InGuest:
    r"""A command in the guest, and what it must answer.

    Attributes:
        command: A line for cmd. Only words that are the same in every language of Windows can be looked for.
        says: Regular expression that its output contains; case and line ends do not matter.
        never: One that its output does not contain.
        exit_code: How it ends; None: in any way.
        seen: What is to be seen, for people: Markdown.
        debugger: In the guest with its kernel debugger on.
    """

    command: str
    says: str = ""
    never: str = ""
    exit_code: int | None = 0
    seen: str
    debugger: bool = False

    @property
    def needs(self) -> Need:
        """See :class:`lab.proofs.statement.Proof`."""
        return "kd" if self.debugger else "guest"

    @property
    def by_hand(self) -> str:
        """See :class:`lab.proofs.statement.Proof`."""
        where = " of a guest with `debug: kd`" if self.debugger else ""
        return f"{in_guest(self.command)}{where}: {self.seen}"

    def prove(self, bench: Bench) -> Outcome:
        """See :class:`lab.proofs.statement.Proof`."""
        transport = bench.debugged() if self.debugger else bench.guest()
        return self.judge(transport.run(self.command, timeout=_COMMAND_S))

    def judge(self, result: CommandResult) -> Outcome:
        """What an answer says of the statement."""
        text = result.text + result.error_text
        flags = re.IGNORECASE | re.MULTILINE
        holds = self.exit_code is None or result.exit_code == self.exit_code
        holds = holds and (not self.says or re.search(self.says, text, flags) is not None)
        return decided(holds and not (self.never and re.search(self.never, text, flags)), answer(result))


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitesPass:
    """A run of suites that must end with 0.

    Attributes:
        suites: Their paths in the repository; empty: all.
        options: More words of `lab run`.
        debugger: With ``debug: kd``.
        before: The rest of the sentence before the command, for people.
        guest: Another image than the one under proof; empty: that one.
    """

    suites: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    debugger: bool = False
    before: str = ""
    guest: str = ""
    needs: Need = "run"

    @property
    def by_hand(self) -> str:
        """See :class:`lab.proofs.statement.Proof`."""
        line = " ".join(["lab run --guest", self.guest or EXAMPLE, *self.options, *self.suites])
        return f"{self.before}`{line}`" + (" with `debug: kd`" if self.debugger else "") + " ends with 0"

    def prove(self, bench: Bench) -> Outcome:
        """See :class:`lab.proofs.statement.Proof`."""
        command = bench.debug_lab if self.debugger else bench.lab
        result = command("run", "--guest", self.guest or str(bench.folder), *self.options, *self.suites)
        if result.exit_code not in (OK, *RED):
            # Wrong usage, nothing checked, a failure of the lab, an interrupt: they say nothing of Windows.
            return not_reached(f"the run decided nothing: {answer(result)}")
        return decided(result.exit_code == OK, answer(result))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A proof in some lines of Python.

    Attributes:
        decide: Finds out; see :meth:`lab.proofs.statement.Proof.prove`.
        by_hand: See :class:`lab.proofs.statement.Proof`.
        needs: See :class:`lab.proofs.statement.Proof`.
    """

    decide: Callable[[Bench], Outcome]
    by_hand: str
    needs: Need

    def prove(self, bench: Bench) -> Outcome:
        """See :class:`lab.proofs.statement.Proof`."""
        return self.decide(bench)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A proof that needs a person: something to be looked at, or a package of theirs.

    Attributes:
        question: What is asked: can be answered with yes or no.
        by_hand: See :class:`lab.proofs.statement.Proof`.
    """

    question: str
    by_hand: str
    needs: Need = "person"

    def prove(self, bench: Bench) -> Outcome:
        """See :class:`lab.proofs.statement.Proof`."""
        return bench.ask(self.question, self.by_hand)


def in_guest(command: str) -> str:
    """The command by which a user runs a line in a guest, as Markdown."""
    return f"`lab run-in-guest -- {command}`"


def powershell(script: str) -> str:
    """A line for cmd that runs a script without quotation marks; the marks keep its pipes from cmd."""
    return f'powershell.exe -NoProfile -NonInteractive -Command "{script}"'


def answer(result: CommandResult) -> str:
    """What a command answered, in one or some lines: exit code and the end of its output."""
    text = (result.text + result.error_text).strip()
    short = text if len(text) <= _QUOTED else f"…{text[-_QUOTED:]}"
    return f"exit code {result.exit_code}" + (f": {short}" if short else "")


def build_line(name: str, *options: str) -> str:
    """The command that builds an image, as Markdown."""
    return f"`{shlex.join(['lab', 'image', 'build', name, '--iso', 'PATH', *options])}`"
