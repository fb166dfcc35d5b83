"""WinRM over a private stream: the lab's transport, the guest's service, and between them a terminal as a double of a port."""

from __future__ import annotations

import base64
import hashlib
import os
import pty
import select
import socket
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from labwinrm.config import Config
from labwinrm.server import Server, start
from pydantic import SecretStr

from lab.errors import GuestHung, TransportError
from lab.guest.quoting import command_text
from lab.guest.winrm.channel import ENDPOINT
from lab.guest.winrm.protocol import Running
from lab.guest.winrm.shell import WinRmShell
from lab.guest.winrm.standing import CMD
from lab.guest.winrm.transport import WinRmTransport, open_winrm
from tests.guest.conftest import PASSWORD
from tests.guest.fakes import UNTOLD, everything_shown
from tests.winrm.by_hand import IDENTIFY
from tests.winrm.virtio_double import VirtioPort

USER = "lab"


class Relay:
    """Copies bytes between the master of a terminal and a socket, as QEMU does between a port and its holder."""

    def __init__(self) -> None:
        self.master, follower = pty.openpty()
        tty.setraw(follower)
        self.device = Path(os.ttyname(follower))
        self._follower = follower
        self.ours, self._theirs = socket.socketpair()
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        ends = {self.master: self._theirs.fileno(), self._theirs.fileno(): self.master}
        while True:
            ready, _, _ = select.select([*ends, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            for fd in ready:
                data = os.read(fd, 1 << 16)
                if not data:
                    return
                while data:
                    data = data[os.write(ends[fd], data) :]

    def end(self) -> None:
        """The VM ends: both sides are closed."""
        os.write(self._stop_write, b"x")
        self._thread.join(30)
        if self.master >= 0:
            os.close(self.master)
            os.close(self._follower)
            self._theirs.close()
            self.master = -1

    def close(self) -> None:
        self.end()
        self.ours.close()
        os.close(self._stop_read)
        os.close(self._stop_write)


@dataclass
class Guest:
    """A service with a channel, and how often that was opened."""

    server: Server
    stream: Callable[[], socket.socket]
    opened: list[socket.socket] = field(default_factory=list)

    def open(self) -> socket.socket:
        self.opened.append(self.stream())
        return self.opened[-1]

    def transport(self, password: str = PASSWORD, *, grace_s: float = 20) -> WinRmTransport:
        assert self.server.port is not None
        return open_winrm("127.0.0.1", self.server.port, USER, SecretStr(password), channel=self.open, grace_s=grace_s)

    @property
    def tcp_connections(self) -> int:
        return len(self.server._connections)


def serve(tmp_path: Path, channel: Path) -> Server:
    users = tmp_path / "users"
    users.write_text(f":{USER}:{PASSWORD}\n", encoding="utf-8")
    return start(
        Config(
            address="127.0.0.1",
            http_port=0,
            https_port=None,
            ntlm_user_file=users,
            run_directory=tmp_path / "run",
            channel=channel,
            launcher="direct",
            shell_command=("/bin/sh", "-c"),
            program_command=(sys.executable,),
        )
    )


@pytest.fixture
def relay() -> Iterator[Relay]:
    made = Relay()
    yield made
    made.close()


@pytest.fixture
def guest(relay: Relay, tmp_path: Path) -> Iterator[Guest]:
    server = serve(tmp_path, relay.device)
    yield Guest(server, lambda: relay.ours)
    server.close()


@pytest.fixture
def winrm(guest: Guest) -> Iterator[WinRmTransport]:
    transport = guest.transport()
    yield transport
    transport.close()


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtioPort]:
    made = VirtioPort(tmp_path / "lab.winrm")
    made.replace_in(monkeypatch, "labwinrm.channel")
    monkeypatch.setattr("labwinrm.server.LOOK_AGAIN_S", 0.005)
    yield made
    made.end()


@pytest.fixture
def virtio_guest(port: VirtioPort, tmp_path: Path) -> Iterator[Guest]:
    server = serve(tmp_path, port.path)
    yield Guest(server, port.hold)
    server.close()


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the service start a program of this host instead of cmd."""
    start = WinRmShell.start
    cmd = command_text(CMD.words, shell=False)

    def use(line: str) -> None:
        def begin(self: WinRmShell, run: Running, text: str, *, shell: bool) -> str:
            return start(self, run, line if text == cmd else text, shell=shell or text == cmd)

        monkeypatch.setattr(WinRmShell, "start", begin)

    return use


def test_commands_use_only_the_channel(winrm: WinRmTransport, guest: Guest) -> None:
    done = winrm.run("printf 'o\\303\\274'; echo err >&2; exit 7", timeout=30)
    assert (done.exit_code, done.text, done.stderr) == (7, "oü", b"err\n")
    for number in range(3):
        assert winrm.run(f"echo {number} && true", timeout=30).text == f"{number}\n"
    assert len(guest.opened) == 1
    assert guest.tcp_connections == 0


def test_nothing_is_opened_before_the_first_command(guest: Guest) -> None:
    transport = guest.transport()
    assert guest.opened == []
    transport.close()
    assert guest.opened == []


def test_five_megabytes_of_output_arrive_as_they_are(winrm: WinRmTransport, guest: Guest, tmp_path: Path) -> None:
    data = os.urandom(5_000_000)
    (tmp_path / "data").write_bytes(data)
    done = winrm.run(f"cat {tmp_path}/data", timeout=120)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert guest.tcp_connections == 0


def test_input_arrives_whole_and_ends(winrm: WinRmTransport) -> None:
    data = os.urandom(1_000_000)
    assert winrm.run("sha256sum", timeout=60, stdin=data).text.split()[0] == hashlib.sha256(data).hexdigest()


def test_a_command_at_its_deadline_is_terminated(winrm: WinRmTransport, guest: Guest) -> None:
    with pytest.raises(GuestHung, match="it was terminated; it had written: so far"):
        winrm.run("echo so far; exec sleep 600", timeout=2)
    assert winrm.run("echo again && true", timeout=30).text == "again\n"
    assert guest.tcp_connections == 0


def test_a_wrong_password_is_refused_and_not_shown(guest: Guest) -> None:
    transport = guest.transport(UNTOLD)
    with pytest.raises(TransportError, match="rejected the credentials") as caught:
        transport.run("true", timeout=30)
    transport.close()
    assert "credentials" in caught.value.hint
    shown = everything_shown(caught)
    assert UNTOLD not in shown
    assert base64.b64encode(f"{USER}:{UNTOLD}".encode()).decode() not in shown


def test_unencrypted_messages_are_accepted_on_the_channel_and_refused_on_tcp(relay: Relay, guest: Guest) -> None:
    transport = guest.transport()
    transport.run("true", timeout=30)
    session = transport._shell._protocol.transport.session  # type: ignore[union-attr]
    header = {"Content-Type": "application/soap+xml"}
    assert session.post(ENDPOINT, data=IDENTIFY, headers=header).status_code == 200
    transport.close()
    url = f"http://127.0.0.1:{guest.server.port}/wsman"
    over_tcp = requests.post(url, data=IDENTIFY, headers=header, auth=(USER, PASSWORD), timeout=30)
    assert (over_tcp.status_code, over_tcp.headers["WWW-Authenticate"]) == (401, "Negotiate")


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_proxy_of_the_environment_is_left_alone(guest: Guest, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    transport = guest.transport()
    assert transport.run("echo private && true", timeout=30).text == "private\n"
    transport.close()
    assert len(guest.opened) == 1


def test_after_the_channel_breaks_the_port_is_used_with_the_same_shell(
    winrm: WinRmTransport, guest: Guest, relay: Relay
) -> None:
    assert winrm.run("echo over the channel && true", timeout=30).exit_code == 0
    shells = set(guest.server._shells._shells)
    relay.end()
    # The transport checks the stream before sending, so it knows that nothing was started.
    for _ in range(2):
        assert winrm.run("echo over tcp && true", timeout=30).text == "over tcp\n"
    assert guest.tcp_connections == 1
    assert len(guest.opened) == 1
    assert set(guest.server._shells._shells) == shells


def test_a_command_that_may_have_been_started_is_not_sent_again_by_the_port(
    winrm: WinRmTransport, guest: Guest, relay: Relay, tmp_path: Path
) -> None:
    winrm.run("true", timeout=30)
    begun = tmp_path / "begun"

    def end_when_begun() -> None:
        _wait_until(begun.exists)
        relay.end()

    thread = threading.Thread(target=end_when_begun)
    thread.start()
    with pytest.raises(TransportError, match=r"(starting|reading the output of) `echo once"):
        winrm.run(f"echo once >> {begun}; sleep 600", timeout=60)
    thread.join(60)
    assert winrm.run(f"cat {begun}", timeout=30).text == "once\n"
    assert (len(guest.opened), guest.tcp_connections) == (1, 1)


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_channel_that_cannot_be_opened_is_an_error_once(guest: Guest) -> None:
    def gone() -> socket.socket:
        raise ConnectionError("the channel cannot be opened")

    assert guest.server.port is not None
    transport = open_winrm("127.0.0.1", guest.server.port, USER, SecretStr(PASSWORD), channel=gone)
    with pytest.raises(TransportError, match="the channel cannot be opened") as caught:
        transport.run("true", timeout=30)
    assert base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode() not in everything_shown(caught)
    assert transport.run("echo by tcp && true", timeout=30).text == "by tcp\n"
    transport.close()


def test_a_stream_without_answers_is_given_up_in_time(guest: Guest) -> None:
    ours, theirs = socket.socketpair()
    guest.stream = lambda: ours
    transport = guest.transport(grace_s=0.2)
    transport._shell._operation_s = 0
    with pytest.raises(TransportError, match="no answer within the deadline"):
        transport.run("true", timeout=30)
    transport._shell._operation_s, transport._shell._grace_s = 20, 20
    assert transport.run("echo by tcp && true", timeout=30).text == "by tcp\n"
    assert theirs.recv(1 << 16).startswith(b"POST /wsman HTTP/1.1\r\n")
    transport.close()
    theirs.close()


class Leaving(socket.socket):
    """A holder that closes the port in the middle of a large answer."""

    port: VirtioPort
    left = 100_000

    def recv_into(self, *given: Any) -> int:
        count = super().recv_into(*given)
        before, self.left = self.left, self.left - count
        if before > 0 >= self.left:
            self.port.let_go(self)
        return count


def test_an_abandoned_answer_does_not_reach_the_next_holder(virtio_guest: Guest, port: VirtioPort, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(3_000_000))
    leaving = Leaving(fileno=port.hold(room=4096).detach())
    leaving.port = port
    virtio_guest.stream = lambda: leaving
    first = virtio_guest.transport()
    with pytest.raises(TransportError, match="reading the output of `cat"):
        first.run(f"cat {tmp_path}/data", timeout=60)
    assert virtio_guest.server._channel is not None
    channel, _ = virtio_guest.server._channel
    _wait_until(lambda: channel._gone)
    virtio_guest.stream = port.hold
    second = virtio_guest.transport()
    for number in range(5):
        assert second.run(f"echo {number} && true", timeout=30).text == f"{number}\n"
    assert virtio_guest.tcp_connections == 0
    second.close()
    first.close()


def test_one_holder_at_a_time_uses_the_channel(virtio_guest: Guest, port: VirtioPort) -> None:
    for number in range(5):
        transport = virtio_guest.transport()
        assert transport.run(f"echo {number} && true", timeout=30).text == f"{number}\n"
        transport.close()
        port._held = False
    assert len(virtio_guest.opened) == 5
    assert virtio_guest.tcp_connections == 0
    assert not virtio_guest.server._shells._shells


def test_a_parked_shell_is_resumed_over_the_channel_that_is_still_connected(
    guest: Guest, interpreter: Callable[[str], None]
) -> None:
    interpreter("exec sh")
    control = guest.transport()
    state = control.park(timeout=30)
    assert len(guest.opened) == 1
    # As with a snapshot: the same stream continues, with another transport at its end that has no state of the first.
    held = guest.opened[0].dup()
    guest.stream = lambda: held
    other = guest.transport()
    other.resume(state, timeout=30)
    assert other._standing.command_id(CMD) == state["command"]
    assert other.run("true && echo in the same shell", timeout=30).text == "in the same shell\n"
    assert list(guest.server._shells._shells) == [state["shell"]]
    assert guest.tcp_connections == 0
    other.close()
    control.abandon()


def test_a_shell_that_was_parked_over_tcp_is_resumed_over_the_channel(guest: Guest, interpreter: Callable[[str], None]) -> None:
    interpreter("exec sh")
    assert guest.server.port is not None
    state = open_winrm("127.0.0.1", guest.server.port, USER, SecretStr(PASSWORD)).park(timeout=30)
    transport = guest.transport()
    transport.resume(state, timeout=30)
    assert transport.run("true && echo the same", timeout=30).text == "the same\n"
    assert guest.tcp_connections == 0
    transport.close()
