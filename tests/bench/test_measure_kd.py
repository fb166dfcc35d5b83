"""The measures of the kernel-debugger port: the decoder, and a live host."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.bench.kdtarget import print_all
from lab.bench.measures.kd import KdMeasure, decode, live, synthetic_capture
from lab.bench.samples import Samples
from lab.errors import EvidenceLost
from lab.prints.kd.packet import RESET, control_packet
from lab.prints.kd.record import Print
from lab.prints.kd.session import Session
from tests.bench.fakes import FakeContext, TickingClock


def keys(found: Samples) -> list[str]:
    return [one.key for one in found.series]


@given(st.lists(st.integers(20, 512), min_size=1, max_size=20), st.integers(0, 5000))
def test_every_print_of_a_synthetic_capture_is_decoded(lengths: list[int], size: int) -> None:
    capture, prints = synthetic_capture(lengths, size)
    assert len(capture) >= size
    assert decode(capture) == prints


def test_rates_are_of_processor_time(context: FakeContext) -> None:
    context.quick, context.count = True, 2
    found = KdMeasure().run(context)
    assert keys(found) == ["kd.mixed", "kd.short", "kd.long", "kd.live", "kd.live.lost"]
    # Each reading of the fake clock takes a second: about a megabyte a second on any host.
    assert found.series[0].values == pytest.approx((1.0, 1.0), abs=0.01)
    assert found.series[-1].values == (0.0, 0.0)


def host_of(port: socket.socket, answers: Callable[[Session, bytes], bytes], heard: list[bytes]) -> None:
    """A debugger's host at the other end of a socket pair, until that is closed."""
    session = Session()
    while data := port.recv(65536):
        session.feed(data, now=0.0)
        heard += [record.raw for record in session.take_records() if isinstance(record, Print)]
        port.sendall(answers(session, session.take_output()))


@pytest.mark.parametrize("resets", [0, 1])
def test_a_simulated_target_waits_for_each_answer_and_restarts_after_a_reset(resets: int) -> None:
    heard: list[bytes] = []
    left = [resets]

    def answers(_session: Session, output: bytes) -> bytes:
        if left[0] and heard:
            left[0] -= 1
            return control_packet(RESET)
        return output

    target, host = socket.socketpair()
    thread = threading.Thread(target=host_of, args=(host, answers, heard))
    thread.start()
    with target:
        took = print_all(target, [b"one\n", b"two\n", b"three\n"], clock=TickingClock(), timeout=10)
    thread.join(10)
    host.close()
    assert took == 1.0
    assert sorted(set(heard)) == [b"one\n", b"three\n", b"two\n"]


def test_a_host_that_does_not_answer_or_ends_is_lost_evidence() -> None:
    target, host = socket.socketpair()
    with target, host, pytest.raises(EvidenceLost, match="did not answer"):
        print_all(target, [b"one\n"], clock=TickingClock(), timeout=0.01)
    target, host = socket.socketpair()
    host.close()
    with target, pytest.raises((EvidenceLost, BrokenPipeError)):
        print_all(target, [b"one\n"], clock=TickingClock(), timeout=10)


def test_every_print_to_the_real_host_is_in_its_records(context: FakeContext) -> None:
    assert live(context, 50) == (1.0, 0)
