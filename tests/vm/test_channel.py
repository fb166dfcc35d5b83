"""The host's ends of virtio-serial ports: with doubles of QEMU, and with a real one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.errors import TransportError
from lab.host.qemu import probe_features
from lab.vm.channel import Channels, socket_name
from lab.vm.machine import VirtualMachine
from lab.vm.ramfile import RamFile
from lab.vm.snapshot import fork, load_snapshot, take_snapshot
from lab.vm.spec import VmSpec

Poll = Callable[..., None]
NAMES = ("lab.winrm", "lab.prints")


class Listeners:
    """QEMU's ends: one listener a port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sockets: dict[str, socket.socket] = {}
        self.taken: list[socket.socket] = []

    def listen(self, name: str) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.settimeout(30)
        listener.bind(str(self.folder / socket_name(name)))
        listener.listen(1)
        self.sockets[name] = listener

    def accept(self, name: str) -> socket.socket:
        taken, _ = self.sockets[name].accept()
        taken.settimeout(30)
        self.taken.append(taken)
        return taken

    def nobody_else(self, name: str) -> bool:
        self.sockets[name].setblocking(False)
        try:
            self.sockets[name].accept()[0].close()
        except BlockingIOError:
            return True
        finally:
            self.sockets[name].settimeout(30)
        return False

    def close(self) -> None:
        for each in (*self.sockets.values(), *self.taken):
            each.close()


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[Listeners]:
    made = Listeners(tmp_path)
    for name in NAMES:
        made.listen(name)
    yield made
    made.close()


@pytest.fixture
def channels(qemu: Listeners) -> Iterator[Channels]:
    made = Channels(qemu.folder, NAMES)
    yield made
    made.close()


def test_a_held_port_is_the_one_that_is_opened(qemu: Listeners, channels: Channels) -> None:
    channels.hold()
    ends = {name: qemu.accept(name) for name in NAMES}
    with channels.open("lab.winrm") as stream:
        stream.sendall(b"hello")
        assert ends["lab.winrm"].recv(10) == b"hello"
        ends["lab.winrm"].sendall(b"and back")
        assert stream.recv(10) == b"and back"
    assert ends["lab.winrm"].recv(1) == b""
    assert all(qemu.nobody_else(name) for name in NAMES)


def test_a_port_that_was_opened_before_is_connected_anew(qemu: Listeners, channels: Channels) -> None:
    channels.hold()
    with channels.open("lab.winrm"), channels.open("lab.winrm") as second:
        first = qemu.accept("lab.winrm")
        second.sendall(b"2")
        assert qemu.accept("lab.winrm").recv(1) == b"2"
        first.setblocking(False)
        with pytest.raises(BlockingIOError):
            first.recv(1)


def test_a_port_is_opened_without_having_been_held(qemu: Listeners, channels: Channels) -> None:
    with channels.open("lab.prints") as stream:
        stream.sendall(b"x")
        assert qemu.accept("lab.prints").recv(1) == b"x"


def test_closing_closes_only_ports_that_were_not_opened(qemu: Listeners, channels: Channels) -> None:
    channels.hold()
    ends = {name: qemu.accept(name) for name in NAMES}
    with channels.open("lab.winrm") as mine:
        channels.close()
        channels.close()
        assert ends["lab.prints"].recv(1) == b""
        mine.sendall(b"still mine")
        assert ends["lab.winrm"].recv(20) == b"still mine"


def test_holding_twice_keeps_the_first_hold(qemu: Listeners, channels: Channels) -> None:
    channels.hold()
    channels.hold()
    with channels.open("lab.winrm") as stream:
        stream.sendall(b"1")
        assert qemu.accept("lab.winrm").recv(1) == b"1"
    assert qemu.nobody_else("lab.winrm")


def test_an_unknown_name_is_an_error_that_says_so(channels: Channels) -> None:
    with pytest.raises(ConnectionError, match=r"has no channel 'lab\.other'"):
        channels.open("lab.other")
    with pytest.raises(ConnectionError, match=r"has no channel '\.\./qmp'"):
        channels.open("../qmp")


def test_a_qemu_that_is_gone_is_named(qemu: Listeners, channels: Channels) -> None:
    channels.hold()
    channels.close()
    qemu.close()
    with pytest.raises(ConnectionError, match=r"lab\.winrm\.sock cannot be opened: .*refused"):
        channels.open("lab.winrm")
    (qemu.folder / socket_name("lab.winrm")).unlink()
    with pytest.raises(ConnectionError, match="No such file"):
        channels.open("lab.winrm")


