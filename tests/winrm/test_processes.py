"""Receive and Send of one command, against a double of its process."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from labwinrm.faults import ABORTED, INPUT_CLOSED, INVALID_PARAMETER, RECEIVE_IN_PROGRESS, TIMED_OUT, FaultKind, WsmanFault
from labwinrm.processes import ClientGone, Command, Output
from labwinrm.stdin import INPUT_WAITING

from tests.winrm.test_shells import IdleProcess

BOTH = ("stdout", "stderr")


class Play:
    """A command and the far side of its process."""

    def __init__(self, grace: float = 5.0) -> None:
        self.process = IdleProcess()
        self.command = Command("C1", self.process, grace)
        self._open = {"stdout": self.process.far_stdout, "stderr": self.process.far_stderr, "stdin": self.process.far_stdin}

    def write(self, name: str, data: bytes) -> None:
        os.write(self._open[name], data)

    def shut(self, *names: str) -> None:
        for name in names:
            # Replaced rather than closed, so that the process's release finds a descriptor to close.
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, self._open[name])
            os.close(nothing)

    def receive(self, *names: str, timeout_s: float = 5.0, limit: int = 100_000, client: int = -1) -> Output:
        return self.command.receive(names or BOTH, timeout_s=timeout_s, limit=limit, client=client)

    def try_to_send(self, data: bytes, timeout_s: float) -> FaultKind | None:
        try:
            self.command.send(data, end=False, timeout_s=timeout_s)
        except WsmanFault as fault:
            return fault.kind
        return None

    def kind_of(self, call: Callable[[], object]) -> FaultKind:
        with pytest.raises(WsmanFault) as caught:
            call()
        return caught.value.kind


@pytest.fixture
def play() -> Iterator[Play]:
    made = Play()
    yield made
    made.command.close()


def test_output_of_a_running_command(play: Play) -> None:
    play.write("stderr", b"e")
    play.write("stdout", b"o\x00\xff")
    assert play.receive() == Output(chunks={"stdout": b"o\x00\xff", "stderr": b"e"}, ended=frozenset(), exit_code=None)


def test_the_end_comes_with_the_last_output(play: Play) -> None:
    play.write("stdout", b"last")
    play.shut(*BOTH)
    play.process.end(0xFFFFFFFF)
    assert play.receive() == Output(chunks={"stdout": b"last"}, ended=frozenset(BOTH), exit_code=0xFFFFFFFF)
    assert play.receive().exit_code == 0xFFFFFFFF  # asked again, it repeats that


def test_a_stream_may_end_before_the_command(play: Play) -> None:
    play.write("stdout", b"x")
    play.shut("stderr")
    assert play.receive() == Output(chunks={"stdout": b"x"}, ended=frozenset({"stderr"}), exit_code=None)
    play.shut("stdout")
    play.process.end(3)
    assert play.receive() == Output(chunks={}, ended=frozenset(BOTH), exit_code=3)


def test_nothing_in_time_is_a_fault(play: Play) -> None:
    assert play.kind_of(lambda: play.receive(timeout_s=0.01)) is TIMED_OUT
    assert play.kind_of(lambda: play.receive(timeout_s=0)) is TIMED_OUT


def test_an_answer_has_a_limit_and_the_rest_waits(play: Play) -> None:
    play.write("stdout", bytes(1000))
    assert len(play.receive(limit=600).chunks["stdout"]) == 600
    assert len(play.receive(limit=600).chunks["stdout"]) == 400


def test_only_the_wanted_stream_is_read(play: Play) -> None:
    play.write("stdout", b"o")
    play.write("stderr", b"e")
    assert play.receive("stderr").chunks == {"stderr": b"e"}
    assert play.receive("stdout").chunks == {"stdout": b"o"}
    assert play.kind_of(lambda: play.receive("pr")) is INVALID_PARAMETER


def test_children_that_keep_the_streams_are_waited_for_a_moment_only() -> None:
    play = Play(grace=0.05)
    play.process.end(7)
    play.write("stdout", b"x")
    outputs = [play.receive()]
    while outputs[-1].exit_code is None:
        outputs.append(play.receive())
    assert b"".join(output.chunks.get("stdout", b"") for output in outputs) == b"x"
    assert outputs[-1].exit_code == 7
    play.command.close()


def test_one_receive_at_a_time_and_closing_ends_it(play: Play) -> None:
    # The first receive holds the lock until the second stream's byte comes; a fault tells that it does.
    kinds: list[FaultKind] = []
    thread = threading.Thread(target=lambda: kinds.append(play.kind_of(lambda: play.receive(timeout_s=30))))
    thread.start()
    while (kind := play.kind_of(lambda: play.receive(timeout_s=0))) is TIMED_OUT:
        pass
    assert kind is RECEIVE_IN_PROGRESS
    play.command.close()
    thread.join()
    assert kinds == [ABORTED]
    assert play.kind_of(play.receive) is ABORTED


def test_a_client_that_hung_up_takes_no_output(play: Play) -> None:
    near, far = socket.socketpair()
    with near:
        far.close()
        with pytest.raises(ClientGone):
            play.receive(client=near.fileno())
        play.write("stdout", b"kept")
        assert play.receive().chunks == {"stdout": b"kept"}


def test_input_reaches_the_command_and_ends(play: Play) -> None:
    play.command.send(b"one ", end=False, timeout_s=5)
    play.command.send(b"two", end=True, timeout_s=5)
    data = b""
    while piece := os.read(play.process.far_stdin, 100):
        data += piece
    assert data == b"one two"
    assert play.kind_of(lambda: play.command.send(b"x", end=False, timeout_s=5)) is INPUT_CLOSED


def test_input_that_is_not_read_waits_up_to_a_limit(play: Play) -> None:
    block = bytes(INPUT_WAITING // 4)
    kinds: list[FaultKind | None] = [None]
    while kinds[-1] is None:
        kinds.append(play.try_to_send(block, timeout_s=0.05))
    assert kinds[-1] is TIMED_OUT
    sent = (len(kinds) - 2) * len(block)
    assert INPUT_WAITING <= sent <= INPUT_WAITING + (1 << 20) + len(block)
    # Nothing of what was accepted is lost.
    play.command.send(b"", end=True, timeout_s=5)
    got = 0
    while piece := os.read(play.process.far_stdin, 1 << 20):
        got += len(piece)
    assert got == sent


def test_input_after_the_command_closed_its_end(play: Play) -> None:
    play.shut("stdin")
    # The first is accepted: only writing it shows that it is not read.
    while (kind := play.try_to_send(b"lost", timeout_s=5)) is None:
        pass
    assert kind is INPUT_CLOSED


def test_closing_with_input_under_way(play: Play) -> None:
    play.command.send(bytes(INPUT_WAITING), end=False, timeout_s=5)
    play.command.close()
    assert play.process.released == 1
    assert play.kind_of(lambda: play.command.send(b"x", end=False, timeout_s=5)) is INPUT_CLOSED


def test_signals_go_to_running_commands_only(play: Play) -> None:
    play.command.interrupt(hard=False)
    play.process.end(0)
    play.command.interrupt(hard=False)
    assert play.process.interrupts == [False]
