"""`lab up`, `shell`, `run-in-guest`, `down`, `ps` with stand-ins for the guests."""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lab.cli import guest as guest_module
from lab.cli.guest import _exit_code
from lab.cli.main import app
from lab.cli.terminal import line_shell, pump
from lab.errors import ConfigError, GuestHung
from lab.guest.protocol import CommandResult
from lab.lease.detached import DetachedGuest, DetachedGuests, process_start


class FakeTransport:
    """Answers commands from a table."""

    name = "winrm"

    def __init__(self, answers: Callable[[str | Sequence[str]], tuple[int, bytes, bytes]]) -> None:
        self._answers = answers
        self.asked: list[str | Sequence[str]] = []
        self.stdin = b""
        self.closed = False

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        self.asked.append(command)
        self.stdin = stdin
        code, out, err = self._answers(command)
        return CommandResult(command=str(command), exit_code=code, stdout=out, stderr=err, duration_s=0.0)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        raise AssertionError

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise AssertionError

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DetachedGuests:
    guests = DetachedGuests(tmp_path / "guests")
    monkeypatch.setattr(guest_module, "detached_guests", lambda: guests)
    return guests


def add(guests: DetachedGuests, name: str, tmp_path: Path) -> DetachedGuest:
    guest = DetachedGuest(
        name=name,
        guest="free guest",
        image_dir=tmp_path / "image",
        run_dir=tmp_path / name,
        pid=os.getpid(),
        pid_started=process_start(os.getpid()) or 0.0,
        ports={5985: 40001},
    )
    guests.add(guest)
    return guest


@pytest.fixture
def transport(kept: DetachedGuests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTransport:
    """The transport of a guest `one`, whose commands write to both streams and end with 7."""
    add(kept, "one", tmp_path)
    fake = FakeTransport(lambda _command: (7, b"out\r\n\xff", b"err"))
    monkeypatch.setattr(guest_module, "open_detached", lambda _guest, _name: fake)
    return fake


def lab(*arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def test_output_and_exit_code_of_a_guest_command_are_passed_on(transport: FakeTransport) -> None:
    result = lab("run-in-guest", "--", "dir", "/w", "C:\\Program Files")
    assert result.exit_code == 7
    assert result.stdout_bytes == b"out\r\n\xff"
    assert result.stderr == "err"
    assert transport.asked == [["dir", "/w", "C:\\Program Files"]]
    assert transport.closed


def test_one_argument_is_a_line_for_cmd(transport: FakeTransport) -> None:
    assert lab("run-in-guest", "one", "--", "echo a & echo b").exit_code == 7
    assert transport.asked == ["echo a & echo b"]


def test_dashes_after_the_dashes_belong_to_the_command(transport: FakeTransport) -> None:
    lab("run-in-guest", "--timeout", "5", "--", "prog", "--", "--timeout", "9", "--help")
    assert transport.asked == [["prog", "--", "--timeout", "9", "--help"]]


def test_standard_input_is_passed_on_request(transport: FakeTransport) -> None:
    lab("run-in-guest", "--stdin", "--", "more", stdin=b"text")
    assert transport.stdin == b"text"
    lab("run-in-guest", "--", "more", stdin=b"text")
    assert transport.stdin == b""


@pytest.mark.parametrize("arguments", [["run-in-guest"], ["run-in-guest", "one"], ["run-in-guest", "one", "--"]])
def test_without_a_command_usage_is_shown(transport: FakeTransport, arguments: list[str]) -> None:
    result = lab(*arguments)
    assert isinstance(result.exception, ConfigError)
    assert "there is no command" in str(result.exception)
    assert transport.asked == []


def test_an_unknown_guest_or_transport_is_usage(transport: FakeTransport) -> None:
    assert "no guest 'two'" in str(lab("run-in-guest", "two", "--", "ver").exception)
    assert "--transport must be" in str(lab("run-in-guest", "--transport", "telnet", "--", "ver").exception)


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (255, 255), (256, 1), (300, 44), (0xC0000005, 5)])
def test_windows_exit_codes_fit_into_eight_bits_and_no_failure_becomes_zero(code: int, expected: int) -> None:
    assert _exit_code(code) == expected