def test_closing_releases_a_hold_that_failed_at_the_second_port(tmp_path: Path) -> None:
    qemu = Listeners(tmp_path)
    qemu.listen("lab.winrm")
    channels = Channels(tmp_path, NAMES)
    with pytest.raises(TransportError, match=r"lab\.prints\.sock"):
        channels.hold()
    channels.close()
    assert qemu.accept("lab.winrm").recv(1) == b""
    qemu.close()


def test_two_threads_never_get_the_same_stream(qemu: Listeners, channels: Channels) -> None:
    channels.hold()
    opened: list[socket.socket] = []
    threads = [threading.Thread(target=lambda: opened.append(channels.open("lab.winrm"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        qemu.accept("lab.winrm")
    for thread in threads:
        thread.join(30)
    assert len({stream.fileno() for stream in opened}) == 2
    for stream in opened:
        stream.close()


# -- a real QEMU -------------------------------------------------------------------------------------------------------


def spec_of(rom: Path, **changes: Any) -> VmSpec:
    return VmSpec(**{"name": "channels", "bios": rom, "memory_mb": 32, "channels": NAMES, **changes})


def held_ports(machine: VirtualMachine) -> list[str]:
    """The channels whose host's end QEMU finds held, in the order of the device's ports."""
    held = [
        str(entry["label"])
        for entry in machine.qmp.execute("query-chardev")
        if str(entry["label"]).startswith("channel") and not str(entry["filename"]).startswith("disconnected:")
    ]
    return sorted(held)


def test_a_started_vm_holds_its_ports_until_they_are_opened_and_closed(
    tmp_path: Path, make_rom: Callable[..., Path], wait_for: Poll
) -> None:
    with VirtualMachine(spec_of(make_rom()), tmp_path / "run") as machine:
        machine.start()
        wait_for(lambda: held_ports(machine) == ["channel0", "channel1"], "QEMU to see both ports held")
        first = machine.channels.open("lab.winrm")
        # The next client is connected, and is served when the first has closed the port.
        second = machine.channels.open("lab.winrm")
        assert held_ports(machine) == ["channel0", "channel1"]
        second.close()
        first.close()
        wait_for(lambda: held_ports(machine) == ["channel1"], "QEMU to see the first port let go of")
        with machine.channels.open("lab.winrm"):
            wait_for(lambda: held_ports(machine) == ["channel0", "channel1"], "QEMU to see the port held again")
    with pytest.raises(ConnectionError, match="cannot be opened"):
        machine.channels.open("lab.winrm")


def test_a_detached_vm_is_attached_to_with_its_ports(tmp_path: Path, make_rom: Callable[..., Path], wait_for: Poll) -> None:
    first = VirtualMachine(spec_of(make_rom()), tmp_path / "run")
    first.start(detached=True)
    try:
        first.close()
        with VirtualMachine.attach(tmp_path / "run") as machine:
            wait_for(lambda: held_ports(machine) == [], "QEMU to see that nobody holds the ports")
            with machine.channels.open("lab.prints"):
                wait_for(lambda: held_ports(machine) == ["channel1"], "QEMU to see the port held")
    finally:
        first.kill()


def test_a_fork_s_ports_are_held_before_it_is_given_its_state(
    tmp_path: Path, make_rom: Callable[..., Path], wait_for: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = probe_features("qemu-system-x86_64")
    ram = RamFile(32)
    machine = VirtualMachine(replace(spec_of(make_rom()), memory=ram.memory), tmp_path / "first")
    machine.start()
    folder = tmp_path / "template"
    folder.mkdir()
    take_snapshot(machine, folder, ram=ram, features=features)
    ram.close()
    seen: list[str] = []

    class Watched(VirtualMachine):
        def start(self, **settings: Any) -> None:
            super().start(**settings)
            wait_for(lambda: held_ports(self) == ["channel0", "channel1"], "QEMU to see both ports held")
            seen.append(self.status)

    monkeypatch.setattr("lab.vm.snapshot.VirtualMachine", Watched)
    with fork(load_snapshot(folder), folder, tmp_path / "a", name="a") as forked:
        assert seen == ["inmigrate"]
        forked.cont()
        assert forked.status == "running"
        assert held_ports(forked) == ["channel0", "channel1"]
