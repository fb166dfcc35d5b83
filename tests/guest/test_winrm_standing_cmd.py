"""The standing cmd: which lines it gets, how its answers are separated, and that no error of it loses a command."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import GuestHung, TransportError
from lab.guest.winrm.protocol import Running
from lab.guest.winrm.standing_cmd import CMD, StandingCmd, fits, framed, taken
from tests.guest.fakes import FakeClock

Answer = Callable[[str], tuple[bytes, bytes, bool]]


READS = r"""
ver
VER
echo hello
echo  two  blanks
echo "quoted"
vol C:
dir
dir C:\lab
dir\windows
dir /b /s C:\lab
type "C:\a b.txt"
type ..\x
echo once more
dir C:\console
echo icon.txt
"""

DOES_NOT = r"""
sc query x
set x=1
cd \
exit 7
copy a b
del x
more x
pause
verify on
typeperf
dirs
echo
echo on
echo OFF
echo.
echo.x
@echo off
echo a & ver
ver > x
ver | more
echo %PATH%
echo ^
echo !x!
(ver)
type <x
dir /p
dir C:\ /P
dir /w/p
ver /?
echo / ?
type con
type CON
type C:\con
type con.txt
type con:
type "con"
echo "open
echo 中文
"""


@pytest.mark.parametrize("line", READS.strip().splitlines())
def test_commands_that_only_read_fit(line: str) -> None:
    assert fits(line)


@pytest.mark.parametrize(
    "line", [*DOES_NOT.strip().splitlines(), "", "echo ", "echo  off ", "ver\nver", "echo a\rb", f"echo {'x' * 2000}"]
)
def test_commands_that_change_state_or_wait_do_not_fit(line: str) -> None:
    assert not fits(line)


LINES = st.text(alphabet=st.characters(codec="ascii"), max_size=30)


@given(head=st.sampled_from(["echo ", "ver", "dir ", "type ", "vol "]), rest=LINES)
def test_only_one_plain_command_fits(head: str, rest: str) -> None:
    line = head + rest
    if fits(line):
        assert not re.search(r"[&|()<>^%!\r\n]", line)
        assert line.count('"') % 2 == 0
        sent = framed(line, "#m:").decode()
        assert sent.count("\n") == 1
        assert f"& {line}&" in sent


@given(
    out=st.binary(max_size=40), err=st.binary(max_size=40), level=st.integers(-(2**31), 2**31 - 1), prompt=st.binary(max_size=9)
)
def test_answers_are_taken_from_between_their_marks(out: bytes, err: bytes, level: int, prompt: bytes) -> None:
    mark = "#0123456789ab.7:"
    stdout = prompt + b"#0123456789ab.7:b\r\n" + out + b"#0123456789ab.7:%d\r\n" % level
    stderr = err + b"#0123456789ab.7: \r\n"
    assert taken(stdout, stderr, mark) == (out, err, level)
    for cut in range(len(stdout)):
        assert taken(stdout[:cut], stderr, mark) is None
    for cut in range(len(stderr)):
        assert taken(stdout, stderr[:cut], mark) is None


def test_an_echoed_line_is_not_an_answer() -> None:
    line = framed("ver", "#m:")
    assert taken(line, line, "#m:") is None


@dataclass
class FakeShell:
    """The transport's requests, and a cmd that answers by a function."""

    clock: FakeClock
    answer: Answer
    log: list[str] = field(default_factory=list)
    starts: bool = True
    takes: bool = True
    lost: Exception | None = None
    #: Called by `ready`, to replace the shell under the standing cmd.
    on_ready: Callable[[], None] = lambda: None

    def ready(self) -> None:
        self.on_ready()

    def start(self, line: str, timeout: float) -> Running:
        self.log.append("start")
        assert line == CMD
        run = Running(line, self.clock() + timeout, timeout)
        run.command_id = f"id{len(self.log)}" if self.starts else ""
        return run

    def send(self, run: Running, data: bytes) -> bool:
        self.log.append(f"send {run.command_id}")
        self._line = data.decode()
        return self.takes

    def receive(self, run: Running) -> None:
        self.log.append("receive")
        if self.lost:
            raise self.lost
        out, err, run.done = self.answer(self._line)
        run.stdout.append(out)
        run.stderr.append(err)


def reply(line: str) -> tuple[bytes, bytes, bool]:
    """The answer of a working cmd to `echo x`."""
    found = re.search(r"echo (#\S+:)b& ", line)
    assert found
    mark = found.group(1)
    return f"{mark}b\r\nx\r\n{mark}3\r\n".encode(), f"oh\r\n{mark} \r\n".encode(), False


@pytest.fixture
def shell() -> FakeShell:
    return FakeShell(FakeClock(), reply)


@pytest.fixture
def standing(shell: FakeShell) -> StandingCmd:
    standing = StandingCmd(shell, shell.clock)
    assert standing.run("echo x", 9) is None  # the first command does not start a standing process
    return standing


def test_from_the_second_line_on_one_cmd_serves(standing: StandingCmd, shell: FakeShell) -> None:
    for _ in range(3):
        done = standing.run("echo x", 9)
        assert done is not None
        assert (done.command, done.exit_code, done.stdout, done.stderr) == ("echo x", 3, b"x\r\n", b"oh\r\n")
    assert shell.log == ["start", *["send id1", "receive"] * 3]


