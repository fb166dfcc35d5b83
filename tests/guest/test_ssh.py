"""The SSH transport against a server on a socket pair."""

from __future__ import annotations

import io
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from lab.errors import ConfigError, GuestHung, TransportError
from lab.guest.ssh.login import load_host_key, load_private_key, login
from lab.guest.ssh.sftp import sftp_path
from lab.guest.ssh.streams import take_exit_code
from lab.guest.ssh.transport import SshTransport, open_ssh
from tests.guest.fakes import UNTOLD, everything_shown
from tests.guest.labfile_double import labfile, windows_arguments
from tests.guest.sshd_double import PASSWORD, PENDED, USERNAME, Reply, Request, SshServer


@pytest.fixture(scope="module")
def host_key() -> paramiko.PKey:
    return paramiko.ECDSAKey.generate()


@pytest.fixture
def server(tmp_path: Path, host_key: paramiko.PKey) -> Iterator[SshServer]:
    drive_c = tmp_path / "drive_c"
    drive_c.mkdir()

    def handler(request: Request) -> Reply:
        plain = re.sub(r"\^(.)", r"\1", request.line)
        if plain.startswith("C:\\lab\\bin\\labfile.exe "):
            return Reply(*labfile(windows_arguments(plain.partition(" ")[2]), drive_c, request.stdin))
        return Reply(0, request.stdin)

    server = SshServer(host_key, drive_c, handler)
    yield server
    server.close()


@pytest.fixture
def ssh(server: SshServer, host_key: paramiko.PKey) -> Iterator[SshTransport]:
    transport = SshTransport(connector(server, host_key), "SSH on x")
    yield transport
    transport.close()


def connector(
    server: SshServer,
    host_key: paramiko.PKey | None,
    *,
    password: str | None = PASSWORD,
    key: paramiko.PKey | None = None,
) -> Callable[[], paramiko.Transport]:
    return lambda: login(
        server.connect(), USERNAME, SecretStr(password) if password else None, key=key, host_key=host_key, timeout=30
    )


def test_streams_exit_code_and_input(ssh: SshTransport, server: SshServer) -> None:
    server.handler = lambda request: Reply(1060, b"out " + request.stdin, b"err")
    done = ssh.run("sc query x", timeout=30, stdin=b"\0\xffin")
    assert (done.exit_code, done.stdout, done.stderr) == (1060, b"out \0\xffin", b"err")
    assert server.requests[0].line == "sc query x"


def test_a_windows_exit_code_is_not_cut_to_eight_bits(ssh: SshTransport, server: SshServer) -> None:
    server.handler = lambda _: Reply(0xC0000005, b"no newline", b"err")
    done = ssh.run("x", timeout=30)
    assert (done.exit_code, done.stdout, done.stderr) == (0xC0000005, b"no newline", b"err")


def test_a_command_that_ends_its_cmd_has_the_status_of_the_server(ssh: SshTransport, server: SshServer) -> None:
    server.handler = lambda _: Reply(7, b"out", tell=False)
    done = ssh.run("exit 7", timeout=30)
    assert (done.exit_code, done.stdout) == (7, b"out")


@given(st.binary(), st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3))
def test_the_exit_code_is_taken_out_of_the_output(data: bytes, codes: list[int]) -> None:
    told = b"".join(b"#m:%d\r\n" % code for code in codes)
    assert take_exit_code(data + told, "#m:") == (data, codes[-1] if codes else None)


def test_one_connection_serves_many_commands(ssh: SshTransport, server: SshServer) -> None:
    for _ in range(3):
        ssh.run("x", timeout=30)
    assert len(server._transports) == 1


def test_much_input_and_output_at_once(ssh: SshTransport, server: SshServer) -> None:
    data = os.urandom(5_000_000)
    assert ssh.run("cat", timeout=120, stdin=data).stdout == data