def test_down_ends_the_named_one_or_all(kept: DetachedGuests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr(guest_module, "end_detached", lambda guest: ended.append(guest.name))
    for name in ("one", "two", "three"):
        add(kept, name, tmp_path)
    assert isinstance(lab("down").exception, ConfigError)
    assert isinstance(lab("down", "one", "--all").exception, ConfigError)
    assert ended == []
    assert lab("down", "two").output == "two is down\n"
    assert [guest.name for guest in kept.all()] == ["one", "three"]
    assert lab("down", "--all").exit_code == 0
    assert ended == ["two", "one", "three"]
    assert kept.all() == []


def test_ps_without_guests_says_how_to_get_one(kept: DetachedGuests) -> None:
    assert "lab up" in lab("ps").output


def test_a_shell_needs_a_terminal(transport: FakeTransport) -> None:
    result = lab("shell")
    assert isinstance(result.exception, ConfigError), "wrong usage: exit code 2"
    assert "needs a terminal" in str(result.exception)


def typed(*lines: str) -> Callable[[str], str]:
    """A person who types these lines, and then ends the input."""
    left = list(lines)
    prompts: list[str] = []

    def read(prompt: str) -> str:
        prompts.append(prompt)
        if not left:
            raise EOFError
        return left.pop(0)

    read.prompts = prompts  # type: ignore[attr-defined]
    return read


def test_the_line_shell_remembers_the_folder() -> None:
    def answer(command: str | Sequence[str]) -> tuple[int, bytes, bytes]:
        assert isinstance(command, str)
        if "cd windows" in command:
            return 0, b"lab-cd:\r\nC:\\windows\r\n", b""
        if "cd nowhere" in command:
            return 1, b"", b"Path not found.\r\n"
        return 3, command.encode(), b""

    transport, out, read = (
        FakeTransport(answer),
        io.StringIO(),
        typed("cd windows", "dir", "cd nowhere", "", "dir", "exit", "dir"),
    )
    assert line_shell(transport, name="one", read_line=read, out=out) == 3
    assert read.prompts == [  # type: ignore[attr-defined]
        "one C:\\> ",
        *["one C:\\windows> "] * 5,
    ]
    assert transport.asked[1] == 'cd /d "C:\\windows" && dir'
    assert len(transport.asked) == 4
    assert "lab-cd" not in out.getvalue()
    assert "Path not found." in out.getvalue()


def test_the_line_shell_survives_a_hang_and_ends_with_the_input() -> None:
    def answer(_command: str | Sequence[str]) -> tuple[int, bytes, bytes]:
        raise GuestHung("`wait` did not end within 600 s")

    out = io.StringIO()
    assert line_shell(FakeTransport(answer), name="one", read_line=typed("wait"), out=out) == 0
    assert "did not end within 600 s" in out.getvalue()


class FakeChannel:
    """A paramiko channel made of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        return self._sock.fileno()

    def recv(self, size: int) -> bytes:
        return self._sock.recv(size)

    def sendall(self, data: bytes) -> None:
        self._sock.sendall(data)

    def shutdown_write(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)


def test_the_terminal_carries_bytes_both_ways_until_the_guest_ends() -> None:
    ours, theirs = socket.socketpair()
    keys_read, keys_write = os.pipe()
    shown_read, shown_write = os.pipe()

    def guest() -> None:
        got = b""
        while piece := theirs.recv(100):
            got += piece
        theirs.sendall(b"got " + got)
        theirs.close()

    other = threading.Thread(target=guest)
    other.start()
    os.write(keys_write, b"dir\r\x03")
    os.close(keys_write)
    pump(FakeChannel(ours), keys_read, shown_write)  # type: ignore[arg-type]
    other.join(10)
    assert os.read(shown_read, 100) == b"got dir\r\x03"
    for descriptor in (keys_read, shown_read, shown_write):
        os.close(descriptor)
    ours.close()
