"""The service on a virtio-serial port: holders come and go, and none gets anything that belongs to another."""

from __future__ import annotations

import base64
import os
import pty
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import socket
from xml.etree import ElementTree as ET

import pytest
from labwinrm.channel import Channel
from labwinrm.config import Config
from labwinrm.service import SHELL_URI, TRANSFER

from tests.winrm.by_hand import BASIC, IDENTIFY, SHELL, envelope
from tests.winrm.conftest import USER, Endpoint
from tests.winrm.virtio_double import VirtioPort

DEADLINE_S = 30.0


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtioPort]:
    made = VirtioPort(tmp_path / "lab.winrm")
    made.replace_in(monkeypatch, "labwinrm.channel")
    monkeypatch.setattr("labwinrm.server.LOOK_AGAIN_S", 0.005)
    yield made
    made.end()


@pytest.fixture
def served(port: VirtioPort, serve: Callable[..., Endpoint]) -> Endpoint:
    return serve(https_port=None, tls_certificate=None, tls_key=None, channel=port.path)


def request(body: bytes, login: str = BASIC, kind: str = "application/soap+xml", more: str = "") -> bytes:
    head = f"POST /wsman HTTP/1.1\r\nHost: channel\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}"
    return (head + (f"Authorization: {login}\r\n" if login else "") + "\r\n").encode() + body


class Holder:
    """A client that holds the port and reads one answer after the other; every byte must belong to one."""

    def __init__(self, sock: socket) -> None:
        self.sock = sock
        self._file = sock.makefile("rb")

    def read(self) -> tuple[int, dict[str, str], bytes]:
        version, status, _ = self._file.readline().split(b" ", 2)
        assert version == b"HTTP/1.1"
        headers: dict[str, str] = {}
        while line := self._file.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        return int(status), headers, self._file.read(int(headers["content-length"]))

    def ask(self, body: bytes, **changes: str) -> tuple[int, dict[str, str], bytes]:
        self.sock.sendall(request(body, **changes))
        return self.read()

    def let_go(self) -> None:
        self._file.close()

    def operation(self, action: str, body: str, shell: str = "") -> tuple[int, ET.Element]:
        message_id, data = envelope(action, body, shell=shell)
        status, _, answer = self.ask(data)
        root = ET.fromstring(answer)
        assert message_id in answer.decode()  # the answer to this question and to no other
        return status, root

    def start(self, line: str) -> tuple[str, str]:
        """A shell and a command in it."""
        _, root = self.operation(TRANSFER + "Create", "<rsp:Shell/>")
        shell = root.findtext(f".//{SHELL}ShellId") or ""
        line = f"<rsp:CommandLine><rsp:Command>{line}</rsp:Command></rsp:CommandLine>"
        _, root = self.operation(SHELL_URI + "/Command", line, shell)
        return shell, root.findtext(f".//{SHELL}CommandId") or ""

    def output(self, shell: str, command: str) -> bytes:
        """All output of a command."""
        out, done = b"", False
        while not done:
            _, root = self.operation(SHELL_URI + "/Receive", wanted(command), shell)
            out += b"".join(base64.b64decode(e.text or "") for e in root.iter(f"{SHELL}Stream"))
            done = root.find(f".//{SHELL}ExitCode") is not None
        return out


def wanted(command: str) -> str:
    return f'<rsp:Receive><rsp:DesiredStream CommandId="{command}">stdout stderr</rsp:DesiredStream></rsp:Receive>'


Hold = Callable[..., Holder]
LetGo = Callable[..., None]


@pytest.fixture
def hold(port: VirtioPort, served: Endpoint) -> Iterator[Hold]:
    holders: list[Holder] = []

    def make(room: int | None = None) -> Holder:
        holders.append(Holder(port.hold(room=room)))
        return holders[-1]

    yield make
    for holder in holders:
        holder.let_go()


@pytest.fixture
def let_go(port: VirtioPort, served: Endpoint) -> Callable[..., None]:
    """Releases the port; ``unseen``: without waiting until the service has seen that."""

    def do(holder: Holder, *, unseen: bool = False) -> None:
        holder.let_go()
        port.let_go(holder.sock)
        assert served.server._channel is not None
        channel, _ = served.server._channel
        deadline = time.monotonic() + DEADLINE_S
        while not unseen and not channel._gone:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    return do


def test_a_holder_is_served_like_a_client_over_tls(hold: Hold) -> None:
    holder = hold()
    assert holder.ask(IDENTIFY)[0] == 200
    shell, command = holder.start("echo over the channel")
    assert holder.output(shell, command) == b"over the channel\n"


