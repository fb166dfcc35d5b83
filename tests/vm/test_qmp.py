"""The client of QEMU's monitor, against a small double at the other end of a socket pair."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.errors import GuestExited, TransportError
from lab.host.unix_socket import connect_unix
from lab.vm.qmp import CommandRefused, Qmp

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}
Answer = dict[str, Any] | None


class Monitor:
    """Answers commands by a table; ``None`` in it means no answer at all."""

    def __init__(self, answers: dict[str, Answer], greeting: dict[str, Any] | None = GREETING) -> None:
        self.near, self.far = socket.socketpair()
        self.seen: list[dict[str, Any]] = []
        self._answers: dict[str, Answer] = {"qmp_capabilities": {"return": {}}, **answers}
        self._greeting = greeting
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def send(self, message: dict[str, Any]) -> None:
        self.far.sendall(json.dumps(message).encode() + b"\r\n")

    def event(self, name: str, **data: Any) -> None:
        self.send({"event": name, "data": data, "timestamp": {"seconds": 10, "microseconds": 500000}})

    def hang_up(self) -> None:
        self.far.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.near.close()
        with contextlib.suppress(OSError):
            self.hang_up()
        self._thread.join(30)
        self.far.close()

    def _messages(self) -> Iterator[dict[str, Any]]:
        """JSON objects one after the other; qemu.qmp puts nothing between them."""
        text = ""
        while piece := self.far.recv(65536):
            text += piece.decode()
            while text:
                try:
                    message, end = json.JSONDecoder().raw_decode(text)
                except ValueError:
                    break  # not complete yet
                yield message
                text = text[end:].lstrip()

    def _serve(self) -> None:
        try:
            if self._greeting:
                self.send(self._greeting)
            for message in self._messages():
                self.seen.append(message)
                answer = self._answers.get(message["execute"], {"return": {}})
                if answer is not None:
                    # The negotiation carries no id.
                    self.send(answer | {key: message[key] for key in ("id",) if key in message})
        except OSError:
            return


Start = Callable[..., tuple[Qmp, Monitor]]


@pytest.fixture
def start() -> Iterator[Start]:
    made: list[tuple[Qmp | None, Monitor]] = []

    def connect(answers: dict[str, Answer] | None = None, **options: Any) -> tuple[Qmp, Monitor]:
        monitor = Monitor(answers or {})
        made.append((None, monitor))
        qmp = Qmp(monitor.near, name="guest7", timeout=30, **options)
        made.append((qmp, monitor))
        return qmp, monitor

    yield connect
    for qmp, monitor in made:
        if qmp:
            qmp.close()
        monitor.close()


def test_a_command_returns_what_qemu_returns(start: Start) -> None:
    qmp, monitor = start({"query-status": {"return": {"status": "running"}}})
    assert qmp.execute("query-status") == {"status": "running"}
    qmp.execute("device_del", {"id": "cd0"})
    assert monitor.seen[-1]["arguments"] == {"id": "cd0"}


def test_the_human_monitor_returns_text(start: Start) -> None:
    qmp, monitor = start({"human-monitor-command": {"return": "pc\r\n"}})
    assert qmp.hmp("info version") == "pc\r\n"
    assert monitor.seen[-1]["arguments"] == {"command-line": "info version"}


def test_a_refusal_carries_qemus_words(start: Start) -> None:
    qmp, _ = start({"eject": {"error": {"class": "DeviceNotFound", "desc": "no device cd9"}}})
    with pytest.raises(CommandRefused, match="eject: no device cd9") as caught:
        qmp.execute("eject")
    assert caught.value.error_class == "DeviceNotFound"


def test_a_silent_monitor_is_a_transport_error_that_names_the_command(start: Start) -> None:
    qmp, _ = start({"query-block": None})
    with pytest.raises(TransportError, match=r"guest7: .* query-block within 0\.05 s"):
        qmp.execute("query-block", timeout=0.05)
    assert qmp.execute("query-status") == {}  # and the next command works


def test_events_are_kept_in_order_with_both_times(start: Start) -> None:
    qmp, monitor = start()
    monitor.event("RESET", guest=True, reason="guest-reset")
    monitor.event("SHUTDOWN", guest=False)
    last = qmp.wait_event("SHUTDOWN", timeout=30)
    first, second = qmp.events()
    assert second == last
    assert (first.index, first.name, first.data["reason"], first.qemu_time) == (1, "RESET", "guest-reset", 10.5)
    assert first.host_time <= second.host_time
    assert qmp.event_count == 2
    assert qmp.events(after=1) == [second]


def test_waiting_sees_earlier_events_by_default(start: Start) -> None:
    qmp, monitor = start()
    monitor.event("RESET", n=1)
    assert qmp.wait_event("RESET", timeout=30).data == {"n": 1}
    assert qmp.wait_event({"RESET", "SHUTDOWN"}, timeout=30).data == {"n": 1}
    mark = qmp.event_count
    with pytest.raises(TransportError, match=r"no RESET event within 0\.01 s; events so far: RESET"):
        qmp.wait_event("RESET", timeout=0.01, after=mark)
    monitor.event("RESET", n=2)
    monitor.event("RESET", n=3)
    assert qmp.wait_event("RESET", timeout=30, after=mark, where=lambda event: event.data["n"] == 3).data == {"n": 3}


def test_a_waiting_thread_is_woken_by_the_event(start: Start) -> None:
    qmp, monitor = start()
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(qmp.wait_event("STOP", timeout=30).name))
    thread.start()
    monitor.event("STOP")
    thread.join(30)
    assert found == ["STOP"]


def test_the_end_of_the_connection_ends_every_wait(start: Start) -> None:
    qmp, monitor = start(explain_lost=lambda: GuestExited("guest7: ended with exit code 3"))
    monitor.event("SHUTDOWN")
    monitor.hang_up()
    with pytest.raises(GuestExited, match="exit code 3"):
        qmp.wait_event("RESET", timeout=30)
    assert [event.name for event in qmp.events()] == ["SHUTDOWN"]  # the last events are kept
    assert not qmp.connected
    with pytest.raises(GuestExited, match="exit code 3"):
        qmp.execute("query-status")


def test_the_end_during_a_command_is_an_exited_guest(start: Start) -> None:
    qmp, monitor = start({"quit": None})
    failures: list[BaseException] = []

    def quit_it() -> None:
        try:
            qmp.execute("quit", timeout=30)
        except GuestExited as error:
            failures.append(error)

    thread = threading.Thread(target=quit_it)
    thread.start()
    monitor.hang_up()
    thread.join(30)
    assert "guest7" in str(failures[0])


def test_a_closed_monitor_refuses_commands_with_an_error(start: Start) -> None:
    qmp, _ = start()
    qmp.close()
    qmp.close()
    with pytest.raises(GuestExited):
        qmp.execute("query-status")


def test_something_that_is_not_a_monitor() -> None:
    monitor = Monitor({}, greeting=None)
    try:
        with pytest.raises(TransportError, match=r"the greeting within 0\.05 s"):
            Qmp(monitor.near, timeout=0.05)
    finally:
        monitor.close()


def test_a_monitor_that_hangs_up_at_once() -> None:
    monitor = Monitor({}, greeting=None)
    monitor.hang_up()
    try:
        with pytest.raises(GuestExited):
            Qmp(monitor.near, timeout=30)
    finally:
        monitor.close()


def test_sockets_of_any_path_length_can_be_connected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("x" * 150)
    folder.mkdir()
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("a.sock")
        server.listen()
        monkeypatch.chdir("/")
        with connect_unix(folder / "a.sock") as near:
            far, _ = server.accept()
            with far:
                near.sendall(b"hello")
                assert far.recv(10) == b"hello"
    with pytest.raises(OSError, match="refused"):
        connect_unix(folder / "a.sock")


def test_a_monitor_that_ends_while_it_is_closed_logs_nothing(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    # Both close() and the watcher end the connection then. Messages of the reader about the lost connection must not be logged.
    qmp, monitor = start()
    client = qmp._client
    disconnect = client._bh_disconnect

    async def lost_meanwhile() -> None:
        monitor.hang_up()
        while client._reader_task is None or not client._reader_task.done():
            await asyncio.sleep(0)
        await disconnect()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "_bh_disconnect", lost_meanwhile)
        qmp.close()
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
    with pytest.raises(GuestExited):
        qmp.execute("query-status")
