"""Waiting for a guest that boots."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.errors import BootTimeout, GuestExited, GuestHung, TransportError
from lab.guest.protocol import CommandResult
from lab.guest.readiness import wait_ready
from tests.guest.fakes import Answer, FakeClock, FakeTransport, Sent, result


class BootingGuest:
    """Opens transports that fail with the given errors first and answer from then on."""

    def __init__(self, clock: FakeClock, *failures: Exception | CommandResult, then: bool = True, takes_s: float = 0.0) -> None:
        self.clock = clock
        self.opened: list[FakeTransport] = []
        self._failures: Iterator[Exception | CommandResult] = iter(failures)
        self._then = then
        self._takes_s = takes_s

    def open(self) -> FakeTransport:
        self.opened.append(FakeTransport(self._answer))
        return self.opened[-1]

    def _answer(self, sent: Sent) -> Answer:
        self.clock.now += self._takes_s
        failure = next(self._failures, None)
        if failure is not None:
            return failure
        if not self._then:
            return TransportError("connection refused")
        assert isinstance(sent.command, str)
        return result(sent.command.removeprefix("echo ") + "\r\n")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_refused_reset_rejected_and_late_answers_are_waited_out(clock: FakeClock) -> None:
    guest = BootingGuest(
        clock,
        TransportError("connection refused"),
        TransportError("connection refused"),
        TransportError("the guest rejected the credentials"),
        GuestHung("did not end"),
        result("", code=1),
        result("something else"),
        TransportError("connection refused"),
    )
    said: list[str] = []
    ready = wait_ready(
        guest.open, deadline=clock() + 60, alive=lambda: True, clock=clock, sleep=clock.sleep, progress=said.append
    )
    assert ready is guest.opened[-1]
    assert guest.opened[-1].closed == 0
    assert [t.closed for t in guest.opened[:-1]] == [1] * 7
    assert said[:3] == ["connection refused", "the guest rejected the credentials", "did not end"]
    assert len(said) == len(set(said))
    assert said[-1] == "ready after 1.8 s"


def test_the_answer_must_be_to_this_question(clock: FakeClock) -> None:
    guest = BootingGuest(clock)
    wait_ready(guest.open, deadline=clock() + 60, alive=lambda: True, clock=clock, sleep=clock.sleep)
    wait_ready(guest.open, deadline=clock() + 60, alive=lambda: True, clock=clock, sleep=clock.sleep)
    first, second = (t.sent[0].command for t in guest.opened)
    assert first != second


def test_labfile_is_asked_without_cmd_and_must_name_the_file(clock: FakeClock) -> None:
    program = r"C:\lab\bin\labfile.exe"
    answers: list[Answer | None] = [
        result(code=2, stderr="the guest refused: no such program C:\\lab\\bin\\labfile.exe"),
        result(code=2, stderr="labfile: cannot open: C:\\0123: Win32 error 2\n"),
        None,
    ]

    def answer(sent: Sent) -> Answer:
        assert not sent.shell
        assert sent.command[:2] == (program, "sum")
        return answers.pop(0) or result(code=2, stderr=f"labfile: cannot open: {sent.command[2]}: Win32 error 2\n")

    wait_ready(
        lambda: FakeTransport(answer),
        deadline=clock() + 60,
        alive=lambda: True,
        labfile=program,
        clock=clock,
        sleep=clock.sleep,
    )
    assert not answers


def test_confirmations_must_follow_each_other(clock: FakeClock) -> None:
    answers: list[Answer | None] = [None, TransportError("reset"), None, None]

    def answer(sent: Sent) -> Answer:
        assert isinstance(sent.command, str)
        return answers.pop(0) or result(sent.command.removeprefix("echo "))

    opened: list[FakeTransport] = []

    def open_transport() -> FakeTransport:
        opened.append(FakeTransport(answer))
        return opened[-1]

    ready = wait_ready(
        open_transport,
        deadline=clock() + 60,
        alive=lambda: True,
        confirmations=2,
        gap_s=5,
        clock=clock,
        sleep=clock.sleep,
    )
    assert not answers
    assert ready is opened[1]
    assert clock.slept == [5, 0.25, 5]


def test_a_guest_that_ends_is_reported_at_once(clock: FakeClock) -> None:
    guest = BootingGuest(clock, then=False)
    with pytest.raises(GuestExited, match=r"(?s)the guest ended after 0.5 s; last try: connection refused.*panic") as caught:
        wait_ready(
            guest.open,
            deadline=clock() + 60,
            alive=lambda: clock.now < 1000.5,
            clock=clock,
            sleep=clock.sleep,
            console=lambda: "boot\nkernel panic\n",
        )
    assert caught.value.message.endswith("    boot\n    kernel panic")


def test_the_deadline_names_the_last_error_and_the_console(clock: FakeClock) -> None:
    guest = BootingGuest(clock, then=False, takes_s=3)
    with pytest.raises(BootTimeout, match=r"no command within 1\d s; last try: connection refused; its last console lines"):
        wait_ready(
            guest.open, deadline=clock() + 10, alive=lambda: True, clock=clock, sleep=clock.sleep, console=lambda: "login:"
        )
    assert 1010 <= clock.now < 1014
    assert all(t.closed == 1 for t in guest.opened)


def test_a_try_never_gets_more_time_than_is_left(clock: FakeClock) -> None:
    guest = BootingGuest(clock, then=False, takes_s=4)
    with pytest.raises(BootTimeout):
        wait_ready(guest.open, deadline=clock() + 10, alive=lambda: True, attempt_s=8, clock=clock, sleep=clock.sleep)
    assert [t.sent[0].timeout for t in guest.opened] == [8, 5.75, 1.5]