def test_a_list_is_quoted_for_the_servers_shell_in_any_case(ssh: SshTransport, server: SshServer) -> None:
    for shell in (True, False):
        ssh.run(["x.exe", "a b", "c&d"], timeout=30, shell=shell)
    assert [request.line for request in server.requests] == ['x.exe ^"a b^" c^&d'] * 2


def test_a_command_at_its_deadline_is_dropped_and_its_output_reported(ssh: SshTransport, server: SshServer) -> None:
    server.handler = lambda _: Reply(PENDED, b"so far")
    with pytest.raises(GuestHung, match=r"`x` did not end within 3 s; .*it had written: so far"):
        ssh.run("x", timeout=3)  # long enough for the output to come, also on a busy host
    server.handler = lambda _: Reply(0, b"fine")
    assert ssh.run("x", timeout=30).stdout == b"fine"


def test_input_for_a_program_that_does_not_read_it_is_no_error(ssh: SshTransport, server: SshServer) -> None:
    server.read_input = False
    server.handler = lambda _: Reply(3)
    assert ssh.run("x", timeout=30, stdin=bytes(9_000_000)).exit_code == 3


def test_a_broken_connection_is_made_again_for_the_next_command(ssh: SshTransport, server: SshServer) -> None:
    def break_off(_: Request) -> Reply:
        server.drop()
        return Reply(PENDED)

    server.handler = break_off
    with pytest.raises(TransportError):
        ssh.run("x", timeout=30)
    server.handler = lambda _: Reply(0, b"fine")
    assert ssh.run("x", timeout=30).stdout == b"fine"
    assert len(server._transports) == 2


def test_another_host_key_is_refused(server: SshServer) -> None:
    transport = SshTransport(connector(server, paramiko.ECDSAKey.generate()), "SSH on x")
    with pytest.raises(TransportError, match="host key is not the key of this image"):
        transport.run("x", timeout=30)
    assert not server.requests


def test_a_host_key_of_another_kind_is_refused(server: SshServer) -> None:
    transport = SshTransport(connector(server, paramiko.RSAKey.generate(2048)), "SSH on x")
    with pytest.raises(TransportError, match="the answer is not SSH"):
        transport.run("x", timeout=30)
    assert not server.requests


def test_a_wrong_password_is_named_without_itself(server: SshServer, host_key: paramiko.PKey) -> None:
    transport = SshTransport(connector(server, host_key, password="not it"), "SSH on x")
    with pytest.raises(TransportError, match="rejected the credentials") as caught:
        transport.run("x", timeout=30)
    assert "not it" not in str(caught.value)


def test_a_key_logs_in_or_else_the_password(server: SshServer, host_key: paramiko.PKey) -> None:
    server.client_key = paramiko.ECDSAKey.generate()
    with_key = SshTransport(connector(server, host_key, password=None, key=server.client_key), "SSH on x")
    assert with_key.run("x", timeout=30).exit_code == 0
    other = paramiko.ECDSAKey.generate()
    both = SshTransport(connector(server, host_key, key=other), "SSH on x")
    assert both.run("x", timeout=30).exit_code == 0
    with pytest.raises(TransportError, match="rejected the credentials"):
        SshTransport(connector(server, host_key, password=None, key=other), "SSH on x").run("x", timeout=30)
    with_key.close()
    both.close()


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_folder_goes_in_and_comes_out_again(ssh: SshTransport, server: SshServer, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "a.sys").write_bytes(os.urandom(100_000))
    (source / "deep" / "er" / "文件 b.txt").write_bytes(b"b")
    ssh.put(source, r"C:\lab\two words", timeout=60)
    assert contents(server.drive_c / "lab" / "two words") == contents(source)
    assert (server.drive_c / "lab" / "two words" / "empty").is_dir()
    ssh.get(r"C:\lab\two words", tmp_path / "back", timeout=60)
    assert contents(tmp_path / "back") == contents(source)
    assert [request.line for request in server.requests] == ['C:\\lab\\bin\\labfile.exe sum ^"C:\\lab\\two words^"'] * 2


