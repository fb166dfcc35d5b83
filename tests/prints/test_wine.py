"""The free guest's source: a file that grows, and an agent."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.errors import EvidenceLost, TransportError
from lab.prints.agent import PrintAgent
from lab.prints.decode import WineDecoder
from lab.prints.record import GapRecord, PrintRecord, Record
from lab.prints.resume import PrintsState
from lab.prints.wine import WinePrintSource

PRINT = b"1.000:0020:0024:warn:debugstr:vDbgPrintExWithPrefix 00000000:00000001: "


class Agent:
    """Accepts marker requests like the guest's print agent; a test says what it answers and writes."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.number = 0
        self.answer = b"OK\n"
        self.silent = False
        self.connections = 0
        self.woken: list[bytes] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._ends: list[socket.socket] = []

    def say(self, line: bytes) -> None:
        with self._lock, self.file.open("ab") as stream:
            stream.write(b"\x1e%d;%d;%s\n" % (self.number, len(line), line))
            self.number += 1

    def connect(self, timeout: float) -> socket.socket:
        self.connections += 1
        ours, theirs = socket.socketpair()
        self._ends.append(theirs)
        thread = threading.Thread(target=self._serve, args=(theirs,))
        thread.start()
        self._threads.append(thread)
        return ours

    def drop(self) -> None:
        """End all connections, like a guest that ends."""
        for end in self._ends:
            with contextlib.suppress(OSError):  # the source may have ended it before
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def close(self) -> None:
        self.drop()
        for thread in self._threads:
            thread.join(10)

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb", buffering=0) as stream:
            for request in stream:
                if request.startswith((b"WAKE", b"SLEEP")):
                    self.woken.append(request)
                    stream.write(self.answer)
                    continue
                token = request.split()[1]
                if not self.silent:
                    self.say(b"lab:mark:2.0:" + token)
                stream.write(self.answer)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(tmp_path / "serial1.log")
    yield agent
    agent.close()


@pytest.fixture
def wine(agent: Agent) -> Iterator[WinePrintSource]:
    source = WinePrintSource(agent.file, PrintAgent(agent.connect, "127.0.0.1:5999"))
    source.start()
    yield source
    source.close()


def some(count: int) -> Callable[[list[Record]], bool]:
    return lambda records: len(records) >= count


def test_a_file_that_does_not_exist_yet_is_read_from_its_first_byte(agent: Agent, wine: WinePrintSource) -> None:
    assert wine.records_since(0) == []
    agent.say(b"lab:boot")
    agent.say(PRINT + b"hello")
    records = wine.wait(0, some(2), timeout=30)
    assert isinstance(records[1], PrintRecord)
    assert records[1].text == "hello"


def test_a_marker_comes_after_earlier_prints(agent: Agent, wine: WinePrintSource) -> None:
    agent.say(PRINT + b"before")
    position = wine.mark("t-1", timeout=30)
    agent.say(PRINT + b"after")
    wine.wait(position, some(1), timeout=30)
    before, after = wine.records_since(0)[:position], wine.records_since(position)
    assert [record.text for record in before if isinstance(record, PrintRecord)] == ["before"]
    assert [record.text for record in after if isinstance(record, PrintRecord)] == ["after"]


def test_markers_share_a_connection_and_survive_its_end(agent: Agent, wine: WinePrintSource) -> None:
    wine.mark("t-1", timeout=30)
    wine.mark("t-2", timeout=30)
    assert agent.connections == 1
    agent.drop()
    wine.mark("t-3", timeout=30)
    assert agent.connections == 2


def test_a_marker_that_does_not_arrive_is_lost_evidence(agent: Agent, wine: WinePrintSource) -> None:
    agent.silent = True
    with pytest.raises(EvidenceLost, match=r"did not arrive in .*serial1\.log"):
        wine.mark("t-1", timeout=0.05)


def test_an_agent_that_refuses_is_lost_evidence(agent: Agent, wine: WinePrintSource) -> None:
    agent.answer = b"ERROR: say MARK <token>\n"
    with pytest.raises(EvidenceLost, match="answered b'ERROR"):
        wine.mark("t-1", timeout=30)


def test_no_agent_is_lost_evidence(tmp_path: Path) -> None:
    def refuse(timeout: float) -> socket.socket:
        raise ConnectionRefusedError("connection refused")

    source = WinePrintSource(tmp_path / "x.log", PrintAgent(refuse, "127.0.0.1:1"))
    with pytest.raises(EvidenceLost, match="connection refused"):
        source.mark("t", timeout=1)


def test_close_reads_the_rest_and_may_be_called_twice(agent: Agent, wine: WinePrintSource) -> None:
    for number in range(1000):
        agent.say(PRINT + b"%d" % number)
    wine.close()
    wine.close()
    assert [record.text for record in wine.records_since(0) if isinstance(record, PrintRecord)] == [str(n) for n in range(1000)]


