"""pywinrm against the service: the client that the lab itself uses."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from winrm.exceptions import InvalidCredentialsError, WinRMOperationTimeoutError, WinRMTransportError, WSManFaultError
from winrm.protocol import Protocol

from tests.winrm.conftest import PASSWORD, Endpoint

Make = Callable[..., Protocol]


def run(client: Protocol, line: str, **settings: Any) -> tuple[bytes, bytes, int]:
    shell = client.open_shell(**settings)
    command = client.run_command(shell, line)
    result = client.get_command_output(shell, command)
    client.cleanup_command(shell, command)
    client.close_shell(shell, close_session=False)
    return result


def test_ntlm_with_encryption_gives_streams_and_exit_code(endpoint: Endpoint, pywinrm: Make) -> None:
    assert run(pywinrm(endpoint.http), "echo out; echo err >&2; exit 7") == (b"out\n", b"err\n", 7)


@pytest.mark.parametrize(
    ("user", "password"), [("LAB", PASSWORD), (".\\lab", PASSWORD), ("GUEST\\lab", PASSWORD), ("x\\other", "second")]
)
def test_a_stand_alone_guest_accepts_any_domain_name(endpoint: Endpoint, pywinrm: Make, user: str, password: str) -> None:
    assert run(pywinrm(endpoint.http, username=user, password=password), "exit 3")[2] == 3
    client = pywinrm(endpoint.https, "basic", username=user, password=password, ca_trust_path=str(endpoint.certificate))
    assert run(client, "exit 3")[2] == 3


@pytest.mark.parametrize(("user", "password"), [("lab", "wrong"), ("nobody", PASSWORD), ("lab", "")])
def test_wrong_credentials_are_refused(endpoint: Endpoint, pywinrm: Make, user: str, password: str) -> None:
    with pytest.raises(InvalidCredentialsError):
        pywinrm(endpoint.http, username=user, password=password).open_shell()
    with pytest.raises(InvalidCredentialsError):
        pywinrm(endpoint.https, "basic", username=user, password=password, ca_trust_path=str(endpoint.certificate)).open_shell()


@pytest.mark.parametrize("transport", ["basic", "ssl", "ntlm"])
@pytest.mark.parametrize("encryption", ["auto", "always"])
def test_tls(endpoint: Endpoint, pywinrm: Make, transport: str, encryption: str) -> None:
    if transport != "ntlm" and encryption == "always":
        encryption = "never"
    client = pywinrm(endpoint.https, transport, ca_trust_path=str(endpoint.certificate), message_encryption=encryption)
    assert run(client, "echo over tls") == (b"over tls\n", b"", 0)


def test_tls_without_channel_bindings(endpoint: Endpoint, pywinrm: Make) -> None:
    client = pywinrm(endpoint.https, "ntlm", ca_trust_path=str(endpoint.certificate), send_cbt=False)
    assert run(client, "exit 4")[2] == 4


def test_basic_is_refused_over_http(endpoint: Endpoint, pywinrm: Make) -> None:
    with pytest.raises(InvalidCredentialsError):
        pywinrm(endpoint.http, "basic").open_shell()


def test_unencrypted_messages_are_refused_over_http(endpoint: Endpoint, pywinrm: Make) -> None:
    with pytest.raises(WinRMTransportError) as caught:
        pywinrm(endpoint.http, message_encryption="never").open_shell()
    assert caught.value.code == 500


def test_five_megabytes_out_arrive_unchanged(endpoint: Endpoint, pywinrm: Make, tmp_path: Path) -> None:
    data = os.urandom(5_000_000)
    (tmp_path / "big").write_bytes(data)
    out, err, code = run(pywinrm(endpoint.http), f"cat {tmp_path}/big; exit 9")
    assert (out == data, err, code) == (True, b"", 9)


def test_five_megabytes_in_and_out_again(endpoint: Endpoint, pywinrm: Make) -> None:
    data = os.urandom(5_000_000)
    writer, reader = pywinrm(endpoint.http), pywinrm(endpoint.http)
    shell = writer.open_shell()
    command = writer.run_command(shell, "cat")
    results: list[tuple[bytes, bytes, int]] = []
    thread = threading.Thread(target=lambda: results.append(reader.get_command_output(shell, command)))
    thread.start()
    step = 100_000
    for start in range(0, len(data), step):
        writer.send_command_input(shell, command, data[start : start + step], end=start + step >= len(data))
    thread.join()
    assert results[0][0] == data
    assert results[0][1:] == (b"", 0)


def test_input_comes_in_pieces_and_may_end_without_data(endpoint: Endpoint, pywinrm: Make) -> None:
    client = pywinrm(endpoint.http)
    shell = client.open_shell()
    command = client.run_command(shell, "read one; echo got $one; read two; echo got $two; cat; echo end")
    client.send_command_input(shell, command, "first\n")
    assert client.get_command_output_raw(shell, command)[0] == b"got first\n"
    client.send_command_input(shell, command, b"second\n")
    client.send_command_input(shell, command, b"", end=True)
    assert client.get_command_output(shell, command) == (b"got second\nend\n", b"", 0)
    with pytest.raises(WSManFaultError) as caught:
        client.send_command_input(shell, command, b"too late")
    assert caught.value.wsman_fault_code == 232


def test_output_comes_as_it_is_made_and_time_outs_are_the_known_fault(endpoint: Endpoint, pywinrm: Make) -> None:
    client = pywinrm(endpoint.http, operation_timeout_sec=1)
    shell = client.open_shell()
    command = client.run_command(shell, "echo early; read rest; echo late; exit 5")
    assert client.get_command_output_raw(shell, command) == (b"early\n", b"", -1, False)
    with pytest.raises(WinRMOperationTimeoutError):
        client.get_command_output_raw(shell, command)
    client.send_command_input(shell, command, b"go\n")
    assert client.get_command_output(shell, command) == (b"late\n", b"", 5)


def test_terminate_ends_the_command_and_its_children(endpoint: Endpoint, pywinrm: Make, tmp_path: Path) -> None:
    # The pipe's writing end lives as long as the command or a child of it.
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    client, other = pywinrm(endpoint.http), pywinrm(endpoint.http)
    shell = client.open_shell()
    command = client.run_command(shell, f"exec 3>{pipe}; sleep 1000 & sleep 1000")
    reader = os.open(pipe, os.O_RDONLY)
    waiting: list[BaseException] = []

    def receive() -> None:
        try:
            other.get_command_output_raw(shell, command)
        except WSManFaultError as error:
            waiting.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    client.cleanup_command(shell, command)
    assert os.read(reader, 1) == b""
    os.close(reader)
    thread.join()
    # 995 when the receive was waiting, shell-not-found when it came too late.
    assert isinstance(waiting[0], WSManFaultError)
    assert waiting[0].wsman_fault_code in (995, 2150858843)
    assert run(client, "exit 6")[2] == 6


def test_deleting_a_shell_ends_the_processes_of_its_commands(endpoint: Endpoint, pywinrm: Make, tmp_path: Path) -> None:
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    client = pywinrm(endpoint.http)
    shell = client.open_shell()
    command = client.run_command(shell, f"sleep 1000 >{pipe} 2>&1 </dev/null & echo left")
    reader = os.open(pipe, os.O_RDONLY)
    assert client.get_command_output(shell, command) == (b"left\n", b"", 0)
    client.cleanup_command(shell, command)
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):  # a child in the background outlives its finished command …
        os.read(reader, 1)
    os.set_blocking(reader, True)
    client.close_shell(shell, close_session=False)  # … but not its shell
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_child_that_keeps_the_streams_does_not_keep_the_command(serve: Callable[..., Endpoint], pywinrm: Make) -> None:
    client = pywinrm(serve(exit_grace_s=0.1).http)
    shell = client.open_shell()
    command = client.run_command(shell, "sleep 1000 & echo started; exit 2")
    assert client.get_command_output(shell, command) == (b"started\n", b"", 2)
    client.close_shell(shell, close_session=False)


def test_commands_of_one_shell_run_side_by_side(endpoint: Endpoint, pywinrm: Make, tmp_path: Path) -> None:
    pipe = tmp_path / "meet"
    os.mkfifo(pipe)
    client = pywinrm(endpoint.http)
    shell = client.open_shell()
    # Each end of a named pipe waits for the other, so neither ends unless both run.
    commands = [client.run_command(shell, f"echo x{n} >{pipe}.{n}; cat {pipe}") for n in range(3)]
    writer = client.run_command(shell, f"for n in 1 2 3; do echo met; done >{pipe}")
    assert client.get_command_output(shell, writer) == (b"", b"", 0)
    results = [client.get_command_output(shell, command) for command in commands[:1]]
    assert all(code == 0 for _, _, code in results)
    for command in commands:
        client.cleanup_command(shell, command)
    assert {(tmp_path / f"meet.{n}").read_text() for n in range(3)} == {"x0\n", "x1\n", "x2\n"}


def test_several_shells_at_once(endpoint: Endpoint, pywinrm: Make) -> None:
    client = pywinrm(endpoint.http)
    shells = [client.open_shell(env_vars={"NAME": f"shell {n} <&>"}) for n in range(5)]
    commands = [client.run_command(shell, 'echo "$NAME"') for shell in shells]
    outputs = [client.get_command_output(*pair)[0] for pair in zip(shells, commands, strict=True)]
    assert outputs == [f"shell {n} <&>\n".encode() for n in range(5)]


def test_environment_folder_and_arguments(endpoint: Endpoint, pywinrm: Make, tmp_path: Path) -> None:
    client = pywinrm(endpoint.http)
    shell = client.open_shell(working_directory=str(tmp_path), env_vars={"A": "ä b", "B": ""}, noprofile=True, codepage=65001)
    command = client.run_command(shell, "pwd; echo", ['"$A"', "'<&>'", '"[$B]"'])
    assert client.get_command_output(shell, command) == (f"{tmp_path}\nä b <&> []\n".encode(), b"", 0)


def test_a_folder_that_is_not_there_is_a_fault_of_the_command(endpoint: Endpoint, pywinrm: Make) -> None:
    client = pywinrm(endpoint.http)
    shell = client.open_shell(working_directory="/no/such/folder")
    with pytest.raises(WSManFaultError) as caught:
        client.run_command(shell, "true")
    assert caught.value.wsman_fault_code == 267


def test_a_program_without_the_shell(endpoint: Endpoint, pywinrm: Make) -> None:
    client = pywinrm(endpoint.http)
    shell = client.open_shell()
    command = client.run_command(shell, "/bin/echo", ["$HOME & 1"], skip_cmd_shell=True)
    assert client.get_command_output(shell, command) == (b"$HOME & 1\n", b"", 0)
    with pytest.raises(WSManFaultError) as caught:
        client.run_command(shell, "/no/such/program", skip_cmd_shell=True)
    assert caught.value.wsman_fault_code == 2


def test_requests_for_unknown_things_are_faults(endpoint: Endpoint, pywinrm: Make) -> None:
    client = pywinrm(endpoint.http)
    shell = client.open_shell()
    nothing = "00000000-0000-0000-0000-000000000001"
    for attempt in (
        lambda: client.run_command(nothing, "true"),
        lambda: client.close_shell(nothing, close_session=False),
        lambda: client.get_command_output_raw(shell, nothing),
        lambda: client.cleanup_command(shell, nothing),
        lambda: client.send_command_input(shell, nothing, b"x"),
    ):
        with pytest.raises(WSManFaultError) as caught:
            attempt()
        assert caught.value.wsman_fault_code == 2150858843
        assert caught.value.fault_subcode == "w:InvalidSelectors"
    with pytest.raises(WSManFaultError) as caught:
        client.run_command(shell, " ")
    assert caught.value.wsman_fault_code == 87


def test_the_number_of_shells_is_limited(serve: Callable[..., Endpoint], pywinrm: Make) -> None:
    client = pywinrm(serve(max_shells=2).http)
    client.open_shell()
    second = client.open_shell()
    with pytest.raises(WSManFaultError) as caught:
        client.open_shell()
    assert caught.value.wsman_fault_code == 2150859173
    client.close_shell(second, close_session=False)
    client.open_shell()


def test_closing_the_service_ends_commands_and_connections(
    serve: Callable[..., Endpoint], pywinrm: Make, tmp_path: Path
) -> None:
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    endpoint = serve()
    client = pywinrm(endpoint.http)
    client.run_command(client.open_shell(), f"exec 3>{pipe}; sleep 1000")
    reader = os.open(pipe, os.O_RDONLY)
    endpoint.server.close()
    assert os.read(reader, 1) == b""
    os.close(reader)
