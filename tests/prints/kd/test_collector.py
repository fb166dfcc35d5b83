"""The collector's threads and its control socket, in this process, against the other end of a socket pair."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.errors import ConfigError, TransportError
from lab.host.unix_socket import connect_unix
from lab.prints.kd import payload as wire
from lab.prints.kd.collector import Collector, connect_port
from lab.prints.kd.control import CollectorControl, ControlServer
from lab.prints.kd.packet import BREAK_IN, STATE_MANIPULATE, Framer, Packet
from lab.prints.kd.record import AnyRecord, End, Gap, Print
from lab.prints.kd.session import Session
from tests.prints.kd.fake_target import X86_INT3_PC, Target, exception_payload

DEADLINE_S = 20.0


@dataclass
class Pair:
    """A collector and the target's end of its port."""

    port: socket.socket
    collector: Collector
    raw: list[bytes] = field(default_factory=list)
    framer: Framer = field(default_factory=Framer)

    def answers(self, count: int) -> list[Packet]:
        """The next packets of the host."""
        found: list[Packet] = []
        while len(found) < count:
            data = self.port.recv(4096)
            assert data, f"the host went away after {len(found)} of {count} packets"
            found += [item for item in self.framer.feed(data) if isinstance(item, Packet)]
        return found

    def rest(self) -> list[AnyRecord]:
        """All records up to the end of the session."""
        records: list[AnyRecord] = []
        while heard := self.collector.next(DEADLINE_S):
            records += heard.records
        return records


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(DEADLINE_S)
    made = Pair(theirs, Collector(ours, Session()))
    made.collector.keep_raw = made.raw.append
    yield made
    theirs.close()
    made.collector.stop("the test is over")
    made.rest()


def test_a_target_is_answered_even_if_the_records_are_not_read(pair: Pair) -> None:
    pair.collector.start()
    target, sent = Target(), b""
    for number in range(50):
        packet = target.print(b"%d\n" % number)
        sent += packet
        pair.port.sendall(packet)
        pair.answers(1)
    pair.port.close()
    records = pair.rest()
    assert [record.raw for record in records if isinstance(record, Print)] == [b"%d\n" % number for number in range(50)]
    assert b"".join(pair.raw) == sent
    [end] = [record for record in records if isinstance(record, End)]
    assert end.complete
    assert pair.collector.next(0) is None


def test_packets_before_the_port_was_closed_are_read_to_the_end(pair: Pair) -> None:
    target, count = Target(), 5000
    pair.port.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    said = b"".join(target.print(b"%d\n" % number) for number in range(count))
    size = pair.port.send(said)
    assert size > 1 << 17  # more than is read at once
    pair.port.close()
    pair.collector.start()
    records = pair.rest()
    whole = sum(isinstance(item, Packet) for item in Framer().feed(said[:size]))
    assert sum(isinstance(record, Print) for record in records) == whole
    assert b"".join(pair.raw) == said[:size]
    assert isinstance(records[-1], End)
    assert records[-1].complete


def test_an_error_of_the_lab_is_reported_as_such(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "tick", lambda *_: 1 / 0)
    monkeypatch.setattr(Session, "finish", lambda *_: 1 / 0)
    pair.collector.start()
    [end] = [record for record in pair.rest() if isinstance(record, End)]
    assert not end.complete
    assert "internal error of the lab: ZeroDivisionError" in end.reason
    assert pair.collector.ended.is_set()


def test_a_session_that_is_stopped_ends_incomplete(pair: Pair) -> None:
    pair.collector.start()
    pair.collector.stop("enough")
    [end] = pair.rest()
    assert end == End(time=end.time, reason="enough", complete=False)


