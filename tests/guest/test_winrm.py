"""The WinRM transport against the guest's own WS-Management service."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from lab.errors import ConfigError, GuestHung, TransportError
from lab.guest.quoting import command_text
from lab.guest.winrm.protocol import Running
from lab.guest.winrm.shell import WinRmShell
from lab.guest.winrm.standing import CMD
from lab.guest.winrm.transport import WinRmTransport, open_winrm
from tests.guest.conftest import PASSWORD, WinRmGuest
from tests.guest.fakes import UNTOLD, everything_shown


def test_streams_and_exit_code(winrm: WinRmTransport) -> None:
    done = winrm.run("echo out; echo err >&2; exit 7", timeout=30)
    assert (done.exit_code, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert done.duration_s > 0


def test_text_survives_both_ways(winrm: WinRmTransport) -> None:
    assert winrm.run("printf %s '读 <&> \"x\"'", timeout=30).text == '读 <&> "x"'


def test_one_shell_serves_many_commands(winrm: WinRmTransport, winrm_guest: WinRmGuest) -> None:
    for number in range(5):
        assert winrm.run(f"echo {number}", timeout=30).text == f"{number}\n"
    assert len(winrm_guest.server._shells._shells) == 1


def test_binary_input_arrives_whole_and_ends(winrm: WinRmTransport) -> None:
    data = os.urandom(300_000)
    assert winrm.run("cat", timeout=60, stdin=data).stdout == data


def test_input_for_a_program_that_does_not_read_it_is_no_error(winrm: WinRmTransport) -> None:
    assert winrm.run("exit 3", timeout=30, stdin=b"x" * 500_000).exit_code == 3


def test_a_program_that_answers_before_it_has_read_everything_gets_the_rest(winrm: WinRmTransport) -> None:
    data = os.urandom(1_700_000)  # more than the service and the pipes hold
    assert winrm.run("cat", timeout=120, stdin=data).stdout == data


def test_a_program_that_reads_sees_the_end_of_an_input_that_was_not_given(winrm: WinRmTransport) -> None:
    assert winrm.run("cat; echo end", timeout=60).text == "end\n"


def test_large_output(winrm: WinRmTransport) -> None:
    assert winrm.run("head -c 3000000 /dev/zero", timeout=60).stdout == bytes(3_000_000)


def test_a_command_at_its_deadline_is_terminated_and_its_output_is_reported(winrm: WinRmTransport, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(GuestHung, match=r"did not end within 2 s; it was terminated; it had written: so far") as caught:
        winrm.run(f"echo $$ > {pid}; echo so far; exec sleep 600", timeout=2)
    assert caught.value.hint
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()
    assert winrm.run("echo again", timeout=30).text == "again\n"


def test_the_shell_is_reopened_when_the_guest_has_lost_it(winrm: WinRmTransport, winrm_guest: WinRmGuest) -> None:
    winrm.run("true", timeout=30)
    winrm_guest.server._shells.close()
    assert winrm.run("echo back", timeout=30).text == "back\n"


def test_a_connection_that_the_guest_has_dropped_is_replaced_and_the_shell_kept(
    winrm: WinRmTransport, winrm_guest: WinRmGuest
) -> None:
    winrm.run("true", timeout=30)
    shells = set(winrm_guest.server._shells._shells)
    for sock, thread in list(winrm_guest.server._connections.items()):
        sock.shutdown(socket.SHUT_RDWR)
        thread.join(30)
    assert winrm.run("echo back", timeout=30).text == "back\n"
    assert set(winrm_guest.server._shells._shells) == shells


def test_a_program_without_a_shell_gets_its_arguments_quoted(winrm: WinRmTransport, winrm_guest: WinRmGuest) -> None:
    (winrm_guest.drive_c / "two words").write_bytes(b"abc")
    done = winrm.run([r"C:\lab\bin\labfile.exe", "sum", r"C:\two words"], timeout=30, shell=False)
    assert done.text.endswith("  3  C:\\two words\n")


def test_wrong_credentials_are_named_without_the_password(winrm_guest: WinRmGuest) -> None:
    transport = open_winrm("127.0.0.1", winrm_guest.port, "lab", SecretStr("not it"))
    with pytest.raises(TransportError, match="rejected the credentials") as caught:
        transport.run("true", timeout=30)
    assert "not it" not in str(caught.value)
    assert "not it" not in repr(transport)
    assert "credentials" in caught.value.hint
    transport.close()


def test_a_refused_connection_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    transport = open_winrm("127.0.0.1", port, "lab", SecretStr(PASSWORD))
    with pytest.raises(TransportError, match=rf"WinRM on 127.0.0.1:{port} as lab: opening a shell: connection refused"):
        transport.run("true", timeout=30)
    transport.close()


def test_a_server_that_is_not_winrm_is_recognized() -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Other(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        transport = open_winrm("127.0.0.1", server.server_address[1], "lab", SecretStr(PASSWORD))
        with pytest.raises(TransportError, match="the answer is not WinRM"):
            transport.run("true", timeout=30)
        transport.close()
        server.shutdown()
        thread.join()


def test_close_deletes_the_shell_and_may_be_repeated(winrm: WinRmTransport, winrm_guest: WinRmGuest) -> None:
    winrm.run("true", timeout=30)
    winrm.close()
    winrm.close()
    assert not winrm_guest.server._shells._shells
    assert winrm.run("echo reopened", timeout=30).text == "reopened\n"


@pytest.mark.parametrize("command", ["", "   ", "echo a\necho b", "echo \0"])
def test_commands_that_cannot_be_sent_are_refused(winrm: WinRmTransport, command: str) -> None:
    with pytest.raises(ConfigError):
        winrm.run(command, timeout=30)


def test_no_traceback_shows_the_password(winrm_guest: WinRmGuest) -> None:
    transport = open_winrm("127.0.0.1", winrm_guest.port, "lab", SecretStr(UNTOLD))
    with pytest.raises(TransportError, match="rejected the credentials") as caught:
        transport.run("true", timeout=30)
    transport.close()
    assert UNTOLD not in everything_shown(caught)


def test_no_traceback_shows_the_password_when_the_library_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**given: object) -> None:
        raise ValueError(f"no such option among {len(given)}")

    monkeypatch.setattr("lab.guest.winrm.protocol.PywinrmProtocol", broken)
    with pytest.raises(ValueError, match="no such option among 7") as caught:
        open_winrm("127.0.0.1", 1, "lab", SecretStr(UNTOLD)).run("true", timeout=30)
    assert UNTOLD not in everything_shown(caught)


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


def test_a_parked_shell_is_resumed_by_another_connection(
    winrm: WinRmTransport, winrm_guest: WinRmGuest, interpreter: Callable[[str], None]
) -> None:
    interpreter("exec sh")
    state = winrm.park(timeout=30)
    assert state["shell"] in winrm_guest.server._shells._shells
    for _ in range(2):
        other = open_winrm("127.0.0.1", winrm_guest.port, "lab", SecretStr(PASSWORD))
        assert other.resume(state, timeout=30)
        assert other.run("true && echo in the same shell", timeout=30).text == "in the same shell\n"
        other.abandon()
        other.abandon()
    assert list(winrm_guest.server._shells._shells) == [state["shell"]]


def test_a_parked_shell_that_is_gone_is_replaced(
    winrm: WinRmTransport, winrm_guest: WinRmGuest, interpreter: Callable[[str], None]
) -> None:
    interpreter("exec sh")
    state = winrm.park(timeout=30)
    winrm_guest.server._shells.delete(state["shell"])
    assert not winrm.resume(state, timeout=30)
    assert state["shell"] not in winrm_guest.server._shells._shells


def test_a_waiting_interpreter_that_ends_is_an_error(winrm: WinRmTransport, interpreter: Callable[[str], None]) -> None:
    interpreter("true")
    with pytest.raises(TransportError, match=r"the waiting C:\\windows\\system32\\cmd.exe ended with 0"):
        winrm.park(timeout=30)
