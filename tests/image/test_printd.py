"""The guest's print service: framing, order of marks, and nothing lost, through real pipes and a real terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

FRAME = re.compile(rb"\x1e(\d+);(\d+);")
DEADLINE_S = 20.0


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Decode a stream of frames by their lengths; every byte must belong to one."""
    found, at = [], 0
    while at < len(data):
        match = FRAME.match(data, at)
        assert match, data[at : at + 40]
        end = match.end() + int(match.group(2))
        assert data[end : end + 1] == b"\n"
        found.append((int(match.group(1)), data[match.end() : end]))
        at = end + 1
    return found


class Running:
    """The service at work in a thread."""

    def __init__(self, printd: ModuleType, folder: Path) -> None:
        self.path = folder / "prints"
        os.mkfifo(self.path)
        self.pipe = printd.open_pipe(str(self.path))
        self.master, follower = pty.openpty()
        self.serial = printd.open_serial(os.ttyname(follower))
        os.close(follower)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.stop = threading.Event()
        self.seen = b""
        self.woken: list[tuple[float, bytes]] = []
        self.refuse: OSError | None = None
        self.uptime = 12.3456
        service = printd.Service(self.pipe, self.serial, self.listener, lambda: self.uptime, wake=self.wake)
        self.thread = threading.Thread(target=service.run, args=(self.stop.is_set,), daemon=True)
        self.thread.start()

    def wake(self, seconds: float, entropy: bytes) -> None:
        """Replaces the guest's clock and random numbers."""
        if self.refuse is not None:
            raise self.refuse
        self.woken.append((seconds, entropy))

    def read_until(self, count: int) -> list[tuple[int, bytes]]:
        """Read the serial port until so many complete frames have come."""
        deadline = time.monotonic() + DEADLINE_S
        while self.seen.count(b"\x1e") < count or not self.seen.endswith(b"\n"):
            left = deadline - time.monotonic()
            assert left > 0, f"only {self.seen.count(0x1E)} of {count} frames came"
            if select.select([self.master], [], [], left)[0]:
                self.seen += os.read(self.master, 1 << 16)
        return frames(self.seen)

    def close(self) -> None:
        """End the service and everything that belongs to it."""
        self.stop.set()
        with socket.create_connection(("127.0.0.1", self.port)):
            pass  # wakes the loop
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()
        self.listener.close()
        for descriptor in (self.pipe, self.serial, self.master):
            os.close(descriptor)


@pytest.fixture
def running(printd: ModuleType, tmp_path: Path) -> Iterator[Running]:
    service = Running(printd, tmp_path)
    yield service
    service.close()


def ask(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as client:
        client.sendall(request)
        return client.recv(100)


def test_the_first_line_says_that_the_guest_booted(running: Running) -> None:
    assert running.read_until(1) == [(0, b"lab:boot")]


def test_lines_come_out_numbered_and_unchanged(running: Running) -> None:
    lines = ["读字节长度: 20 ".encode(), b"", b"\x1e3;4;not a frame", b"\xff\x00\x07tab\there\r"]
    with running.path.open("wb", buffering=0) as writer:
        writer.write(b"".join(line + b"\n" for line in lines))
    # One payload holds the lead byte of a frame, so count one more.
    assert running.read_until(6)[1:] == list(enumerate(lines, start=1))


def test_a_mark_comes_after_earlier_prints(running: Running) -> None:
    with running.path.open("wb", buffering=0) as writer:
        for number in range(50):
            writer.write(b"print %d\n" % number)
        assert ask(running.port, b"MARK token-1\n") == b"OK\n"
        writer.write(b"after\n")
        got = [payload for _, payload in running.read_until(53)]
    assert got[1:51] == [b"print %d" % number for number in range(50)]
    assert got[51:] == [b"lab:mark:12.346:token-1", b"after"]


def test_a_mark_does_not_stick_to_an_unfinished_line(running: Running) -> None:
    with running.path.open("wb", buffering=0) as writer:
        writer.write(b"the process died he")
        assert ask(running.port, b"MARK t\n") == b"OK\n"
        assert [payload for _, payload in running.read_until(3)][1:] == [b"the process died he", b"lab:mark:12.346:t"]


def test_several_marks_over_one_connection_and_over_many(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=DEADLINE_S) as one:
        one.sendall(b"MARK a\nMARK ")
        assert one.recv(100) == b"OK\n"
        assert ask(running.port, b"MARK b\n") == b"OK\n"
        one.sendall(b"c\n")
        assert one.recv(100) == b"OK\n"
    tokens = [payload.rpartition(b":")[2] for _, payload in running.read_until(4)[1:]]
    assert tokens == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    "request_line", [b"MARK\n", b"MARK two words\n", b"mark x\n", b"\n", b"MARK \x01\n", b"MARK " + b"x" * 201 + b"\n"]
)
def test_an_invalid_mark_is_refused_and_prints_nothing(running: Running, request_line: bytes) -> None:
    assert ask(running.port, request_line).startswith(b"ERROR") or len(request_line) > 200
    assert ask(running.port, b"MARK end\n") == b"OK\n"
    assert [payload for _, payload in running.read_until(2)] == [b"lab:boot", b"lab:mark:12.346:end"]