def test_a_bug_of_the_lab_is_a_gap_and_the_target_is_still_answered(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    real = wire.parse_debug_io
    monkeypatch.setattr(wire, "parse_debug_io", lambda data: 1 / 0 if b"bug" in data else real(data))
    pair.collector.start()
    target = Target()
    pair.port.sendall(target.print(b"bug"))
    pair.answers(1)
    pair.port.sendall(target.print(b"fine"))
    pair.answers(1)
    pair.port.close()
    records = pair.rest()
    assert [type(record) for record in records] == [Gap, Print, End]
    assert "ZeroDivisionError" in str(records[0])


def test_packets_are_sent_again_even_if_the_line_is_never_silent(pair: Pair) -> None:
    now = [0.0]
    pair.collector._clock = lambda: now[0]
    pair.collector.start()
    pair.port.sendall(Target().stop(exception_payload(0xC0000005, X86_INT3_PC, "x86", opcode=0x90)))
    _, first = pair.answers(2)
    found: list[Packet] = []
    deadline = time.monotonic() + DEADLINE_S
    while not found and time.monotonic() < deadline:
        # Bytes of a boot manager, again and again.
        now[0] += 0.01
        pair.port.sendall(b"x" * 100)
        if select.select([pair.port], [], [], 0)[0]:
            found = pair.answers(1)
    assert [(packet.kind, packet.payload) for packet in found] == [(STATE_MANIPULATE, first.payload)]


def test_a_port_with_a_long_path_is_found(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 60) / ("b" * 60)
    folder.mkdir(parents=True)
    listener = socket.socket(socket.AF_UNIX)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        listener.bind("kd.sock")
    with listener:
        listener.listen()
        with connect_port(folder / "kd.sock", timeout=0) as port:
            port.send(b"hello")
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(10) == b"hello"


def test_a_collector_reports_when_a_snapshot_is_possible_and_breaks_in(pair: Pair, tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "ctl", pair.collector)
    control = CollectorControl(tmp_path / "ctl")
    pair.collector.start()
    assert (control.status().heard, control.status().idle) == (False, True)
    target = Target()
    pair.port.sendall(target.print(b"1"))
    pair.answers(1)
    status = control.status()
    assert (status.heard, status.idle, status.held) == (True, True, False)
    assert (status.ids.receive, len(status.ids.last)) == (0x80800001, 64)
    pair.port.sendall(target.print(b"2")[:20])
    assert not control.status().idle
    assert not control.break_in(0.0)
    assert pair.port.recv(1) == BREAK_IN
    target = Target()
    pair.port.sendall(target.stop(exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")) * 3)
    assert control.break_in(DEADLINE_S)
    assert control.status().generation == 1
    control.release()
    assert not control.status().held
    server.close()
    assert not (tmp_path / "ctl").exists()
    with pytest.raises(TransportError, match="does not answer"):
        control.status()


def test_a_target_that_has_not_read_its_answer_is_not_idle(pair: Pair, tmp_path: Path) -> None:
    """A snapshot of it would lack the answer, which is in no file of the VM."""
    server = ControlServer(tmp_path / "ctl", pair.collector)
    control = CollectorControl(tmp_path / "ctl")
    pair.collector.start()
    pair.port.sendall(Target().print(b"1"))
    assert len(pair.port.recv(16, socket.MSG_PEEK | socket.MSG_WAITALL)) == 16  # the acknowledgement is there
    assert (control.status().idle, control.status().records) == (False, 1)
    assert len(pair.port.recv(15)) == 15
    assert not control.status().idle
    pair.port.recv(1)
    assert control.status().idle
    server.close()


@pytest.mark.parametrize("question", [b"\n", b"[]\n", b'{"do": "dance"}\n', b'{"do": ["x"]}\n'])
def test_invalid_requests_are_refused(question: bytes, pair: Pair, tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "ctl", pair.collector)
    pair.collector.start()
    with connect_unix(tmp_path / "ctl") as connection:
        connection.sendall(question)
        assert "error" in json.loads(connection.recv(4096))
    server.close()


def test_requests_about_a_session_that_has_ended_are_refused(pair: Pair, tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "ctl", pair.collector)
    pair.collector.start()
    pair.port.close()
    pair.rest()
    with pytest.raises(TransportError, match="has ended"):
        CollectorControl(tmp_path / "ctl").status()
    server.close()


def test_a_control_socket_never_replaces_a_file(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "ctl").write_text("mine")
    with pytest.raises(ConfigError, match="cannot be made"):
        ControlServer(tmp_path / "ctl", pair.collector)
    assert (tmp_path / "ctl").read_text() == "mine"
    pair.collector.start()