def test_a_holder_must_log_in_with_each_request(hold: Hold) -> None:
    holder = hold()
    status, headers, _ = holder.ask(IDENTIFY, login="")
    assert (status, headers["www-authenticate"]) == (401, 'Negotiate, Basic realm="WSMAN"')
    assert holder.ask(IDENTIFY)[0] == 200
    wrong = "Basic " + base64.b64encode(f"{USER}:not it".encode()).decode()
    assert holder.ask(IDENTIFY, login=wrong)[0] == 401
    assert holder.ask(IDENTIFY, login="")[0] == 401
    assert holder.ask(IDENTIFY)[0] == 200


def test_a_login_does_not_hold_for_the_next_holder(hold: Hold, let_go: LetGo) -> None:
    first = hold()
    assert first.ask(IDENTIFY)[0] == 200
    let_go(first)
    assert hold().ask(IDENTIFY, login="")[0] == 401


def test_holders_follow_each_other(hold: Hold, let_go: LetGo) -> None:
    for _ in range(20):
        holder = hold()
        assert holder.ask(IDENTIFY)[0] == 200
        let_go(holder)


def test_a_holder_that_follows_at_once_is_not_mistaken_for_the_one_before(hold: Hold, let_go: LetGo) -> None:
    # Its first request may be there before the service has noticed anything.
    holder = hold()
    for _ in range(50):
        let_go(holder, unseen=True)
        holder = hold()
        assert holder.ask(IDENTIFY)[0] == 200


def test_half_an_answer_is_not_finished_for_the_next_holder(hold: Hold, let_go: LetGo) -> None:
    first = hold(room=4096)
    shell, command = first.start("head -c 140000 /dev/zero")
    _, data = envelope(SHELL_URI + "/Receive", wanted(command), shell=shell)
    first.sock.sendall(request(data))
    assert first.sock.recv(1000).startswith(b"HTTP/1.1 200")  # the rest waits for room
    let_go(first)
    second = hold()
    assert second.ask(IDENTIFY)[0] == 200
    shell, command = second.start("echo mine")
    assert second.output(shell, command) == b"mine\n"


@pytest.mark.parametrize("cut", [10, 150, -1])
def test_half_a_request_gets_no_answer_and_is_not_a_part_of_the_next(hold: Hold, let_go: LetGo, cut: int) -> None:
    first = hold()
    assert first.ask(IDENTIFY)[0] == 200
    first.sock.sendall(request(IDENTIFY)[:cut])
    let_go(first)
    second = hold()
    assert second.ask(IDENTIFY)[0] == 200
    assert second.ask(IDENTIFY)[0] == 200


def test_a_receive_that_waits_ends_with_its_holder(hold: Hold, let_go: LetGo) -> None:
    first = hold()
    shell, command = first.start("read line; echo $line")
    _, data = envelope(SHELL_URI + "/Receive", wanted(command), shell=shell)
    first.sock.sendall(request(data))
    let_go(first)
    second = hold()
    started = time.monotonic()
    assert second.ask(IDENTIFY)[0] == 200
    assert time.monotonic() - started < 15  # the time limit of that Receive is 20 s
    text = base64.b64encode(b"typed\n").decode()
    body = f'<rsp:Send><rsp:Stream Name="stdin" CommandId="{command}" End="true">{text}</rsp:Stream></rsp:Send>'
    assert second.operation(SHELL_URI + "/Send", body, shell)[0] == 200
    assert second.output(shell, command) == b"typed\n"


def test_requests_of_a_holder_that_left_are_not_answered_to_the_next(hold: Hold, let_go: LetGo) -> None:
    first = hold()
    shell, command = first.start("sleep 600")
    _, data = envelope(SHELL_URI + "/Receive", wanted(command), shell=shell)
    first.sock.sendall(request(data) + request(IDENTIFY) + request(IDENTIFY)[:100])
    let_go(first)
    second = hold()
    assert second.operation(SHELL_URI + "/Signal", signal(command), shell)[0] == 200


def signal(command: str) -> str:
    return f'<rsp:Signal CommandId="{command}"><rsp:Code>{SHELL_URI}/signal/terminate</rsp:Code></rsp:Signal>'


def test_garbage_is_refused_and_the_next_holder_begins_anew(hold: Hold, let_go: LetGo) -> None:
    first = hold()
    first.sock.sendall(b"SSH-2.0-nobody\r\n\r\n")
    assert first.read()[0] == 400
    first.sock.sendall(b"more of it\r\n\r\n" + request(IDENTIFY))
    let_go(first)
    assert hold().ask(IDENTIFY)[0] == 200


def test_a_holder_that_wants_no_further_answer_may_stay(hold: Hold) -> None:
    holder = hold()
    status, headers, _ = holder.ask(IDENTIFY, more="Connection: close\r\n")
    assert (status, headers["connection"]) == (200, "close")
    assert holder.ask(IDENTIFY)[0] == 200


