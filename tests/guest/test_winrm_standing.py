"""Resident programs in a WinRM shell, against the guest's service: which process answers, and which questions are repeated."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from winrm.exceptions import WSManFaultError

from lab.errors import GuestHung, TransportError
from lab.guest.probeserve import framed, standing_probe
from lab.guest.standing import Answer, Converses
from lab.guest.winrm import shell as winrm_shell
from lab.guest.winrm.protocol import SEND_CHUNK
from lab.guest.winrm.transport import WinRmTransport, open_winrm
from tests.guest.conftest import PASSWORD, WinRmGuest
from tests.guest.fakes import FakeClock
from tests.guest.test_winrm_requests import FakeProtocol, fault

PROBE = standing_probe(r"C:\lab\run\drvprobe.exe")
TOKENS = iter(f"t{number}" for number in range(10_000))


def ask(transport: WinRmTransport, script: str, *, timeout: float = 30) -> Answer:
    return transport.ask(PROBE, framed(script, next(TOKENS)), timeout=timeout, line=f"drvprobe {script[:60]}")


def said(answer: Answer) -> list[str]:
    """The output of a script's operations; its last line marks the end."""
    *lines, end = answer.stdout.decode().splitlines()
    assert end.startswith("end t")
    assert answer.exit_code is None
    return [json.loads(line)["said"] for line in lines]


def pid_of(transport: WinRmTransport) -> int:
    [pid] = said(ask(transport, "pid"))
    return int(pid)


def test_the_transport_converses(winrm: WinRmTransport) -> None:
    assert isinstance(winrm, Converses)


def test_one_process_answers_one_question_after_the_other_beside_other_commands(winrm: WinRmTransport) -> None:
    first = pid_of(winrm)
    assert winrm.run("true && echo other", timeout=30).text == "other\n"
    assert said(ask(winrm, "say one\nsay two")) == ["one", "two"]
    assert pid_of(winrm) == first


def test_a_question_takes_two_requests(clock: FakeClock) -> None:
    fake = FakeProtocol(clock)
    transport = WinRmTransport(lambda: fake, "WinRM on x", clock=clock)
    for token in ("a", "b"):
        fake.outputs = [(f"begin {token}\n{{}}\nend {token}\n".encode(), b"", -1, False)]
        answer = transport.ask(PROBE, framed("tick", token), timeout=9)
        assert (answer.stdout, answer.exit_code) == (f"{{}}\nend {token}\n".encode(), None)
    assert fake.log == [
        "open",
        r"run C:\lab\run\drvprobe.exe ['--serve'] direct=True",
        *["send 12", "receive"] * 2,
    ]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_both_streams_are_returned(winrm: WinRmTransport) -> None:
    answer = ask(winrm, "warn oh no")
    assert answer.stderr == b"oh no"
    assert ask(winrm, "tick").stderr == b""


def test_a_script_that_ends_the_process_has_its_exit_code_and_the_next_gets_another(winrm: WinRmTransport) -> None:
    first = pid_of(winrm)
    done = ask(winrm, "say here\nexit 7")
    assert (done.exit_code, json.loads(done.stdout)["said"]) == (7, "here")
    assert pid_of(winrm) != first


def test_a_process_that_ended_between_two_questions_is_replaced(winrm: WinRmTransport) -> None:
    os.kill(pid_of(winrm), signal.SIGKILL)
    assert said(ask(winrm, "say once")) == ["once"]
    said(ask(winrm, "last"))
    assert said(ask(winrm, "say again")) == ["again"]


def test_an_end_after_a_whole_answer_does_not_belong_to_the_question(clock: FakeClock) -> None:
    fake = FakeProtocol(clock, outputs=[(b"begin a\n{}\nend a\n", b"", 5, True)])
    transport = WinRmTransport(lambda: fake, "WinRM on x", clock=clock)
    assert transport.ask(PROBE, framed("tick", "a"), timeout=9).exit_code is None
    fake.outputs = [(b"begin b\n{}\nend b\n", b"", -1, False)]
    assert transport.ask(PROBE, framed("tick", "b"), timeout=9).exit_code is None
    assert sum(entry.startswith("run") for entry in fake.log) == 2


def test_a_process_that_never_accepts_is_not_asked_a_third_time(winrm: WinRmTransport) -> None:
    first = pid_of(winrm)
    assert ask(winrm, "deaf").exit_code == 9
    assert pid_of(winrm) != first


def test_an_accepted_question_is_never_asked_again(winrm: WinRmTransport, tmp_path: Path) -> None:
    pid_of(winrm)
    answer = ask(winrm, "exit 3")
    assert (answer.exit_code, answer.stdout) == (3, b"")


def test_a_script_at_its_deadline_ends_the_process_and_the_next_gets_another(winrm: WinRmTransport) -> None:
    first = pid_of(winrm)
    with pytest.raises(
        GuestHung, match=r"in the guest, `drvprobe hang` did not end within 2 s; it was terminated; it had written: so far"
    ):
        ask(winrm, "hang", timeout=2)
    assert not Path(f"/proc/{first}").exists()
    assert pid_of(winrm) != first


def test_a_long_script_arrives_whole(winrm: WinRmTransport) -> None:
    text = "x" * (2 * SEND_CHUNK + 17)
    assert said(ask(winrm, f"say {text}\nsay end")) == [text, "end"]


