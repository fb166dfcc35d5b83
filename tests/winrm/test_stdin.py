"""A command's input: written at once where there is room, and in order in any case."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labwinrm.faults import INPUT_CLOSED, FaultKind, WsmanFault
from labwinrm.stdin import INPUT_WAITING, Input

#: More than a pipe holds.
FLOOD = 1 << 18


class Pipe:
    """An input and the far end of its pipe."""

    def __init__(self) -> None:
        self.far, near = os.pipe()
        self.input = Input(near)

    def put(self, data: bytes, *, end: bool = False) -> None:
        self.input.put(data, end=end, timeout_s=30)

    def kind(self, data: bytes, timeout_s: float = 30) -> FaultKind:
        with pytest.raises(WsmanFault) as caught:
            self.input.put(data, end=False, timeout_s=timeout_s)
        return caught.value.kind

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (piece := os.read(self.far, size - len(data))):
            data += piece
        return data

    def close(self) -> None:
        self.input.close()
        os.close(self.far)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


@pytest.fixture
def input_threads() -> Callable[[], int]:
    return lambda: sum(thread.name == "labwinrm-input" for thread in threading.enumerate())


def test_what_has_room_is_in_the_pipe_when_put_returns_and_needs_no_thread(
    pipe: Pipe, input_threads: Callable[[], int]
) -> None:
    pipe.put(b"one ")
    pipe.put(b"two")
    os.set_blocking(pipe.far, False)
    assert os.read(pipe.far, 100) == b"one two"
    assert input_threads() == 0


def test_what_has_no_room_waits_and_keeps_its_place(pipe: Pipe, input_threads: Callable[[], int]) -> None:
    first, rest = os.urandom(FLOOD), [b"a" * 10, b"b" * 5000, b"c"]
    pipe.put(first)
    for data in rest:
        pipe.put(data)
    assert input_threads() == 1
    assert pipe.read(len(first)) == first
    assert pipe.read(5011) == b"".join(rest)
    # When the queue is empty, writing is direct again, after what was queued.
    pipe.put(b"later")
    assert pipe.read(5) == b"later"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 90_000), st.booleans()), max_size=12))
def test_order_is_kept_however_input_and_reading_alternate(steps: list[tuple[int, bool]]) -> None:
    pipe = Pipe()
    expected, got = b"", b""
    for number, (size, reads) in enumerate(steps):
        data = bytes([number]) * size
        expected += data
        pipe.put(data)
        if reads:
            got += pipe.read(min(size, len(expected) - len(got)))
    pipe.put(b"", end=True)
    got += pipe.read(len(expected) - len(got) + 1)
    assert got == expected
    pipe.close()


def test_the_end_comes_after_all_input(pipe: Pipe) -> None:
    pipe.put(b"direct ")
    pipe.put(b"last", end=True)
    assert pipe.read(100) == b"direct last"
    assert pipe.kind(b"more") is INPUT_CLOSED


def test_an_empty_put_does_nothing(pipe: Pipe) -> None:
    pipe.put(b"")
    pipe.put(b"x")
    assert pipe.read(1) == b"x"


def test_input_of_a_command_that_has_ended_is_refused_once_that_is_known(pipe: Pipe) -> None:
    pipe.put(b"before")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, pipe.far)
    os.close(nothing)
    pipe.put(b"after")  # accepted: only writing it shows that
    assert pipe.input._thread is not None
    pipe.input._thread.join(30)
    assert pipe.kind(b"again") is INPUT_CLOSED


def test_a_full_pipe_takes_up_to_its_bound_and_nothing_of_what_is_refused(pipe: Pipe) -> None:
    block = os.urandom(1 << 16)
    count = 0
    kinds: list[FaultKind] = []
    while not kinds:
        try:
            pipe.input.put(block, end=False, timeout_s=0)
            count += 1
        except WsmanFault as fault:
            kinds.append(fault.kind)
    assert INPUT_WAITING <= count * len(block) <= INPUT_WAITING + (1 << 20)
    reader: list[bytes] = []
    thread = threading.Thread(target=lambda: reader.append(pipe.read(count * len(block) + 3)))
    thread.start()
    pipe.put(b"end")
    thread.join(30)
    assert reader == [block * count + b"end"]


def test_closing_with_a_full_pipe_ends_the_thread(input_threads: Callable[[], int]) -> None:
    pipe = Pipe()
    pipe.put(bytes(FLOOD))
    assert input_threads() == 1
    pipe.close()
    assert input_threads() == 0
    assert pipe.kind(b"x") is INPUT_CLOSED