def test_a_file_that_cannot_be_read_is_a_gap(tmp_path: Path) -> None:
    source = WinePrintSource(tmp_path, PrintAgent(lambda _timeout: socket.socketpair()[0], "nowhere"))
    source.start()
    records = source.wait(0, some(1), timeout=30)
    source.close()
    assert isinstance(records[0], GapRecord)
    assert "cannot be read" in records[0].reason


def test_a_bug_while_prints_are_decoded_is_a_gap_and_fails_every_marker(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: WineDecoder, data: bytes, host_time: float) -> list[Record]:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(WineDecoder, "feed", broken)
    source = WinePrintSource(agent.file, PrintAgent(agent.connect, "127.0.0.1:5999"))
    agent.say(PRINT + b"hello")
    source.start()
    [record] = source.wait(0, some(1), timeout=30)
    with pytest.raises(EvidenceLost, match=r"marker t-1 did not arrive: .*ZeroDivisionError: division by zero"):
        source.mark("t-1", timeout=600)
    source.close()
    assert isinstance(record, GapRecord)
    assert "ZeroDivisionError: division by zero" in record.reason


def test_a_stopped_stream_gives_its_position_but_not_in_the_middle_of_a_line(agent: Agent, wine: WinePrintSource) -> None:
    agent.say(PRINT + b"one")
    wine.mark("t-1", timeout=30)
    assert wine.snapshot_state() == PrintsState(numbers={"next_line": 2})
    # A fork that is to begin with these prints counts them again.
    assert wine.snapshot_state(replay=True) == PrintsState(numbers={"next_line": 0}, replay=agent.file.read_bytes())
    with agent.file.open("ab") as stream:
        stream.write(b"\x1e2;100;1.000:0020")
    assert wine.snapshot_state() is None


def test_a_fork_continues_the_count_and_begins_with_the_prints_of_the_load(agent: Agent) -> None:
    load = PRINT + b"DriverEntry"
    replay = b"\x1e7;%d;%s\n" % (len(load), load)
    resume = PrintsState(numbers={"next_line": 7}, replay=replay)
    source = WinePrintSource(agent.file, PrintAgent(agent.connect, "127.0.0.1:5999"), resume=resume)
    agent.number = 8
    source.start()
    try:
        agent.say(PRINT + b"a read")
        source.mark("t-1", timeout=30)
        agent.number += 1  # and this one is lost
        agent.say(PRINT + b"later")
        source.mark("t-2", timeout=30)
        records = source.records_since(0)
    finally:
        source.close()
    assert [r.text for r in records if isinstance(r, PrintRecord)] == ["DriverEntry", "a read", "later"]
    assert [r.missing for r in records if isinstance(r, GapRecord)] == [1]


def test_a_fork_whose_first_line_is_another_one_has_a_gap(agent: Agent) -> None:
    source = WinePrintSource(
        agent.file, PrintAgent(agent.connect, "127.0.0.1:5999"), resume=PrintsState(numbers={"next_line": 7})
    )
    agent.number = 9
    source.start()
    try:
        source.mark("t-1", timeout=30)
        assert [r.missing for r in source.records_since(0) if isinstance(r, GapRecord)] == [2]
    finally:
        source.close()


def test_a_resumed_guest_gets_time_and_random_bytes(agent: Agent, wine: WinePrintSource) -> None:
    runs: list[int] = []
    wine.resume(1795590907.25, b"\x0f" * 32, let_run=lambda: runs.append(len(agent.woken)), timeout=30)
    assert len(runs) == 1
    assert agent.woken == [b"WAKE 1795590907.250000 " + b"0f" * 32 + b"\n"]
    agent.answer = b"ERROR: Operation not permitted\n"
    with pytest.raises(TransportError, match="cannot set the clock"):
        wine.resume(1.0, bytes(32), let_run=lambda: None, timeout=30)


def test_the_guests_own_time_is_waited_for_by_its_agent(agent: Agent, wine: WinePrintSource) -> None:
    timer = wine.timer
    timer.sleep(2.5, timeout=30)
    assert agent.woken == [b"SLEEP 2.500000\n"]
    agent.answer = b"ERROR: say MARK <token>\n"
    with pytest.raises(EvidenceLost, match=r"answered .* where it should wait 2\.5 s") as caught:
        timer.sleep(2.5, timeout=30)
    assert "lab image build" in caught.value.hint


def test_a_source_that_never_followed_its_file_still_closes_the_agent(agent: Agent) -> None:
    source = WinePrintSource(agent.file, PrintAgent(agent.connect, "127.0.0.1:5999"))
    source.resume(1.0, bytes(32), let_run=lambda: None, timeout=30)
    assert source._agent._connection is not None
    source.close()
    source.close()
    assert source._agent._connection is None
