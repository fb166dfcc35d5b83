"""The resident launcher's service side, with a Unix program in labexec's place."""

from __future__ import annotations

import logging
import os
import select
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from labwinrm import resident
from labwinrm.config import Config
from labwinrm.processes import Command, StartError, StartRequest
from labwinrm.resident import LOST, ResidentLauncher
from winrm.protocol import Protocol

from tests.winrm.conftest import Endpoint

DOUBLE = (sys.executable, str(Path(__file__).with_name("labexec_double.py")))


@pytest.fixture
def launcher(make_config: Callable[..., Config], tmp_path: Path) -> Iterator[ResidentLauncher]:
    (tmp_path / "run").mkdir()
    made = ResidentLauncher(
        make_config(launcher="resident", resident_command=DOUBLE, comspec="/bin/sh"), logging.getLogger("labwinrm")
    )
    yield made
    made.close()


@pytest.fixture
def run(launcher: ResidentLauncher) -> Iterator[Callable[[StartRequest], Command]]:
    commands: list[Command] = []

    def start(request: StartRequest) -> Command:
        commands.append(Command(f"C{len(commands)}", launcher.start(request), 1.0))
        return commands[-1]

    yield start
    for command in commands:
        command.close()


def finish(command: Command) -> tuple[bytes, bytes, int]:
    streams = {"stdout": b"", "stderr": b""}
    while True:
        output = command.receive(("stdout", "stderr"), timeout_s=20, limit=100_000)
        for name, data in output.chunks.items():
            streams[name] += data
        if output.exit_code is not None:
            return streams["stdout"], streams["stderr"], output.exit_code


Run = Callable[[StartRequest], Command]


def test_a_command_with_all_its_streams(run: Run, tmp_path: Path) -> None:
    command = run(
        StartRequest(
            command='read x; echo "$A $x $PWD $CODEPAGE"; echo err >&2; exit',
            arguments=("200",),
            working_directory=str(tmp_path),
            environment={"A": "ä=€ 𝄞", "B": ""},
            shell="S",
            codepage=65001,
        )
    )
    command.send(b"in\n", end=True, timeout_s=5)
    assert finish(command) == (f"ä=€ 𝄞 in {tmp_path} 65001\n".encode(), b"err\n", 0xFFFFFF00 + 200)
    assert not list((tmp_path / "run").glob("*.pipe"))


def test_a_program_without_the_shell(run: Run) -> None:
    assert finish(run(StartRequest(command="/bin/echo", arguments=("a", "$B"), use_shell=False)))[0] == b"a $B\n"


def test_end_of_input_is_seen_by_the_command(run: Run) -> None:
    command = run(StartRequest(command="wc -c"))
    command.send(b"12345", end=False, timeout_s=5)
    command.send(b"", end=True, timeout_s=5)
    assert finish(command)[0].strip() == b"5"


def test_a_start_that_fails_says_windows_error(launcher: ResidentLauncher) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for line, error, words in (("fail 267", 267, "directory name is invalid"), ("fail 4242", 4242, "4242")):
        with pytest.raises(StartError, match=words) as caught:
            launcher.start(StartRequest(command=line))
        assert caught.value.error == error
    with pytest.raises(StartError) as caught:
        launcher.start(StartRequest(command="x" * 40_000))
    assert caught.value.error == 206
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208


def test_a_start_without_an_answer_gives_up(launcher: ResidentLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "START_TIMEOUT_S", 0.05)
    with pytest.raises(StartError) as caught:
        launcher.start(StartRequest(command="say nothing"))
    assert caught.value.error == 1460


def test_when_the_launcher_dies_its_commands_are_lost_and_another_one_comes(launcher: ResidentLauncher, run: Run) -> None:
    command = run(StartRequest(command="exec sleep 1000 >/dev/null 2>&1"))
    with pytest.raises(StartError) as caught:
        launcher.start(StartRequest(command="die"))
    assert caught.value.error == 1053
    assert finish(command)[2] == LOST
    assert finish(run(StartRequest(command="echo again")))[0] == b"again\n"


def test_terminate_and_signals(run: Run) -> None:
    command = run(StartRequest(command="trap 'exit 42' INT; echo ready; while :; do read x; done"))
    assert command.receive(("stdout",), timeout_s=20, limit=100).chunks == {"stdout": b"ready\n"}
    command.interrupt(hard=False)
    assert finish(command)[2] == 0xFFFFFF00 + 42
    process = run(StartRequest(command="sleep 1000"))._process
    process.terminate()
    assert select.select([process.exit_fd], [], [], 20)[0]
    assert process.exit_code() == 1


def test_processes_of_a_command_end_with_its_shell(launcher: ResidentLauncher, run: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    command = run(StartRequest(command=f"sleep 1000 >{pipe} 2>&1 </dev/null & exit 1", shell="S"))
    reader = os.open(pipe, os.O_RDONLY)
    finish(command)
    command.close()
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    os.set_blocking(reader, True)
    launcher.end_shell("another")
    launcher.end_shell("S")
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_launcher_that_does_not_come_up(make_config: Callable[..., Config], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for command in (("/bin/true",), ("/no/such/program",)):
        with pytest.raises(StartError, match="resident launcher"):
            ResidentLauncher(make_config(launcher="resident", resident_command=command), logging.getLogger("labwinrm"))


def test_a_closed_launcher_starts_nothing(launcher: ResidentLauncher) -> None:
    launcher.close()
    with suppress(StartError):
        launcher.start(StartRequest(command="true"))
        pytest.fail("a closed launcher started something")
    launcher.close()


def test_pywinrm_through_the_resident_launcher(
    serve: Callable[..., Endpoint], pywinrm: Callable[..., Protocol], tmp_path: Path
) -> None:
    data = os.urandom(2_000_000)
    (tmp_path / "data").write_bytes(data)
    client = pywinrm(serve(launcher="resident", resident_command=DOUBLE, comspec="/bin/sh").http)
    shell = client.open_shell()
    commands = [client.run_command(shell, f"cat {tmp_path}/data; exit {n}") for n in range(3)]
    for number, command in enumerate(commands):
        out, err, code = client.get_command_output(shell, command)
        assert (out == data, err, code) == (True, b"", 0xFFFFFF00 + number)
        client.cleanup_command(shell, command)
    client.close_shell(shell, close_session=False)


def test_the_end_of_a_failed_start_is_not_written_to_a_closed_descriptor() -> None:
    """The reading thread ends every process of a launcher that died, while the starter has just given up on its own."""
    process = resident.ResidentProcess(cast(Any, None), 1, cast(Any, types.SimpleNamespace(stdin=None, stdout=0, stderr=0)))
    assert process.abandon()
    process.ended(LOST)  # raised OSError, or wrote into another file that has got the number since
    assert process.exit_code() == LOST
    assert not process.abandon()
