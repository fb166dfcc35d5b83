"""Scripts for a resident drvprobe: the frame of an output, which scripts need a process, and the results of answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import CommandFailed, ConfigError, GuestHung, GuestLacks, TransportError
from lab.guest.probe import ProbeScript, run_probe
from lab.guest.probelang import parse_script
from lab.guest.probeserve import framed, needs_process, standing_probe
from lab.guest.standing import Answer, Converses, Question, StandingProgram
from lab.plugin.reader import DeviceReader
from tests.guest.fakes import FakeTransport, result
from tests.guest.test_probe import EXE, line, output

TICK = output(line(1, "tick"))
LINES = st.lists(st.binary(max_size=30).map(lambda data: b"{" + data.replace(b"\n", b" ") + b"\n"), max_size=6)


@given(lines=LINES, token=st.from_regex(r"[0-9a-f]{16}", fullmatch=True))
def test_only_the_whole_output_is_an_answer(lines: list[bytes], token: str) -> None:
    question = framed("tick", token)
    whole = b"".join(lines) + f"end {token}\n".encode()
    assert question.answered(whole)
    assert not any(question.answered(whole[:cut]) for cut in range(len(whole)))


@given(script=st.text(max_size=60), token=st.from_regex(r"[0-9a-f]{16}", fullmatch=True), others=LINES)
def test_a_framed_script_has_its_length_and_token(script: str, token: str, others: list[bytes]) -> None:
    question = framed(script, token)
    header, _, rest = question.data.partition(b"\n")
    assert header.split() == [b"run", token.encode(), str(len(script.encode())).encode()]
    assert rest == script.encode()
    assert question.accepted == f"begin {token}\n".encode()
    assert not question.answered(b"".join(others) + b"end 0\n")


def test_no_line_of_an_operation_looks_like_an_end() -> None:
    question = framed("tick", "a")
    assert not question.answered(output(line(1, "read", data="00", text="\nend a\n")))


def test_no_two_greetings_are_the_same() -> None:
    program = standing_probe(EXE)
    assert program.words == (EXE, "--serve")
    assert program.greet().data != program.greet().data


@pytest.mark.parametrize("script", ["tick", "open h X; aread h 5", "@a tick; @b tick; go", "service stop exit"])
def test_most_scripts_need_no_process_of_their_own(script: str) -> None:
    assert not needs_process(parse_script(script.replace("open h X", "open h X overlapped=1")))


@pytest.mark.parametrize("script", ["exit", "tick; exit 3", "@a exit 1; go", "$p tick; go"])
def test_scripts_that_end_or_start_processes_need_one(script: str) -> None:
    assert needs_process(parse_script(script))


@dataclass
class Talker(FakeTransport):
    """A transport that converses."""

    answer: Callable[[str], Answer | Exception]
    questions: list[tuple[tuple[str, ...], bytes, float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(lambda _sent: result(TICK))

    def ask(self, program: StandingProgram, question: Question, *, timeout: float, line: str = "") -> Answer:
        self.questions.append((program.words, question.data, timeout, line))
        answer = self.answer(question.data.split()[1].decode())
        if isinstance(answer, Exception):
            raise answer
        assert answer.exit_code is not None or question.answered(answer.stdout)
        return answer


def answer(stdout: bytes, code: int | None = None) -> Answer:
    return Answer(stdout=stdout, stderr=b"", exit_code=code, duration_s=0.5)


def talker(stdout: bytes, code: int | None = None) -> Talker:
    return Talker(lambda token: answer(stdout + (f"end {token}\n".encode() if code is None else b""), code))


def test_a_transport_that_converses_is_asked() -> None:
    transport = talker(TICK)
    assert isinstance(transport, Converses)
    done = run_probe(transport, EXE, "tick\nsleep 5", 7)
    assert ([op.op for op in done.operations], done.exit_code, transport.sent) == (["tick"], 0, [])
    [(words, data, timeout, shown)] = transport.questions
    assert (words, timeout, shown) == ((EXE, "--serve"), 7, f'{EXE} "tick; sleep 5"')
    assert re.fullmatch(rb"run [0-9a-f]{16} 12\ntick\nsleep 5", data)


class Learner(Talker):
    """A transport to a guest with a virtual clock."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.learned: list[float] = []

    def answered(self, at: float) -> None:
        self.learned.append(at)


def test_a_script_tells_when_it_has_ended() -> None:
    transport = Learner(lambda token: answer(TICK + f"end {token} 12345678\n".encode()))
    assert len(run_probe(transport, EXE, "tick").operations) == 1
    assert transport.learned == [12.345678]
    transport.answer = lambda token: answer(TICK + f"end {token}\n".encode())  # a drvprobe that was built before
    run_probe(transport, EXE, "tick")
    assert len(transport.learned) == 1


@pytest.mark.parametrize(("script", "fresh"), [("tick", True), (ProbeScript().exit(0), False), ("$p tick; go", False)])
def test_a_script_for_a_process_of_its_own_gets_one(script: str | ProbeScript, fresh: bool) -> None:
    transport = talker(TICK)
    run_probe(transport, EXE, script, fresh=fresh)
    assert (len(transport.sent), transport.questions) == (1, [])


def test_a_reader_asks_for_a_process_of_its_own() -> None:
    transport = talker(TICK)
    reader = DeviceReader(transport, EXE, r"\\.\X")
    reader.run("tick")
    reader.run("tick", fresh=True)
    assert (len(transport.sent), len(transport.questions)) == (1, 1)


def test_a_transport_that_does_not_converse_starts_a_process() -> None:
    transport = FakeTransport([result(TICK)])
    assert not isinstance(transport, Converses)
    run_probe(transport, EXE, "tick")
    assert transport.sent[0].command == (EXE, "tick")


def test_a_script_that_leaves_requests_pending_ends_the_process_with_a_normal_result() -> None:
    done = run_probe(talker(TICK, code=0), EXE, "tick")
    assert (len(done.operations), done.exit_code) == (1, 0)


def test_a_process_that_crashes_is_a_failure_as_in_a_process_of_its_own() -> None:
    with pytest.raises(CommandFailed, match="STATUS_ACCESS_VIOLATION") as caught:
        run_probe(talker(TICK, code=0xC0000005), EXE, "tick")
    assert caught.value.exit_code == 0xC0000005


def test_errors_in_the_script_are_reported() -> None:
    error = {"seq": 1, "op": "error", "thread": "main", "handle": None, "message": "no", "text": "tick", "needs": None}
    with pytest.raises(ConfigError, match="drvprobe: no in `tick`"):
        run_probe(talker(output(error), code=2), EXE, "tick")
    with pytest.raises(GuestLacks):
        run_probe(talker(output(error | {"needs": "cancel_one"}), code=2), EXE, "tick")


@pytest.mark.parametrize("garbage", [b"?", b"\xff\xfe\n", b"end of file\n", TICK[:-9] + b"\n"])
def test_garbage_is_an_error_of_the_transport(garbage: bytes) -> None:
    with pytest.raises(TransportError):
        run_probe(talker(garbage if garbage.endswith(b"\n") else garbage + b"\n"), EXE, "tick")


@pytest.mark.parametrize("error", [TransportError("no answer"), GuestHung("it did not end")])
def test_errors_of_the_guest_pass(error: Exception) -> None:
    with pytest.raises(type(error)):
        run_probe(Talker(lambda _token: error), EXE, "tick")
