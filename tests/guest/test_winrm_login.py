"""The NTLM login: what is sent before it and after it, and the errors with servers that behave otherwise."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from labwinrm.http import HttpConnection, Request
from pydantic import SecretStr

from lab.errors import TransportError
from lab.guest.winrm.transport import WinRmTransport, open_winrm
from tests.guest.conftest import PASSWORD, WinRmGuest
from tests.guest.fakes import UNTOLD, everything_shown

NTLM = b"NTLMSSP\0"


def kind(request: Request) -> str:
    """What a request is by its headers: NEGOTIATE (1), AUTHENTICATE (3), and whether it has an encrypted message."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    message = base64.b64decode(token)
    name = f"{scheme} {message[8]}" if message.startswith(NTLM) else scheme
    return " ".join(filter(None, [name, "encrypted" if "encrypted" in request.headers.get("content-type", "") else ""]))


@pytest.fixture
def requests_seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every request that the service reads, by kind."""
    seen: list[str] = []
    read = HttpConnection.read

    def noted(connection: HttpConnection) -> Request | None:
        request = read(connection)
        if request is not None:
            seen.append(kind(request))
        return request

    monkeypatch.setattr(HttpConnection, "read", noted)
    return seen


def test_every_message_of_a_command_is_encrypted(winrm: WinRmTransport, requests_seen: list[str]) -> None:
    assert winrm.run("true", timeout=30).exit_code == 0
    logins = [seen for seen in requests_seen if not seen.startswith("encrypted")]
    assert requests_seen == [*logins, "encrypted", "encrypted", "encrypted"]  # shell, command, output
    assert logins[-2:] == ["Negotiate 1", "Negotiate 3"]
    winrm.run("true", timeout=30)
    assert requests_seen[len(logins) + 3 :] == ["encrypted", "encrypted"]


def test_a_wrong_password_gets_no_further_than_the_login(winrm_guest: WinRmGuest, requests_seen: list[str]) -> None:
    transport = open_winrm("127.0.0.1", winrm_guest.port, "lab", SecretStr(UNTOLD))
    with pytest.raises(TransportError, match="opening a shell: the guest rejected the credentials") as caught:
        transport.run("true", timeout=30)
    transport.close()
    assert not [seen for seen in requests_seen if "encrypted" in seen or "Basic" in seen]
    assert requests_seen.count("Negotiate 3") == 1
    assert "credentials" in caught.value.hint
    assert UNTOLD not in everything_shown(caught)


def test_a_netrc_file_is_ignored(
    winrm: WinRmTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requests_seen: list[str]
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password private\ndefault login else password private\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert winrm.run("true", timeout=30).exit_code == 0
    assert not [seen for seen in requests_seen if "Basic" in seen]


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy"])
def test_a_proxy_of_the_environment_is_ignored(winrm: WinRmTransport, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert winrm.run("echo direct && true", timeout=30).text == "direct\n"


def test_a_connection_that_lost_its_login_is_replaced_and_the_command_run_once(
    winrm: WinRmTransport, winrm_guest: WinRmGuest, tmp_path: Path
) -> None:
    winrm.run("true", timeout=30)
    shells = set(winrm_guest.server._shells._shells)
    for _ in range(2):
        # The socket is closed by the service, and the library opens another one by itself.
        for sock, thread in list(winrm_guest.server._connections.items()):
            sock.shutdown(socket.SHUT_RDWR)
            thread.join(30)
        winrm.run(f"echo ran >> {tmp_path}/log", timeout=30)
    assert (tmp_path / "log").read_text() == "ran\nran\n"
    assert set(winrm_guest.server._shells._shells) == shells


def test_a_service_that_refuses_every_login_is_asked_twice_and_no_more(
    winrm: WinRmTransport, requests_seen: list[str], tmp_path: Path
) -> None:
    winrm.run("true", timeout=30)
    winrm._shell.drop()
    del requests_seen[:]
    (tmp_path / "users").write_text(":lab:changed\n")
    with pytest.raises(TransportError, match="starting `true`: the guest rejected the credentials"):
        winrm.run("true", timeout=30)
    assert requests_seen.count("Negotiate 3") == 2
    assert not [seen for seen in requests_seen if "encrypted" in seen]


# -- servers that are not the lab's -------------------------------------------------------------------------------------


@dataclass
class Other:
    """A server that answers every request alike."""

    status: int = 401
    offers: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    port: int = 0

    def run(self) -> str:
        """The result of a command there."""
        transport = open_winrm("127.0.0.1", self.port, "lab", SecretStr(UNTOLD), grace_s=10)
        with pytest.raises(TransportError) as caught:
            transport.run("true", timeout=30)
        transport.close()
        assert UNTOLD not in everything_shown(caught)
        return caught.value.message


@pytest.fixture
def other() -> Iterator[Other]:
    behaviour = Other()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            behaviour.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            behaviour.authorizations.append(self.headers.get("Authorization", ""))
            self.send_response(behaviour.status)
            for offer in behaviour.offers:
                self.send_header("WWW-Authenticate", offer)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        behaviour.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield behaviour
        server.shutdown()
        thread.join(30)


@pytest.mark.parametrize("offers", [[], ['Basic realm="WSMAN"'], ["Digest realm=x"], ["Kerberos", 'Basic realm="WSMAN"']])
def test_a_server_that_offers_no_ntlm_never_sees_the_password(other: Other, offers: list[str]) -> None:
    other.offers = offers
    assert "opening a shell: " in other.run()
    assert not [words for words in other.authorizations if words]


def test_a_server_without_a_login_gets_no_unencrypted_message(other: Other) -> None:
    other.status = 200
    assert "opening a shell: the answer is not WinRM" in other.run()
    assert other.bodies == [b""] * len(other.bodies)


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
def test_a_server_with_an_error_is_reported_with_its_status(other: Other, status: int) -> None:
    other.status = status
    assert f"HTTP status {status}" in other.run()
    assert len(other.bodies) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        "Negotiate !!!",
        "Negotiate \xfc\xfc",
        "Negotiate " + base64.b64encode(b"no challenge").decode(),
        "Negotiate " + base64.b64encode(NTLM + b"\x02\0\0\0").decode(),
        "Negotiate " + base64.b64encode(NTLM + b"\x01\0\0\0" + bytes(40)).decode(),
    ],
)
def test_an_invalid_challenge_is_an_error_of_the_transport(other: Other, garbage: str) -> None:
    other.offers = [garbage]
    assert other.run().startswith(f"WinRM on 127.0.0.1:{other.port} as lab: opening a shell: the answer is not WinRM (")
    assert other.bodies == [b""] * len(other.bodies)


def test_after_a_failed_login_no_unencrypted_message_is_sent(other: Other) -> None:
    other.status = 500
    transport = open_winrm("127.0.0.1", other.port, "lab", SecretStr(PASSWORD), grace_s=10)
    for _ in range(2):
        with pytest.raises(TransportError, match="HTTP status 500"):
            transport.run("true", timeout=30)
    transport.close()
    assert other.bodies == [b"", b""]