def test_a_program_that_is_not_there_ends_with_the_windows_error(clock: FakeClock) -> None:
    fake = FakeProtocol(clock, starts=[fault(2, "The system cannot find the file specified.")])
    answer = WinRmTransport(lambda: fake, "WinRM on x", clock=clock).ask(PROBE, framed("tick", "a"), timeout=9)
    assert (answer.exit_code, b"cannot find the file" in answer.stderr) == (2, True)
    assert not [entry for entry in fake.log if entry.startswith("send")]


def test_a_shell_that_the_guest_has_lost_ends_the_process(winrm: WinRmTransport, winrm_guest: WinRmGuest) -> None:
    first = pid_of(winrm)
    [shell] = winrm_guest.server._shells._shells
    winrm_guest.server._shells.delete(shell)
    assert pid_of(winrm) != first


def test_a_new_shell_gets_a_new_process(winrm: WinRmTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pid_of(winrm)
    monkeypatch.setattr(winrm_shell, "COMMANDS_PER_SHELL", 1)
    assert pid_of(winrm) != first
    assert not Path(f"/proc/{first}").exists()


def test_a_lost_process_that_got_nothing_is_replaced_once(clock: FakeClock) -> None:
    fake = FakeProtocol(clock, sends=[fault(2150858843), fault(2150858843)])
    transport = WinRmTransport(lambda: fake, "WinRM on x", clock=clock)
    with pytest.raises(TransportError, match="sending input"):
        transport.ask(PROBE, framed("tick", "a"), timeout=9)
    assert [entry.split()[0] for entry in fake.log] == ["open", "run", "send", "delete", "open", "run", "send", "delete"]


@pytest.mark.parametrize("problem", [WSManFaultError(500, "bad", "<x/>", "No.", "s:Sender", "w:X", 5), OSError("reset")])
def test_a_question_whose_answer_is_lost_is_an_error_and_the_process_is_not_trusted_any_more(
    clock: FakeClock, problem: Exception
) -> None:
    fake = FakeProtocol(clock, outputs=[(b"begin a\n", b"", -1, False), problem])
    transport = WinRmTransport(lambda: fake, "WinRM on x", clock=clock)
    with pytest.raises(TransportError):
        transport.ask(PROBE, framed("tick", "a"), timeout=9)
    fake.outputs = [(b"begin b\nend b\n", b"", -1, False)]
    assert transport.ask(PROBE, framed("tick", "b"), timeout=9).exit_code is None
    assert sum(entry.startswith("run") for entry in fake.log) == 2
    assert sum(entry.startswith("send") for entry in fake.log) == 2


def test_an_interrupted_question_leaves_no_process_that_answers_the_next(clock: FakeClock) -> None:
    fake = FakeProtocol(clock)
    transport = WinRmTransport(lambda: fake, "WinRM on x", clock=clock)

    def interrupted(*_given: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake, "get_command_output_raw", interrupted)
        with pytest.raises(KeyboardInterrupt):
            transport.ask(PROBE, framed("tick", "a"), timeout=9)
    fake.outputs = [(b"begin b\nend b\n", b"", -1, False)]
    transport.ask(PROBE, framed("tick", "b"), timeout=9)
    assert sum(entry.startswith("run") for entry in fake.log) == 2


# -- snapshots ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def other(winrm_guest: WinRmGuest) -> Iterator[WinRmTransport]:
    """Another connection to the same guest."""
    transport = open_winrm("127.0.0.1", winrm_guest.port, "lab", SecretStr(PASSWORD))
    yield transport
    transport.abandon()


def test_a_process_that_was_left_in_a_snapshot_answers_in_the_fork(winrm: WinRmTransport, other: WinRmTransport) -> None:
    first = pid_of(winrm)
    state = winrm.park(PROBE, timeout=30)
    assert other.resume(state, PROBE, timeout=30)
    assert pid_of(other) == first


@pytest.mark.parametrize("gone", ["process", "shell"])
def test_a_fork_whose_service_has_given_up_the_process_gets_another_one(
    winrm: WinRmTransport, other: WinRmTransport, winrm_guest: WinRmGuest, gone: str
) -> None:
    """Windows ends an idle shell by its own clock, which was set forward."""
    first = pid_of(winrm)
    state = winrm.park(PROBE, timeout=30)
    shells = winrm_guest.server._shells
    if gone == "shell":
        shells.delete(state["shell"])
    else:
        shells.get(state["shell"]).end_command(state["command"])
    assert not other.resume(state, PROBE, timeout=30)
    assert pid_of(other) != first


def test_a_second_program_stays_beside_the_first(winrm: WinRmTransport, other: WinRmTransport) -> None:
    second = standing_probe(r"C:\lab\other\drvprobe.exe")

    def pid(transport: WinRmTransport) -> list[str]:
        return said(transport.ask(second, framed("pid", next(TOKENS)), timeout=30))

    before = pid(winrm)
    state = winrm.park(PROBE, beside=(second,), timeout=30)
    assert other.resume(state, PROBE, beside=(second,), timeout=30)
    assert pid(other) == before
    assert pid_of(other) != int(before[0])


def test_a_second_program_that_does_not_answer_is_left_to_the_forks(winrm: WinRmTransport) -> None:
    missing = replace(PROBE, words=(r"C:\windows\none.exe",))
    state = winrm.park(PROBE, beside=(missing,), timeout=30)
    assert not [name for name in state if name.startswith("beside")]


def test_another_program_than_was_left_is_an_error(winrm: WinRmTransport, other: WinRmTransport) -> None:
    state = winrm.park(PROBE, timeout=30)
    with pytest.raises(TransportError, match=r"drvprobe\.exe stands in the guest, and not C:\\windows\\system32\\cmd\.exe"):
        other.resume(state, timeout=30)
