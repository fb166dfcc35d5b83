"""The guest's print service on a channel whose other end the VM's owner holds, releases, and holds again."""

from __future__ import annotations

import os
import pty
import socket
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.image.test_printd import Running, ask

DEADLINE_S = 20.0


class Channel:
    """A double of the device at the guest's end: one object for all holders of the other end."""

    def __init__(self) -> None:
        ours, self._end = socket.socketpair()
        ours.close()
        self._end.setblocking(False)

    def hold(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        with theirs:
            os.dup2(theirs.fileno(), self._end.fileno(), inheritable=False)
        ours.settimeout(DEADLINE_S)
        return ours

    def fileno(self) -> int:
        return self._end.fileno()

    def recv(self, size: int) -> bytes:
        return self._end.recv(size)

    def send(self, data: bytes) -> int:
        return self._end.send(data)

    def close(self) -> None:
        self._end.close()


class Served(Running):
    """The service at work, with a channel."""

    def __init__(self, printd: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.channel = Channel()
        self.rounds = 0
        service = printd.Service

        def with_channel(*given: object, **more: object) -> object:
            made = service(*given, channel=self.channel, **more)
            write_out = made._write_out

            def counted() -> None:
                self.rounds += 1
                write_out()

            made._write_out = counted
            return made

        monkeypatch.setattr(printd, "Service", with_channel)
        super().__init__(printd, folder)

    def nudge(self) -> None:
        """Make the service poll now, as it would within a second."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S):
            pass

    def look(self) -> None:
        """Make the service do one whole round, with the poll of a channel without a holder."""
        deadline, after = time.monotonic() + DEADLINE_S, self.rounds + 2
        while self.rounds < after:
            assert time.monotonic() < deadline
            self.nudge()

    def hold(self) -> socket.socket:
        """Hold the channel, and make the service notice."""
        holder = self.channel.hold()
        self.look()
        return holder

    def close(self) -> None:
        super().close()
        self.channel.close()


@pytest.fixture
def served(printd: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    made = Served(printd, tmp_path, monkeypatch)
    yield made
    made.close()


def line(holder: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        piece = holder.recv(1)
        assert piece, data
        data += piece
    return data


def test_a_channel_without_a_holder_is_polled_and_not_waited_for(served: Served) -> None:
    assert served.read_until(1) == [(0, b"lab:boot")]
    served.look()
    assert ask(served.port, b"MARK by-tcp\n") == b"OK\n"
    assert served.read_until(2)[1] == (1, b"lab:mark:12.346:by-tcp")


def test_a_channel_held_later_takes_marks_and_wake_ups(served: Served) -> None:
    with served.hold() as holder:
        holder.sendall(b"MARK one\n")
        assert line(holder) == b"OK\n"
        holder.sendall(b"WAKE 1795590907.250000 " + b"0f" * 32 + b"\n")
        assert line(holder) == b"OK\n"
        holder.sendall(b"MARK two\nMARK three\nnonsense\n")
        assert [line(holder) for _ in range(3)] == [b"OK\n", b"OK\n", b"ERROR: say MARK <token>\n"]
    assert [payload for _, payload in served.read_until(4)][1:] == [
        b"lab:mark:12.346:" + name for name in (b"one", b"two", b"three")
    ]
    assert served.woken == [(1795590907.25, b"\x0f" * 32)]


def test_requests_sent_before_the_service_polls_are_read(served: Served) -> None:
    with served.channel.hold() as holder:
        holder.sendall(b"MARK early\nMARK ha")
        served.look()
        assert line(holder) == b"OK\n"
        holder.sendall(b"lf\n")
        assert line(holder) == b"OK\n"
    assert served.read_until(3)[2] == (2, b"lab:mark:12.346:half")


def test_holders_follow_each_other_and_tcp_goes_on_beside_them(served: Served) -> None:
    for number in range(5):
        with served.hold() as holder:
            holder.sendall(b"MARK c%d\n" % number)
            assert line(holder) == b"OK\n"
        served.look()
        assert ask(served.port, b"MARK t%d\n" % number) == b"OK\n"
    assert len(served.read_until(11)) == 11


def test_half_a_line_of_a_holder_that_left_is_forgotten(served: Served) -> None:
    with served.hold() as holder:
        holder.sendall(b"MARK first\nMARK hal")
        assert line(holder) == b"OK\n"
    served.look()
    with served.hold() as holder:
        holder.sendall(b"MARK second\n")
        assert line(holder) == b"OK\n"
    assert [payload for _, payload in served.read_until(3)][1:] == [b"lab:mark:12.346:first", b"lab:mark:12.346:second"]


class Rounds:
    """A service that takes as many rounds as a test wants, without waiting in any of them."""

    def __init__(self, printd: ModuleType, listener: socket.socket) -> None:
        self.channel = Channel()
        self.pipe = os.pipe()
        serial = os.open(os.devnull, os.O_WRONLY)
        self._open = (*self.pipe, serial)
        self.service = printd.Service(self.pipe[0], serial, listener, lambda: 1.0, self.channel, lambda _when, _what: None)
        self.ready: list[tuple[float, int]] = []

    def take(self, count: int, before_each: Callable[[int], None] = lambda _number: None) -> list[tuple[float, int]]:
        """Per round: the seconds that it would have waited, and how many descriptors would have ended that at once."""
        look = self.service._selector.select

        def select(timeout: float) -> list[Any]:
            before_each(len(self.ready))
            found: list[Any] = look(0)
            self.ready.append((timeout, len(found)))
            return found

        self.service._selector.select = select
        self.service.run(lambda: len(self.ready) == count)
        return self.ready

    def close(self) -> None:
        self.channel.close()
        for descriptor in self._open:
            os.close(descriptor)


@pytest.fixture
def rounds(printd: ModuleType) -> Iterator[Rounds]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Rounds(printd, listener)
        yield made
        made.close()


def test_the_service_does_not_spin_without_a_holder(rounds: Rounds) -> None:
    assert rounds.take(5) == [(1, 0)] * 5


def test_the_service_does_not_spin_while_a_holder_is_silent(rounds: Rounds) -> None:
    with rounds.channel.hold():
        assert rounds.take(5) == [(1, 0)] * 5


def test_a_holder_that_leaves_is_noticed_once(rounds: Rounds) -> None:
    with rounds.channel.hold() as holder:
        assert rounds.take(6, lambda number: holder.close() if number == 2 else None) == [(1, int(n == 2)) for n in range(6)]


def test_a_line_without_an_end_is_forgotten_and_the_channel_stays(served: Served) -> None:
    with served.hold() as holder:
        holder.sendall(b"x" * 1000)
        served.look()
        served.look()
        holder.sendall(b"\nMARK after\n")
        answer = line(holder)
        while answer != b"OK\n":
            assert answer == b"ERROR: say MARK <token>\n"
            answer = line(holder)
    assert served.read_until(2)[1] == (1, b"lab:mark:12.346:after")


def test_a_line_without_an_end_takes_no_memory(printd: ModuleType) -> None:
    channel = Channel()
    client = printd.MarkClient(channel, permanent=True)
    with channel.hold() as holder:
        for _ in range(100):
            holder.sendall(b"x" * 4096)
            assert client.requests() is None
        assert len(client._buffer) <= 4096
    channel.close()


def test_answers_to_a_holder_that_left_are_dropped(served: Served) -> None:
    with served.hold() as holder:
        holder.sendall(b"MARK gone\n" * 3)
    assert [payload for _, payload in served.read_until(4)][1:] == [b"lab:mark:12.346:gone"] * 3
    served.look()
    with served.hold() as holder:
        holder.sendall(b"nonsense\n")
        assert line(holder) == b"ERROR: say MARK <token>\n"


# -- the device --------------------------------------------------------------------------------------------------------


def test_a_device_is_read_and_written_without_waiting(printd: ModuleType) -> None:
    master, follower = pty.openpty()
    tty.setraw(follower)
    port = printd.Port(os.ttyname(follower))
    os.close(follower)
    with pytest.raises(BlockingIOError):
        port.recv(10)
    os.write(master, b"MARK x\n")
    assert printd.MarkClient(port, permanent=True).requests() == [b"MARK x"]
    assert port.send(b"OK\n") == 3
    assert os.read(master, 10) == b"OK\n"
    os.close(master)
    assert printd.MarkClient(port, permanent=True).requests() is None
    port.close()


def test_random_numbers_of_the_kernel_stay_open_for_the_wake_up(
    printd: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(printd.time, "clock_settime", lambda clock, seconds: calls.append((clock, seconds)))
    monkeypatch.setattr(printd.fcntl, "ioctl", lambda descriptor, request: calls.append((descriptor, request)))
    wake = printd._ready_to_wake()
    opened = [fd for fd in map(int, os.listdir("/proc/self/fd")) if _is_urandom(fd)]  # noqa: PTH208
    wake(12.5, bytes(32))
    wake(13.5, bytes(32))
    assert [call for call in calls if call[0] == time.CLOCK_REALTIME] == [
        (time.CLOCK_REALTIME, 12.5),
        (time.CLOCK_REALTIME, 13.5),
    ]
    used = {call[0] for call in calls if call[1] == printd.RNDRESEEDCRNG}
    assert len(used) == 1
    assert used <= set(opened)
    for descriptor in used:
        assert isinstance(descriptor, int)
        os.close(descriptor)


def _is_urandom(fd: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == "/dev/urandom"  # noqa: PTH115
    except OSError:
        return False


def test_a_service_that_is_given_its_wake_up_opens_nothing_for_it(served: Served) -> None:
    assert not [fd for fd in map(int, os.listdir("/proc/self/fd")) if _is_urandom(fd)]  # noqa: PTH208
