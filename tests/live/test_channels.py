"""Users of a VM's private channels: the print agent of the free guest, and the first command to a fork."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from labwinrm.config import parse_config
from pydantic import ValidationError

from lab.config.kinds import TRANSPORTS
from lab.errors import ConfigError, EvidenceLost, TransportError
from lab.guest.probeserve import standing_probe
from lab.guest.standing import StandingProgram
from lab.guest.transport_kind import Parked, ParksInGuest, transport_kind
from lab.guest.winrm.kind import WINRM
from lab.guest.winrm.transport import WinRmTransport
from lab.image.manifest import Credentials, ImageManifest, KernelFacts, MachineSpec, PrintPort, TransportOffer
from lab.image.wine.contents import PRINTS_CHANNEL, WINRM_CHANNEL, winrm_settings
from lab.image.wine.recipe import WineRecipe
from lab.live.connect import access, connect
from lab.live.machine_spec import machine_spec
from lab.live.print_wiring import open_prints
from lab.prints.unobserved import Unobserved
from lab.prints.wine import WinePrintSource
from lab.snapshot.resume import continue_guest
from lab.vm.argv import build_argv
from tests.machines import MachineDouble
from tests.simulated import manifest as simulated_manifest

CREDENTIALS = Credentials(username="lab", password="secret")


class Machine(MachineDouble):
    """A VM whose channels and ports lead to an agent that has answered already; records what was opened."""

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

    def running(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

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


def offers(channel: str | None) -> dict[str, TransportOffer]:
    return {"winrm": TransportOffer(port=5985, channel=channel), "ssh": TransportOffer(port=22)}


def manifest(**changes: object) -> ImageManifest:
    prints = PrintPort(source="wine", mark_port=5999, mark_channel="lab.prints")
    return simulated_manifest(**{"prints": prints, "transports": offers("lab.winrm"), **changes})


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


def test_the_guests_service_gets_the_device_with_the_channels_name() -> None:
    settings = winrm_settings()
    assert settings["channel"] == f"/dev/{WINRM_CHANNEL}"
    assert parse_config(settings).channel == Path("/dev/lab.winrm")
    assert parse_config(settings | {"channel": ""}).channel is None


def test_an_older_image_has_no_channels(tmp_path: Path) -> None:
    older = simulated_manifest(machine=MachineSpec(machine="q35", memory_mb=64, disk="disk.qcow2"))
    text = older.model_dump_json(exclude={"prints": {"mark_channel"}})
    assert machine_spec(ImageManifest.model_validate_json(text), tmp_path, name="g", accelerator="tcg").channels == ()


@pytest.mark.parametrize(
    ("ports", "transports", "guest_ports", "channels"),
    [
        ({}, ["winrm", "ssh"], (5985, 5986, 22), ()),
        ({"winrm_channel": "lab.winrm"}, ["winrm", "ssh"], (5985, 5986, 22), ("lab.winrm",)),
        ({"winrm": 5985, "winrm_tls": None, "ssh": None}, ["winrm"], (5985,), ()),
        ({"winrm": None, "winrm_tls": None, "ssh": 2222}, ["ssh"], (2222,), ()),
    ],
)
def test_the_older_form_of_a_manifest_means_the_same(
    tmp_path: Path, ports: dict[str, object], transports: list[str], guest_ports: tuple[int, ...], channels: tuple[str, ...]
) -> None:
    older = json.loads(manifest(machine=MachineSpec(machine="q35", memory_mb=64, disk="disk.qcow2")).model_dump_json())
    del older["transports"]
    made = ImageManifest.model_validate_json(json.dumps(older | {"ports": ports}))
    assert list(made.transports) == transports
    assert (made.transport_ports, made.transport_channels) == (guest_ports, channels)
    spec = machine_spec(made, tmp_path, name="g", accelerator="tcg")
    assert spec.nic is not None
    assert spec.nic.forwards == (*guest_ports, 5999)
    assert spec.channels == (*channels, "lab.prints")
    assert ImageManifest.model_validate_json(made.model_dump_json()) == made


def test_an_older_form_with_an_unknown_key_is_refused() -> None:
    older = json.loads(manifest().model_dump_json())
    del older["transports"]
    with pytest.raises(ValidationError, match="telnet"):
        ImageManifest.model_validate_json(json.dumps(older | {"ports": {"telnet": 23}}))


def test_a_connection_uses_the_port_and_sends_nothing_yet(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = connect("winrm", manifest(), CREDENTIALS, machine)
    assert repr(made) == "<WinRM on 127.0.0.1:40001 as lab>"
    made.close()
    monkeypatch.setattr("lab.guest.ssh.transport.open_ssh", lambda *where, **_settings: where[:2])
    there: Any = connect("ssh", manifest(), CREDENTIALS, machine)
    assert there == ("127.0.0.1", 40002)
    assert machine.opened == []


def test_a_transport_that_an_image_lacks_is_reported_with_those_it_has(machine: Any) -> None:
    with pytest.raises(TransportError, match=r"image \w+ has no ssh\n  try: use winrm"):
        connect("ssh", manifest(transports={"winrm": TransportOffer(port=5985)}), CREDENTIALS, machine)
    with pytest.raises(ConfigError, match=r"there is no transport 'shh'\n  try: did you mean ssh"):
        connect("shh", manifest(), CREDENTIALS, machine)
    with pytest.raises(TransportError, match="names no port for this transport"):
        connect("winrm", manifest(transports={"winrm": TransportOffer()}), CREDENTIALS, machine)


def test_the_settings_of_a_transport_contain_no_secret(machine: Any) -> None:
    account = Credentials(username="lab", password="sesame-1", others={"toy": "sesame-2"})
    assert "sesame" not in repr(access("winrm", manifest(), account, machine))
    assert account.secrets == ("sesame-1", "sesame-2")


class Shell:
    """A WinRM transport that parks and resumes as the test says."""

    def __init__(self, *, channel: bool, fails: bool = False) -> None:
        self.on_channel = channel
        self.fails = fails
        self.done: list[str] = []

    def park(self, program: StandingProgram | None, *, beside: tuple[StandingProgram, ...], timeout: float) -> dict[str, str]:
        if self.fails:
            raise TransportError("no answer\nmore")
        self.done.append(f"park {program.words[0]}" if program else "park")
        return {"shell": "S", "command": "C"}

    def resume(
        self,
        state: Mapping[str, str],
        program: StandingProgram | None,
        *,
        beside: tuple[StandingProgram, ...],
        timeout: float,
    ) -> bool:
        self.done.append(f"resume {state['shell']}" + (f" {program.words[0]}" if program else ""))
        if self.fails:
            raise TransportError("the shell is gone")
        return True

    def close(self) -> None:
        self.done.append("close")

    def abandon(self) -> None:
        self.done.append("abandon")


@pytest.fixture
def shells(monkeypatch: pytest.MonkeyPatch) -> list[Shell]:
    """Shells by channel that are made from now on."""
    made: list[Shell] = []
    monkeypatch.setattr("lab.guest.winrm.transport.WinRmTransport", Shell)

    def open_winrm(*_where: object, channel: object, **_settings: object) -> Shell:
        made.append(Shell(channel=channel is not None))
        return made[-1]

    monkeypatch.setattr("lab.guest.winrm.transport.open_winrm", open_winrm)
    return made


def park(machine: Any, shell: Shell, channel: str | None, said: list[str]) -> Parked:
    there = access("winrm", manifest(transports=offers(channel)), CREDENTIALS, machine)
    return WINRM.park(shell, there, timeout=1, progress=said.append)  # type: ignore[arg-type]


def test_winrm_parks_by_its_channel_which_stays_open_over_the_snapshot(machine: Any, shells: list[Shell]) -> None:
    usual, said = Shell(channel=False), list[str]()
    parked = park(machine, usual, "lab.winrm", said)
    assert (usual.done, shells[0].done) == (["close"], ["park"])
    parked.release()
    assert shells[0].done == ["park", "abandon"]
    there = access("winrm", manifest(), CREDENTIALS, machine)
    assert WINRM.resume(there, parked.state, timeout=1) is shells[1]  # type: ignore[comparison-overlap]
    assert (shells[1].on_channel, shells[1].done, said) == (True, ["resume S"], [])


def test_a_connection_that_is_on_the_channel_already_is_kept(machine: Any, shells: list[Shell]) -> None:
    usual = Shell(channel=True)
    park(machine, usual, "lab.winrm", []).release()
    assert (usual.done, shells) == (["park", "abandon"], [])


def test_the_program_that_forks_need_is_left_in_the_guest(machine: Any, shells: list[Shell]) -> None:
    probe = standing_probe("C:\\p.exe")
    usual = Shell(channel=True)
    there = access("winrm", manifest(transports=offers("lab.winrm")), CREDENTIALS, machine, standing=probe)
    parked = WINRM.park(usual, there, timeout=1, progress=list[str]().append)  # type: ignore[arg-type]
    WINRM.resume(there, parked.state, timeout=1)
    assert (usual.done, shells[0].done) == (["park C:\\p.exe"], ["resume S C:\\p.exe"])


def test_without_a_channel_winrm_parks_by_its_port(machine: Any, shells: list[Shell]) -> None:
    usual = Shell(channel=False)
    parked = park(machine, usual, None, [])
    parked.release()
    assert (usual.done, shells, parked.state) == (["park"], [], {"shell": "S", "command": "C"})
    there = access("winrm", manifest(), CREDENTIALS, machine)
    WINRM.resume(there, parked.state, timeout=1)
    assert not shells[0].on_channel


def test_a_channel_that_is_not_served_is_given_up(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Shell(channel=True, fails=True)
    monkeypatch.setattr("lab.guest.winrm.transport.WinRmTransport", Shell)
    monkeypatch.setattr("lab.guest.winrm.transport.open_winrm", lambda *_where, **_settings: dead)
    usual, said = Shell(channel=False), list[str]()
    parked = park(machine, usual, "lab.winrm", said)
    assert (dead.done, usual.done, "by_channel" in parked.state) == (["abandon"], ["close", "park"], False)
    assert said == ["the guest does not serve its channel, so forks open a new connection: no answer"]
    with pytest.raises(TransportError, match="the shell is gone"):
        WINRM.resume(access("winrm", manifest(), CREDENTIALS, machine), parked.state, timeout=0)
    assert dead.done[-1] == "close"


def test_only_winrm_parks() -> None:
    assert {name for name in TRANSPORTS.builtin if isinstance(transport_kind(name), ParksInGuest)} == {"winrm"}


def test_a_transport_by_channel_and_port_is_winrm_and_not_on_the_channel_yet(machine: Any) -> None:
    made = WINRM.connect(access("winrm", manifest(), CREDENTIALS, machine))
    assert isinstance(made, WinRmTransport)
    assert not made.on_channel
    made.close()


def test_marks_use_the_channel_if_there_is_one(machine: Any) -> None:
    source = prints_of(machine)
    source._write_mark("t-1", 10)
    assert machine.opened == ["lab.prints"]
    assert machine.ends[0].recv(100) == b"MARK t-1\n"
    source.close()


class Listening:
    """An agent at a TCP port."""

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


def test_marks_use_the_port_without_a_channel(machine: Any, listening: Listening) -> None:
    machine.ports = {5999: listening.port}
    source = prints_of(machine, prints=PrintPort(source="wine", mark_port=5999))
    assert source._agent.where == f"127.0.0.1:{listening.port}"
    source._agent._connect(10).close()
    listening.listener.accept()[0].close()
    source.close()
    assert machine.opened == []


def test_marks_use_the_port_after_the_channel_has_failed(machine: Any, listening: Listening) -> None:
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
            self.manifest = manifest()
            self.transport = None

    return Live


def test_a_resumed_fork_gets_the_time_while_it_continues(machine: Any, live: Callable[..., Any]) -> None:
    source = prints_of(machine)
    continue_guest(machine, live(source), wall=lambda: 1795590907.25)
    assert machine.runs == [1]  # once, and after the request was sent
    words = machine.ends[0].recv(200).split()
    assert words[:2] == [b"WAKE", b"1795590907.250000"]
    assert len(bytes.fromhex(words[2].decode())) == 32
    source.close()


def test_a_fork_without_prints_continues(machine: Any, live: Callable[..., Any]) -> None:
    continue_guest(machine, live(Unobserved()))
    assert machine.runs == [0]


def test_a_fork_that_does_not_accept_the_time_is_an_error(machine: Any, live: Callable[..., Any]) -> None:
    def refused(_name: str) -> socket.socket:
        raise ConnectionRefusedError("nobody listens")

    machine.open = refused
    source = prints_of(machine)
    with pytest.raises(TransportError, match="after the guest was resumed: nobody listens"):
        continue_guest(machine, live(source))
    assert machine.runs == []
    source.close()