def test_a_file_goes_in_and_comes_out_again(ssh: SshTransport, server: SshServer, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    ssh.put(tmp_path / "a", r"C:\b\c.txt", timeout=60)
    assert (server.drive_c / "b" / "c.txt").read_bytes() == b"abc"
    ssh.get(r"C:\b\c.txt", tmp_path / "back" / "d", timeout=60)
    assert contents(tmp_path / "back") == {"d": b"abc"}


def test_a_copy_that_differs_is_noticed(ssh: SshTransport, server: SshServer, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    server.handler = lambda _: Reply(0, b"0" * 64 + b"  3  C:\\a\r\n")
    with pytest.raises(TransportError, match="differs from its source"):
        ssh.put(tmp_path / "a", r"C:\a", timeout=60)
    with pytest.raises(TransportError, match="differs from its source"):
        ssh.get(r"C:\a", tmp_path / "back", timeout=60)
    assert not (tmp_path / "back").exists()


def test_missing_sources_are_named(ssh: SshTransport, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        ssh.put(tmp_path / "nothing", r"C:\x")
    with pytest.raises(TransportError, match="a file or folder is missing in the guest"):
        ssh.get(r"C:\nothing", tmp_path / "x")
    (tmp_path / "there").touch()
    with pytest.raises(ConfigError, match="exists already"):
        ssh.get(r"C:\x", tmp_path / "there")


def test_a_refused_connection_says_so(host_key: paramiko.PKey) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    line = f"{host_key.get_name()} {host_key.get_base64()}"
    transport = open_ssh("127.0.0.1", port, "lab", SecretStr(PASSWORD), host_key=line)
    with pytest.raises(TransportError, match=rf"SSH on 127.0.0.1:{port} as lab: running `x`: connection refused"):
        transport.run("x", timeout=30)
    assert PASSWORD not in repr(transport)


def test_keys_are_read_and_damaged_ones_refused(host_key: paramiko.PKey) -> None:
    text = io.StringIO()
    host_key.write_private_key(text)
    assert load_private_key(SecretStr(text.getvalue())) == host_key
    assert load_host_key(f"{host_key.get_name()} {host_key.get_base64()} comment") == host_key
    with pytest.raises(ConfigError, match="private key"):
        load_private_key(SecretStr("nonsense"))
    for line in ("", "ssh-ed25519", "ssh-ed25519 AAAA", "nonsense !!"):
        with pytest.raises(ConfigError, match="host key"):
            load_host_key(line)
    with pytest.raises(ConfigError, match="needs a password or a private key"):
        open_ssh("127.0.0.1", 22, "lab")


@pytest.mark.parametrize(
    ("windows", "sftp"), [("C:\\lab\\x y.sys", "/C:/lab/x y.sys"), ("D:/a/b", "/D:/a/b"), ("C:\\", "/C:/")]
)
def test_paths_of_sftp(windows: str, sftp: str) -> None:
    assert sftp_path(windows) == sftp


@pytest.mark.parametrize("path", ["x.sys", "C:x.sys", "\\x.sys", "/C:/x", "\\\\server\\share\\x"])
def test_paths_without_a_drive_are_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="not an absolute Windows path"):
        sftp_path(path)


def test_no_traceback_shows_the_password(server: SshServer, host_key: paramiko.PKey) -> None:
    hidden = SecretStr(UNTOLD)
    transport = SshTransport(lambda: login(server.connect(), USERNAME, hidden, key=None, host_key=host_key, timeout=30), "SSH")
    with pytest.raises(TransportError, match="rejected the credentials") as caught:
        transport.run("x", timeout=30)
    assert UNTOLD not in everything_shown(caught)


def test_no_traceback_shows_a_private_key_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError) as caught:
        open_ssh("127.0.0.1", 22, "lab", private_key=SecretStr(UNTOLD))
    assert UNTOLD not in everything_shown(caught)