def test_a_resumed_guest_gets_the_time_and_random_bytes(running: Running) -> None:
    assert ask(running.port, b"WAKE 1795590907.25 " + b"0f" * 32 + b"\n") == b"OK\n"
    assert running.woken == [(1795590907.25, b"\x0f" * 32)]
    assert ask(running.port, b"MARK after\n") == b"OK\n"
    assert running.read_until(2)[-1][1].endswith(b":after")  # it printed nothing


def test_a_kernel_that_refuses_time_or_random_bytes_is_quoted(running: Running) -> None:
    running.refuse = PermissionError(1, "Operation not permitted")
    assert ask(running.port, b"WAKE 1 " + b"00" * 16 + b"\n") == b"ERROR: Operation not permitted\n"


@pytest.mark.parametrize("line", [b"WAKE", b"WAKE 1", b"WAKE 1 00", b"WAKE x " + b"00" * 16, b"WAKE -1 " + b"00" * 16])
def test_an_invalid_wake_up_request_sets_nothing(running: Running, line: bytes) -> None:
    assert ask(running.port, line + b"\n").startswith(b"ERROR")
    assert running.woken == []


def test_writers_may_come_and_go(running: Running) -> None:
    for number in range(3):
        with running.path.open("wb", buffering=0) as writer:
            writer.write(b"life %d\n" % number)
    assert [payload for _, payload in running.read_until(4)][1:] == [b"life 0", b"life 1", b"life 2"]


def test_a_flood_from_several_writers_loses_nothing(running: Running) -> None:
    writers, each = 4, 1500

    def flood(name: int) -> None:
        with running.path.open("wb", buffering=0) as writer:
            for number in range(each):
                writer.write(b"%d:%06d:%s\n" % (name, number, b"x" * 60))

    threads = [threading.Thread(target=flood, args=(name,)) for name in range(writers)]
    for thread in threads:
        thread.start()
    got = running.read_until(1 + writers * each)
    for thread in threads:
        thread.join(DEADLINE_S)
    assert [sequence for sequence, _ in got] == list(range(1 + writers * each))
    for name in range(writers):
        mine = [int(payload.split(b":")[1]) for _, payload in got[1:] if payload.startswith(b"%d:" % name)]
        assert mine == list(range(each))


def test_a_serial_port_that_takes_nothing_for_a_while_loses_nothing(printd: ModuleType) -> None:
    outbox = printd.Outbox()
    written = bytearray()
    allowed = iter([0, 3, 0, 1, 10, 10_000])

    def write(data: bytes) -> int:
        count = next(allowed)
        if not count:
            raise BlockingIOError
        written.extend(data[:count])
        return min(count, len(data))

    for number in range(20):
        outbox.add(b"line %d" % number)
    total = outbox.size
    while outbox.size:
        outbox.flush(write)
    assert len(written) == total
    assert frames(bytes(written)) == [(number, b"line %d" % number) for number in range(20)]


@given(st.lists(st.binary(max_size=30).map(lambda data: data.translate(None, b"\n\x1d")), max_size=12), st.data())
def test_lines_do_not_depend_on_how_the_stream_is_cut(printd: ModuleType, lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    splitter = printd.LineSplitter()
    got: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += splitter.feed(stream[start:end])
    assert got == lines


@given(st.integers(0, 60), st.booleans())
def test_a_mark_is_a_line_of_its_own_wherever_the_stream_is_cut(printd: ModuleType, cut: int, unfinished: bool) -> None:
    stream = (b"half" if unfinished else b"whole\n") + printd.mark_line(b"MARK t", 1.5) + b"next\n"
    splitter = printd.LineSplitter()
    got = splitter.feed(stream[:cut]) + splitter.feed(stream[cut:])
    assert got == [b"half" if unfinished else b"whole", b"lab:mark:1.500:t", b"next"]


def test_an_endless_line_is_cut(printd: ModuleType) -> None:
    splitter = printd.LineSplitter()
    got = splitter.feed(b"x" * (2 * printd.MAX_LINE + 5)) + splitter.feed(b"\n")
    assert [len(line) for line in got] == [printd.MAX_LINE, printd.MAX_LINE, 5]


def test_a_sleep_is_answered_when_the_guests_time_has_passed_and_blocks_no_other_request(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=DEADLINE_S) as one:
        one.sendall(b"SLEEP 5\n")
        assert ask(running.port, b"MARK meanwhile\n") == b"OK\n"
        one.setblocking(False)
        with pytest.raises(BlockingIOError):
            one.recv(100)
        one.settimeout(DEADLINE_S)
        running.uptime += 5.0
        assert ask(running.port, b"MARK later\n") == b"OK\n"
        assert one.recv(100) == b"OK\n"


def test_a_sleep_of_nothing_is_answered_at_once(running: Running) -> None:
    assert ask(running.port, b"SLEEP 0\n") == b"OK\n"


@pytest.mark.parametrize("line", [b"SLEEP", b"SLEEP x", b"SLEEP -1", b"SLEEP 1e9", b"SLEEP 12345678"])
def test_a_sleep_that_makes_no_sense_is_refused(running: Running, line: bytes) -> None:
    assert ask(running.port, line + b"\n").startswith(b"ERROR")