def test_the_service_can_end_while_the_port_is_held(hold: Hold, served: Endpoint) -> None:
    holder = hold()
    shell, command = holder.start("sleep 600")
    _, data = envelope(SHELL_URI + "/Receive", wanted(command), shell=shell)
    holder.sock.sendall(request(data))
    served.server.close()
    served.server.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "labwinrm-channel"]


def test_a_port_that_this_vm_does_not_have_is_ignored(serve: Callable[..., Endpoint], tmp_path: Path) -> None:
    endpoint = serve(https_port=None, tls_certificate=None, tls_key=None, channel=tmp_path / "none")
    assert endpoint.server.port
    assert not [thread for thread in threading.enumerate() if thread.name == "labwinrm-channel"]


def test_the_channel_is_a_path_among_the_settings(tmp_path: Path, make_config: Callable[..., Config]) -> None:
    assert make_config().channel is None
    assert make_config(channel=tmp_path / "x").channel == tmp_path / "x"


# -- the device --------------------------------------------------------------------------------------------------------


@pytest.fixture
def channel(port: VirtioPort) -> Iterator[Channel]:
    made = Channel(port.path)
    yield made
    made.close()


def test_a_port_without_a_holder_reads_the_end_and_accepts_nothing(port: VirtioPort, channel: Channel) -> None:
    assert not channel.held()
    assert channel.recv(10) == b""
    with pytest.raises(BrokenPipeError):
        channel.sendall(b"for nobody")
    assert channel.recv(10) == b""
    holder = port.hold()
    assert channel.held()
    holder.sendall(b"x")
    assert channel.recv(10) == b"x"
    channel.sendall(b"y")
    assert holder.recv(10) == b"y"


def test_after_its_end_a_holder_is_gone_even_if_another_is_there(port: VirtioPort, channel: Channel) -> None:
    first = port.hold()
    assert channel.held()
    port.let_go(first)
    assert channel.recv(10) == b""
    second = port.hold()
    second.sendall(b"a request")
    assert channel.recv(10) == b""
    with pytest.raises(BrokenPipeError):
        channel.sendall(b"an answer to the first")
    channel.drain()
    assert channel.held()
    assert channel.recv(10) == b"a request"


def test_input_of_a_holder_that_left_is_discarded_and_that_of_the_next_is_not(port: VirtioPort, channel: Channel) -> None:
    first = port.hold()
    first.sendall(b"left")
    port.let_go(first)
    channel.discard()
    second = port.hold()
    second.sendall(b"sent")
    channel.discard()
    assert channel.held()
    assert channel.recv(10) == b"sent"


def test_input_of_the_next_holder_is_kept_while_the_rest_of_the_last_is_read(
    port: VirtioPort, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = os.read

    def read_when_another_has_come(fd: int, size: int) -> bytes:
        monkeypatch.setattr(port, "read", read, raising=False)
        port.hold().sendall(b"a request")
        return read(fd, size)

    assert not channel.held()
    monkeypatch.setattr(port, "read", read_when_another_has_come, raising=False)
    channel.discard()
    assert channel.held()
    assert channel.recv(100) == b"a request"
    channel.sendall(b"an answer")
    assert port._holders[-1].recv(100) == b"an answer"


def test_input_kept_for_a_holder_is_dropped_when_it_leaves(port: VirtioPort, channel: Channel) -> None:
    first = port.hold()
    first.sendall(b"a request")
    channel.discard()
    port.let_go(first)
    assert not channel.held()
    second = port.hold()
    second.sendall(b"another")
    assert channel.held()
    assert channel.recv(100) == b"another"


def test_hanging_up_ends_every_wait(port: VirtioPort, channel: Channel) -> None:
    holder = port.hold()
    assert channel.held()
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(channel.recv(10)))
    thread.start()
    channel.hang_up()
    thread.join(DEADLINE_S)
    assert got == [b""]
    holder.sendall(b"x")
    assert channel.recv(10) == b""


def test_a_terminal_works_as_the_device(tmp_path: Path) -> None:
    master, follower = pty.openpty()
    tty.setraw(follower)
    channel = Channel(Path(os.ttyname(follower)))
    os.close(follower)
    try:
        assert channel.held()
        os.write(master, b"hello")
        assert channel.recv(10) == b"hello"
        sent = os.urandom(200_000)
        thread = threading.Thread(target=channel.sendall, args=(sent,))
        thread.start()
        got = b""
        while len(got) < len(sent):
            got += os.read(master, 65536)
        thread.join(DEADLINE_S)
        assert got == sent
    finally:
        os.close(master)
    assert channel.recv(10) == b""
    assert not channel.held()
    channel.close()
