"""The port lent to another debugger and taken back: every print is recorded, whichever side answers it, and none is lost."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.host.unix_socket import connect_unix
from lab.prints.kd import payload as wire
from lab.prints.kd.collector import Collector
from lab.prints.kd.control import DEBUGGER_SOCKET, CollectorControl, ControlServer
from lab.prints.kd.packet import ACKNOWLEDGE, BREAK_IN, INITIAL_ID, RESET, SYNC, Framer, Packet, control_packet
from lab.prints.kd.record import AnyRecord, ExceptionStop, Gap, Note, Print
from lab.prints.kd.session import Session
from tests.prints.kd.fake_target import X86_INT3_PC, Target, exception_payload

DEADLINE_S = 20.0


@dataclass
class End:
    """One end of a connection, as packets."""

    socket: socket.socket
    framer: Framer = field(default_factory=Framer)
    came: list[Packet] = field(default_factory=list)

    def next(self) -> Packet:
        while not self.came:
            data = self.socket.recv(4096)
            assert data, "the other side went away"
            self.came += [item for item in self.framer.feed(data) if isinstance(item, Packet)]
        return self.came.pop(0)


@dataclass
class Lab:
    """A collector with its control socket, and the kernel's end of the port."""

    kernel: End
    collector: Collector
    control: CollectorControl
    target: Target = field(default_factory=Target)

    def print(self, text: bytes) -> None:
        self.kernel.socket.sendall(self.target.print(text))

    def debugger(self) -> End:
        connection = socket.create_connection(("127.0.0.1", self.control.request("lend").port), DEADLINE_S)
        connection.settimeout(DEADLINE_S)
        return End(connection)

    def records(self) -> list[AnyRecord]:
        self.kernel.socket.close()
        found: list[AnyRecord] = []
        while heard := self.collector.next(DEADLINE_S):
            found += heard.records
        return found


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(DEADLINE_S)
    collector = Collector(ours, Session())
    collector.start()
    server = ControlServer(tmp_path / "ctl", collector)
    yield Lab(End(theirs), collector, CollectorControl(tmp_path / "ctl"))
    server.close()
    collector.stop("the test is over")
    theirs.close()


def texts(records: list[AnyRecord]) -> list[bytes]:
    return [record.raw for record in records if isinstance(record, Print)]


def test_every_print_is_recorded_while_the_port_is_lent(lab: Lab) -> None:
    lab.print(b"one")
    assert lab.kernel.next().kind == ACKNOWLEDGE
    debugger = lab.debugger()
    lab.print(b"two")
    # Offered is not lent: no debugger has sent anything, so the collector answers.
    assert lab.kernel.next().kind == ACKNOWLEDGE

    debugger.socket.sendall(control_packet(RESET))
    assert lab.kernel.next().kind == RESET
    lab.kernel.socket.sendall(control_packet(RESET))
    lab.target.restart()
    assert debugger.next().kind == RESET
    lab.print(b"three")
    seen = debugger.next()
    assert seen.id == INITIAL_ID | SYNC
    debugger.socket.sendall(control_packet(ACKNOWLEDGE, INITIAL_ID))
    answer = lab.kernel.next()
    # The debugger's own packets, and none of the collector's before them.
    assert (answer.kind, answer.id) == (ACKNOWLEDGE, INITIAL_ID)
    assert lab.control.status().borrowed

    debugger.socket.close()
    assert lab.kernel.next().kind == RESET  # for a kernel that was left stopped; a running one drops it
    lab.print(b"four")
    assert lab.kernel.next().kind == ACKNOWLEDGE
    assert not lab.control.status().borrowed
    records = lab.records()
    assert texts(records) == [b"one", b"two", b"three", b"four"]
    assert not [record for record in records if isinstance(record, Gap)]
    assert [record.text for record in records if isinstance(record, Note)] == [
        "from here on, another debugger answers the kernel",
        "the other debugger has disconnected; the collector answers the kernel again",
    ]


def test_the_debugger_handles_stops_and_one_that_it_leaves_is_continued(lab: Lab) -> None:
    lab.print(b"one")
    lab.kernel.next()
    debugger = lab.debugger()
    debugger.socket.sendall(BREAK_IN)
    assert lab.kernel.socket.recv(1) == BREAK_IN
    stop = exception_payload(wire.STATUS_BREAKPOINT, X86_INT3_PC, "x86")
    lab.kernel.socket.sendall(lab.target.stop(stop))
    assert debugger.next().payload == stop
    debugger.socket.close()
    assert lab.kernel.next().kind == RESET
    # It reports its stop again, with ids that begin anew, and is stepped over like every stop that was not requested.
    lab.kernel.socket.sendall(control_packet(RESET))
    lab.target.restart()
    lab.kernel.socket.sendall(lab.target.stop(stop))
    assert lab.kernel.next().kind == ACKNOWLEDGE
    request = lab.kernel.next()
    assert request.kind not in (ACKNOWLEDGE, RESET)
    stops = [record for record in lab.records() if isinstance(record, ExceptionStop)]
    assert stops[0].action == "debugger"


def test_taking_it_back_cuts_the_debugger_off(lab: Lab) -> None:
    debugger = lab.debugger()
    debugger.socket.sendall(BREAK_IN)
    assert lab.kernel.socket.recv(1) == BREAK_IN
    lab.control.request("take-back")
    assert debugger.socket.recv(1) == b""
    debugger.socket.close()
    assert lab.kernel.next().kind == RESET
    assert not lab.control.status().borrowed


def test_a_debugger_can_use_the_unix_socket(lab: Lab, tmp_path: Path) -> None:
    lab.control.request("lend")
    with connect_unix(tmp_path / DEBUGGER_SOCKET) as debugger:
        debugger.sendall(BREAK_IN)
        assert lab.kernel.socket.recv(1) == BREAK_IN
    assert lab.kernel.next().kind == RESET
    lab.control.request("take-back")
    assert not (tmp_path / DEBUGGER_SOCKET).exists()