def test_an_answer_in_pieces_is_awaited(standing: StandingCmd, shell: FakeShell) -> None:
    whole = [b""]

    def one_byte_at_a_time(line: str) -> tuple[bytes, bytes, bool]:
        out, err, _ = reply(line)
        whole[0] = whole[0] or out
        piece, whole[0] = whole[0][:1], whole[0][1:] or b"?"
        return piece, err if piece != b"?" else b"", False

    shell.answer = one_byte_at_a_time
    done = standing.run("echo x", 9)
    assert done is not None
    assert done.stdout == b"x\r\n"


def test_lines_that_do_not_fit_never_reach_it(standing: StandingCmd, shell: FakeShell) -> None:
    assert standing.run("set x=1", 9) is None
    assert shell.log == []


def test_a_cmd_that_ends_is_given_up_after_two_tries(standing: StandingCmd, shell: FakeShell) -> None:
    shell.answer = lambda _line: (b"", b"", True)
    assert [standing.run("echo x", 9) for _ in range(4)] == [None] * 4
    assert shell.log == ["start", "send id1", "receive", "start", "send id4", "receive"]


def test_a_cmd_that_does_not_start_is_given_up(standing: StandingCmd, shell: FakeShell) -> None:
    shell.starts = False
    assert [standing.run("echo x", 9) for _ in range(4)] == [None] * 4
    assert shell.log == ["start", "start"]


def test_a_lost_shell_is_no_failure(standing: StandingCmd, shell: FakeShell) -> None:
    assert standing.run("echo x", 9) is not None
    for _ in range(3):
        shell.takes = False
        assert standing.run("echo x", 9) is None
        shell.takes = True
        assert standing.run("echo x", 9) is not None


def test_a_new_shell_gets_a_new_cmd(standing: StandingCmd, shell: FakeShell) -> None:
    assert standing.run("echo x", 9) is not None
    shell.on_ready = standing.forget
    assert standing.run("echo x", 9) is not None
    assert shell.log == ["start", "send id1", "receive", "start", "send id4", "receive"]


@pytest.mark.parametrize("error", [TransportError("no answer"), GuestHung("it did not end")])
def test_errors_of_the_guest_are_raised_and_the_cmd_dropped(standing: StandingCmd, shell: FakeShell, error: Exception) -> None:
    shell.lost = error
    with pytest.raises(type(error)):
        standing.run("echo x", 9)
    shell.lost = None
    assert standing.run("echo x", 9) is not None
    assert shell.log.count("start") == 2


def test_a_waiting_cmd_is_used_from_the_first_line_on(shell: FakeShell) -> None:
    standing = StandingCmd(shell, shell.clock)
    assert standing.command_id == ""
    standing.take("parked")
    assert standing.command_id == "parked"
    for _ in range(2):
        done = standing.run("echo x", 9)
        assert done is not None
        assert (done.stdout, done.exit_code) == (b"x\r\n", 3)
    assert shell.log == ["send parked", "receive"] * 2


def test_commands_that_do_not_fit_bypass_a_waiting_cmd(shell: FakeShell) -> None:
    standing = StandingCmd(shell, shell.clock)
    standing.take("parked")
    assert standing.run("set x=1", 9) is None
    assert shell.log == []
    assert standing.run("echo x", 9) is not None


def test_a_waiting_cmd_whose_shell_is_gone_is_replaced(shell: FakeShell) -> None:
    standing = StandingCmd(shell, shell.clock)
    standing.take("parked")
    shell.takes = False
    assert standing.run("echo x", 9) is None
    shell.takes = True
    assert standing.run("echo x", 9) is not None
    assert shell.log == ["send parked", "start", "send id2", "receive"]


def test_a_waiting_cmd_that_has_ended_is_replaced_and_counts_as_a_failure(shell: FakeShell) -> None:
    standing = StandingCmd(shell, shell.clock)
    standing.take("parked")
    shell.answer = lambda _line: (b"", b"", True)
    assert [standing.run("echo x", 9) for _ in range(3)] == [None] * 3
    assert shell.log == ["send parked", "receive", "start", "send id3", "receive"]


def test_a_resumed_cmd_replaces_the_one_before(standing: StandingCmd, shell: FakeShell) -> None:
    assert standing.run("echo x", 9) is not None
    standing.take("parked")
    assert standing.run("echo x", 9) is not None
    assert shell.log[-2:] == ["send parked", "receive"]
    standing.forget()
    assert standing.command_id == ""
    assert standing.run("echo x", 9) is not None
    assert shell.log.count("start") == 2


def test_old_output_of_a_waiting_cmd_is_not_an_answer(shell: FakeShell) -> None:
    # The prompt, and the rest of the snapshot's own command.
    shell.answer = lambda line: (b"4be1c2\r\nC:\\>" + reply(line)[0], reply(line)[1], False)
    standing = StandingCmd(shell, shell.clock)
    standing.take("parked")
    done = standing.run("echo x", 9)
    assert done is not None
    assert done.stdout == b"x\r\n"
