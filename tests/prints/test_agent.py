"""Requests to the guest's print agent: over an open connection, again over a new one, and never with a late answer."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from lab.errors import GuestExited
from lab.prints.agent import PrintAgent


class Ends:
    """The agent's ends of the connections; its answers are prepared before the requests."""

    def __init__(self) -> None:
        self.taken: list[socket.socket] = []
        self.timeouts: list[float] = []
        #: Per connection, in the order of their making: the agent's answers, and whether it has closed the connection.
        self.prepared: list[tuple[bytes, bool]] = []
        self.refuse = False

    def connect(self, timeout: float) -> socket.socket:
        if self.refuse:
            raise ConnectionRefusedError("connection refused")
        self.timeouts.append(timeout)
        ours, theirs = socket.socketpair()
        theirs.settimeout(10)
        self.taken.append(theirs)
        answer, ended = self.prepared.pop(0) if self.prepared else (b"", False)
        theirs.sendall(answer)
        if ended:
            theirs.shutdown(socket.SHUT_WR)
        return ours

    def close(self) -> None:
        for end in self.taken:
            end.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


@pytest.fixture
def agent(ends: Ends) -> Iterator[PrintAgent]:
    made = PrintAgent(ends.connect, "nowhere")
    yield made
    made.close()


class Calls:
    """A callback that counts its calls."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.count = 0
        self._then = then

    def __call__(self) -> None:
        self.count += 1
        self._then()


def kept(ends: Ends, agent: PrintAgent) -> None:
    """Make a connection that has served one request."""
    ends.prepared.append((b"OK\n", False))
    assert agent.ask(b"MARK 0\n", 10) == b"OK\n"
    assert ends.taken[-1].recv(100) == b"MARK 0\n"


def test_a_connection_is_kept(ends: Ends, agent: PrintAgent) -> None:
    kept(ends, agent)
    calls = Calls(lambda: ends.taken[0].sendall(b"OK\n"))
    assert agent.ask(b"MARK 1\n", 10, meanwhile=calls) == b"OK\n"
    assert ends.taken[0].recv(100) == b"MARK 1\n"
    assert (calls.count, len(ends.taken)) == (1, 1)


def test_the_callback_runs_after_the_request_was_sent(ends: Ends, agent: PrintAgent) -> None:
    seen: list[bytes] = []
    kept(ends, agent)

    def look() -> None:
        seen.append(ends.taken[0].recv(100))
        ends.taken[0].sendall(b"OK\n")

    agent.ask(b"WAKE 1 00\n", 10, meanwhile=look)
    assert seen == [b"WAKE 1 00\n"]


def test_a_connection_that_was_dropped_before_is_replaced(ends: Ends, agent: PrintAgent) -> None:
    kept(ends, agent)
    ends.taken[0].close()
    ends.prepared.append((b"OK\n", False))
    calls = Calls()
    assert agent.ask(b"MARK 1\n", 10, meanwhile=calls) == b"OK\n"
    assert ends.taken[1].recv(100) == b"MARK 1\n"
    assert calls.count == 1


def test_a_connection_dropped_instead_of_an_answer_is_replaced_and_the_callback_runs_once(
    ends: Ends, agent: PrintAgent
) -> None:
    kept(ends, agent)
    ends.prepared.append((b"OK\n", False))
    calls = Calls(lambda: ends.taken[0].close())
    assert agent.ask(b"MARK 1\n", 10, meanwhile=calls) == b"OK\n"
    assert ends.taken[1].recv(100) == b"MARK 1\n"
    assert calls.count == 1


def test_a_new_connection_that_is_dropped_is_an_empty_answer_and_not_kept(ends: Ends, agent: PrintAgent) -> None:
    ends.prepared += [(b"", True), (b"OK\n", False)]
    calls = Calls()
    assert agent.ask(b"MARK 1\n", 10, meanwhile=calls) == b""
    assert calls.count == 1
    assert agent.ask(b"MARK 2\n", 10) == b"OK\n"
    assert len(ends.taken) == 2


def test_an_incomplete_answer_is_quoted_and_its_connection_closed(ends: Ends, agent: PrintAgent) -> None:
    ends.prepared += [(b"O", True), (b"OK\n", False)]
    assert agent.ask(b"MARK 1\n", 10) == b"O"
    assert agent.ask(b"MARK 2\n", 10) == b"OK\n"
    assert len(ends.taken) == 2


def test_an_agent_that_cannot_be_reached_is_an_error_and_the_callback_does_not_run(ends: Ends, agent: PrintAgent) -> None:
    ends.refuse = True
    calls = Calls()
    with pytest.raises(ConnectionRefusedError):
        agent.ask(b"MARK 1\n", 10, meanwhile=calls)
    assert calls.count == 0


def test_no_answer_in_time_is_an_error_and_the_connection_is_not_used_again(ends: Ends, agent: PrintAgent) -> None:
    kept(ends, agent)
    calls = Calls()
    with pytest.raises(TimeoutError):
        agent.ask(b"MARK 1\n", 0.01, meanwhile=calls)
    assert (calls.count, len(ends.taken)) == (1, 1)
    ends.prepared.append((b"OK\n", False))
    assert agent.ask(b"MARK 2\n", 10) == b"OK\n"
    assert len(ends.taken) == 2
    assert ends.timeouts == [10, 10]


def test_an_error_of_the_callback_is_raised_and_the_answer_is_dropped(ends: Ends, agent: PrintAgent) -> None:
    kept(ends, agent)

    def fail() -> None:
        ends.taken[0].sendall(b"OK\n")
        raise GuestExited("QEMU has ended")

    with pytest.raises(GuestExited):
        agent.ask(b"WAKE 1 00\n", 10, meanwhile=fail)
    ends.prepared.append((b"ERROR: say MARK <token>\n", False))
    assert agent.ask(b"nonsense\n", 10).startswith(b"ERROR")
    assert len(ends.taken) == 2


def test_late_answers_do_not_count_for_the_next_request(ends: Ends, agent: PrintAgent) -> None:
    kept(ends, agent)
    ends.taken[0].sendall(b"OK\nOK\n")
    assert agent.ask(b"nonsense\n", 10, meanwhile=lambda: ends.taken[0].sendall(b"ERROR\n")) == b"ERROR\n"
    assert len(ends.taken) == 1


def test_one_line_is_one_answer(ends: Ends, agent: PrintAgent) -> None:
    ends.prepared.append((b"OK\nOK\n", False))
    assert agent.ask(b"MARK 1\n", 10) == b"OK\n"


def test_an_answer_in_pieces_is_awaited(ends: Ends, agent: PrintAgent) -> None:
    ends.prepared.append((b"ERROR: " + b"x" * 200, False))
    answer = agent.ask(b"MARK 1\n", 10, meanwhile=lambda: ends.taken[0].sendall(b" end\n"))
    assert answer == b"ERROR: " + b"x" * 200 + b" end\n"


def test_closing_ends_the_connection_and_may_be_repeated(ends: Ends, agent: PrintAgent) -> None:
    kept(ends, agent)
    agent.close()
    agent.close()
    assert ends.taken[0].recv(1) == b""
    ends.prepared.append((b"OK\n", False))
    assert agent.ask(b"MARK 1\n", 10) == b"OK\n"
