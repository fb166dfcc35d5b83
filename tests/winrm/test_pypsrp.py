"""pypsrp's WinRS and Client against the service: an implementation of the protocol that is not pywinrm's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pypsrp.client import Client
from pypsrp.exceptions import AuthenticationError, WinRMTransportError, WSManFaultError
from pypsrp.shell import CommandState, Process, SignalCode, WinRS
from pypsrp.wsman import WSMan

from tests.winrm.conftest import PASSWORD, USER, Endpoint

Make = Callable[..., WSMan]


@pytest.fixture
def wsman(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    # in requests, this environment variable would override verify=False.
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with ExitStack() as stack:

        def make(*, tls: bool = False, **settings: Any) -> WSMan:
            port = endpoint.server.tls_port if tls else endpoint.server.port
            given: dict[str, Any] = {"username": USER, "password": PASSWORD, "no_proxy": True, "cert_validation": False}
            made = WSMan("127.0.0.1", port=port, ssl=tls, **{**given, **settings})
            stack.callback(made.close)
            return made

        yield make


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize(
    ("tls", "settings"),
    [
        (False, {"auth": "negotiate"}),
        (False, {"auth": "ntlm"}),
        (True, {"auth": "negotiate"}),
        (True, {"auth": "ntlm", "encryption": "always"}),
        (True, {"auth": "negotiate", "negotiate_send_cbt": False}),
        (True, {"auth": "basic"}),
    ],
)
def test_every_login_works(wsman: Make, tls: bool, settings: dict[str, Any]) -> None:
    with WinRS(wsman(tls=tls, **settings)) as shell:
        process = Process(shell, "echo out; echo err >&2; exit 200")
        process.invoke()
        assert (process.stdout, process.stderr, process.rc) == (b"out\n", b"err\n", 200)
        process.signal(SignalCode.TERMINATE)


def test_execute_cmd(endpoint: Endpoint) -> None:
    given: dict[str, Any] = {"port": endpoint.server.port, "ssl": False, "no_proxy": True}
    with Client("127.0.0.1", username=USER, password=PASSWORD, **given) as client:
        assert client.execute_cmd("echo $WHO; exit 3", environment={"WHO": "me"}) == ("me\n", "", 3)
    with (
        Client("127.0.0.1", username=USER, password="wrong", **given) as client,
        pytest.raises((AuthenticationError, WinRMTransportError)),
    ):
        client.execute_cmd("true")


def test_the_envelope_size_can_be_asked_for(wsman: Make) -> None:
    connection = wsman()
    connection.update_max_payload_size()
    assert connection.max_envelope_size == 500 * 1024


def test_streams_of_five_megabytes(wsman: Make, tmp_path: Path) -> None:
    data = os.urandom(5_000_000)
    (tmp_path / "data").write_bytes(data)
    connection = wsman()
    connection.update_max_payload_size()
    with WinRS(connection) as shell:
        out = Process(shell, f"cat {tmp_path}/data")
        out.invoke()
        assert out.stdout == data
        into = Process(shell, f"cat >{tmp_path}/copy; echo done")
        into.begin_invoke()
        step = connection.max_payload_size
        for start in range(0, len(data), step):
            into.send(data[start : start + step], end=start + step >= len(data))
        into.end_invoke()
        assert (into.stdout, into.rc) == (b"done\n", 0)
    assert (tmp_path / "copy").read_bytes() == data


def test_an_operation_time_out_means_no_output_yet(wsman: Make) -> None:
    with WinRS(wsman()) as shell:
        process = Process(shell, "read x; exit 4")
        process.begin_invoke()
        process.poll_invoke(timeout=1)
        assert process.state == CommandState.PENDING
        process.send(b"go\n")
        process.end_invoke()
        assert process.rc == 4


@pytest.mark.parametrize(("code", "name"), [(SignalCode.CTRL_C, "INT"), (SignalCode.CTRL_BREAK, "QUIT")])
def test_console_signals_reach_the_command(wsman: Make, code: str, name: str) -> None:
    with WinRS(wsman()) as shell:
        process = Process(shell, f"trap 'echo caught; exit 42' {name}; echo ready; while :; do read x; done")
        process.begin_invoke()
        while b"ready" not in process.stdout:
            process.poll_invoke()
        process.signal(code)
        process.end_invoke()
        assert (process.stdout, process.rc) == (b"ready\ncaught\n", 42)
        process.signal(code)  # a signal to a command that has ended is not an error


def test_a_shell_keeps_its_own_identifier_and_settings(wsman: Make, tmp_path: Path) -> None:
    shell = WinRS(
        wsman(),
        id="C0FFEE00-0000-4000-8000-000000000001",
        codepage=65001,
        environment={"X": "1"},
        idle_time_out=60,
        lifetime=600,
        name="named",
        no_profile=True,
        working_directory=str(tmp_path),
    )
    with shell:
        assert shell.id == "C0FFEE00-0000-4000-8000-000000000001"
        process = Process(shell, "echo", ["$X", "$PWD"])
        process.invoke()
        assert process.stdout == f"1 {tmp_path}\n".encode()
        with pytest.raises(WSManFaultError) as caught:
            WinRS(wsman(), id=shell.id).open()
        assert caught.value.code == 87
    shell.opened = True
    with pytest.raises(WSManFaultError) as caught:
        shell.close()
    assert caught.value.code == 2150858843
