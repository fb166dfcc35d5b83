"""Who goes by a machine's private channels: the print agent of the free guest, and whoever asks a fork its first question."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from labwinrm.config import parse_config

from lab.errors import EvidenceLost, TransportError
from lab.guest.winrm.transport import WinRmTransport
from lab.image.manifest import Credentials, ImageManifest, KernelFacts, MachineSpec, Ports, PrintPort
from lab.image.wine.contents import PRINTS_CHANNEL, WINRM_CHANNEL, winrm_settings
from lab.image.wine.recipe import WineRecipe
from lab.live.boot import connect
from lab.live.machine_spec import machine_spec
from lab.live.print_wiring import open_prints
from lab.prints.unobserved import Unobserved
from lab.prints.wine import WinePrintSource
from lab.snapshot.resume import go_on
from lab.vm.argv import build_argv
from tests.machines import MachineDouble
from tests.simulated import manifest as simulated_manifest

CREDENTIALS = Credentials(username="lab", password="secret")


class Machine(MachineDouble):
    """A machine whose channels and ports lead to an agent that has answered already; notes what was opened."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ports = {5985: 40001, 22: 40002, 5999: 40003}
        self.channels = self
        self.opened: list[str] = []
        self.ends: list[socket.socket] = []
        self.runs: list[int] = []

    def open(self, name: str) -> socket.socket:
        self.opened.append(name)
        ours, theirs = socket.socketpair()
        self.ends.append(theirs)
        theirs.sendall(b"OK\n")
        return ours

    def cont(self) -> None:
        self.runs.append(len(self.opened))

    def close(self) -> None:
        for end in self.ends:
            end.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.close()


def manifest(**changes: object) -> ImageManifest:
    prints = PrintPort(source="wine", mark_port=5999, mark_channel="lab.prints")
    return simulated_manifest(**{"prints": prints, "ports": Ports(winrm_channel="lab.winrm"), **changes})


def prints_of(machine: Any, **changes: object) -> WinePrintSource:
    source = open_prints(manifest(**changes), machine, "utf-8", lambda: None)  # type: ignore[arg-type, return-value]
    assert isinstance(source, WinePrintSource)
    return source


def test_the_free_guest_has_a_channel_for_winrm_and_one_for_its_prints(tmp_path: Path) -> None:
    made = WineRecipe().manifest({"wine": "8.0~repack-4", "debian": "12"}, KernelFacts(modules={}))
    spec = machine_spec(made, tmp_path, name="g", accelerator="tcg")
    assert spec.channels == (WINRM_CHANNEL, PRINTS_CHANNEL) == ("lab.winrm", "lab.prints")
    ports = [item for item in build_argv(spec) if item.startswith("virtserialport")]
    assert [item.rpartition("name=")[2] for item in ports] == ["lab.winrm", "lab.prints"]
    assert ImageManifest.model_validate_json(made.model_dump_json()) == made


def test_the_guest_s_service_is_told_of_the_device_by_the_channel_s_name() -> None:
    settings = winrm_settings()
    assert settings["channel"] == f"/dev/{WINRM_CHANNEL}"
    assert parse_config(settings).channel == Path("/dev/lab.winrm")
    assert parse_config(settings | {"channel": ""}).channel is None


def test_an_image_of_before_has_no_channels(tmp_path: Path) -> None:
    older = simulated_manifest(machine=MachineSpec(machine="q35", memory_mb=64, disk="disk.qcow2"))
    text = older.model_dump_json(exclude={"ports": {"winrm_channel"}, "prints": {"mark_channel"}})
    assert machine_spec(ImageManifest.model_validate_json(text), tmp_path, name="g", accelerator="tcg").channels == ()


@pytest.mark.parametrize(
    ("channel", "ports", "name"),
    [(True, Ports(winrm_channel="lab.winrm"), "lab.winrm"), (False, Ports(winrm_channel="lab.winrm"), ""), (True, Ports(), "")],
)
def test_winrm_goes_by_the_channel_where_that_is_asked_for_and_there_is_one(
    machine: Any, monkeypatch: pytest.MonkeyPatch, channel: bool, ports: Ports, name: str
) -> None:
    given: dict[str, Any] = {}

    def open_winrm(*where: object, **settings: Any) -> str:
        given.update(settings, where=where[:2])
        return "a transport"

    monkeypatch.setattr("lab.live.boot.open_winrm", open_winrm)
    made: Any = connect("winrm", manifest(ports=ports), CREDENTIALS, machine, channel=channel)
    assert made == "a transport"
    assert given["where"] == ("127.0.0.1", 40001)
    assert machine.opened == []  # nothing is sent before the first command
    if name:
        given["channel"]().close()
        assert machine.opened == [name]
    else:
        assert given["channel"] is None


