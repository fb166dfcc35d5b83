"""The measures of WinRM commands and of file copies, on a simulated guest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from lab.bench.measures.files import append_chunk, copies, media_of
from lab.bench.measures.winrm import COMMANDS, Client, Command, guest_port, take_turns
from lab.bench.protocol import NotHere
from lab.errors import TransportError
from lab.live.guest import LiveGuest
from tests.bench.fakes import FakeContext


def test_clients_take_turns_and_their_first_command_does_not_count(context: FakeContext) -> None:
    said: list[str] = []

    def client(name: str) -> Client:
        def run(command: Command) -> bytes:
            said.append(f"{name}:{command.name}")
            return b"lab\r\n" if command.line else b'{"seq":1,"op":"tick"}\r\n'

        return run

    context.count = 2
    times = take_turns({"a": client("a"), "b": client("b")}, COMMANDS, context)
    assert said == ["a:echo", "b:echo", "a:program", "b:program"] * 3
    assert times == {(command, name): [1.0, 1.0] for command in ("echo", "program") for name in "ab"}


def test_a_line_of_cmd_is_not_a_script_for_a_reader(context: FakeContext) -> None:
    context.count = 1
    times = take_turns({"reader": lambda _command: b'"op":"tick"'}, COMMANDS, context)
    assert times == {("program", "reader"): [1.0]}


def test_an_answer_of_another_program_is_not_a_reading(context: FakeContext) -> None:
    with pytest.raises(TransportError, match=r"x: .*drvprobe.* tick.*not recognized"):
        take_turns({"x": lambda _command: b"'drvprobe' is not recognized"}, COMMANDS[1:], context)


def test_a_guest_without_winrm_is_reported(context: FakeContext) -> None:
    with pytest.raises(NotHere, match="simulated guest"):
        guest_port(context.guest(), 5985)


class ChunkProtocol:
    """The part of pywinrm that writes a chunk."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.commands: list[str] = []
        self.cleaned: list[str] = []
        self.operation_timeout_sec = 20
        self.transport = None

    def open_shell(self, *, codepage: int) -> str:
        return "shell"

    def run_command(
        self,
        shell_id: str,
        command: str,
        arguments: Sequence[str] = (),
        console_mode_stdin: bool = True,
        skip_cmd_shell: bool = False,
    ) -> str:
        self.commands.append(command)
        return "command"

    def send_command_input(self, shell_id: str, command_id: str, stdin_input: bytes, end: bool = False) -> None:
        raise NotImplementedError

    def get_command_output_raw(self, shell_id: str, command_id: str) -> tuple[bytes, bytes, int, bool]:
        return b"", b"disk full", self.code, True

    def cleanup_command(self, shell_id: str, command_id: str) -> None:
        self.cleaned.append(command_id)

    def close_shell(self, shell_id: str, close_session: bool = True) -> None:
        """Nothing to do."""


def test_a_chunk_is_one_command_line_that_cmd_can_hold() -> None:
    protocol = ChunkProtocol()
    append_chunk(protocol, "shell", bytes(6000), r"C:\lab\bench\chunks.b64")
    (command,) = protocol.commands
    assert command.startswith("echo AAAA")
    assert command.endswith(r">>C:\lab\bench\chunks.b64")
    assert len(command) < 8191 - len("cmd /c ")
    assert protocol.cleaned == ["command"]


def test_a_chunk_that_was_not_written_is_an_error() -> None:
    with pytest.raises(TransportError, match="disk full"):
        append_chunk(ChunkProtocol(1), "shell", b"x", "C:\\x")


def test_each_copy_has_different_bytes(context: FakeContext) -> None:
    context.count = 2
    got: list[bytes] = []

    def put(source: Path, target: str, *, timeout: float) -> None:
        assert target.startswith("C:\\lab\\bench\\way-")
        got.append(source.read_bytes())

    small, large = copies(context, "way", "a way", put)
    assert (small.key, small.reference, small.values) == ("files.way.1", "files.winrm.1", (1.0, 1.0))
    assert large.label == "10 MB by a way"
    assert [len(data) for data in got] == [1_000_000] * 2 + [10_000_000] * 2
    assert len({data[:100] for data in got[:2]}) == len({data[:100] for data in got[2:]}) == 2


def test_files_use_the_cd_drive_if_the_guest_has_one(context: FakeContext) -> None:
    guest = context.guest()
    with pytest.raises(NotHere, match="no CD drive"):
        media_of(guest)
    drive = object()
    assert media_of(cast(LiveGuest, SimpleNamespace(delivery=SimpleNamespace(media=drive)))) is drive