def test_ssh_knows_nothing_of_channels(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.guest.ssh.transport.open_ssh", lambda *where, **_settings: where[:2])
    made: Any = connect("ssh", manifest(), CREDENTIALS, machine, channel=True)
    assert made == ("127.0.0.1", 40002)
    assert machine.opened == []


def test_a_transport_by_channel_and_port_is_winrm_and_not_on_the_channel_yet(machine: Any) -> None:
    made = connect("winrm", manifest(), CREDENTIALS, machine, channel=True)
    assert isinstance(made, WinRmTransport)
    assert repr(made) == "<WinRM on 127.0.0.1:40001 as lab>"
    assert not made.on_channel
    made.close()


def test_marks_go_by_the_channel_where_there_is_one(machine: Any) -> None:
    source = prints_of(machine)
    source._write_mark("t-1", 10)
    assert machine.opened == ["lab.prints"]
    assert machine.ends[0].recv(100) == b"MARK t-1\n"
    source.close()


class Listening:
    """An agent behind a TCP port."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.port = self.listener.getsockname()[1]

    def close(self) -> None:
        self.listener.close()


@pytest.fixture
def listening() -> Iterator[Listening]:
    made = Listening()
    yield made
    made.close()


def test_marks_go_by_the_port_where_there_is_no_channel(machine: Any, listening: Listening) -> None:
    machine.ports = {5999: listening.port}
    source = prints_of(machine, prints=PrintPort(source="wine", mark_port=5999))
    assert source._agent.where == f"127.0.0.1:{listening.port}"
    source._agent._connect(10).close()
    listening.listener.accept()[0].close()
    source.close()
    assert machine.opened == []


def test_marks_go_by_the_port_once_the_channel_has_failed(machine: Any, listening: Listening) -> None:
    machine.ports = {5999: listening.port}
    source = prints_of(machine)
    assert source._agent.where == f"the channel lab.prints or 127.0.0.1:{listening.port}"
    source._agent._connect(10).close()
    for _ in range(2):
        source._agent._connect(10).close()
        listening.listener.accept()[0].close()
    source.close()
    assert machine.opened == ["lab.prints"]


def test_a_channel_that_has_failed_and_no_port_is_lost_evidence(machine: Any) -> None:
    source = prints_of(machine, prints=PrintPort(source="wine", mark_channel="lab.prints"))
    source._write_mark("t-1", 10)
    machine.ends[0].close()
    with pytest.raises(EvidenceLost, match="its channel has failed, and the image has no port"):
        source._write_mark("t-2", 10)
    source.close()


@pytest.fixture
def live(machine: Any) -> Callable[..., Any]:
    class Live:
        def __init__(self, prints: object) -> None:
            self.prints = prints

    return Live


def test_a_fork_that_goes_on_is_told_the_time_while_it_is_let_run(machine: Any, live: Callable[..., Any]) -> None:
    source = prints_of(machine)
    go_on(machine, live(source), wall=lambda: 1795590907.25)
    assert machine.runs == [1]  # once, and when the request was on its way
    words = machine.ends[0].recv(200).split()
    assert words[:2] == [b"WAKE", b"1795590907.250000"]
    assert len(bytes.fromhex(words[2].decode())) == 32
    source.close()


def test_a_fork_whose_prints_nobody_resumes_is_let_run_all_the_same(machine: Any, live: Callable[..., Any]) -> None:
    go_on(machine, live(Unobserved()))
    assert machine.runs == [0]


def test_a_fork_that_does_not_take_the_time_is_an_error(machine: Any, live: Callable[..., Any]) -> None:
    def refused(_name: str) -> socket.socket:
        raise ConnectionRefusedError("nobody listens")

    machine.open = refused
    source = prints_of(machine)
    with pytest.raises(TransportError, match="after the guest was resumed: nobody listens"):
        go_on(machine, live(source))
    assert machine.runs == []
    source.close()
