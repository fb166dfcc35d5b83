"""The service seen from a bare socket: HTTP, login headers, keep-alive, faults."""

from __future__ import annotations

import base64
import socket
import ssl
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator

import pytest
from labwinrm.config import Config, ConfigError
from labwinrm.server import start
from labwinrm.service import ENUMERATION, SHELL_URI, TRANSFER

from tests.winrm.by_hand import BASIC, IDENTIFY, SHELL, Client, connect, envelope, fault
from tests.winrm.conftest import USER, Endpoint


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[Client]:
    with connect(endpoint) as made:
        yield made


def test_identify(client: Client) -> None:
    status, _, body = client.post(IDENTIFY)
    assert status == 200
    assert b"<wsmid:ProtocolVersion>http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd<" in body


def test_other_paths_and_methods(client: Client) -> None:
    assert client.post(IDENTIFY, path="/other")[0] == 404
    assert client.post(IDENTIFY, Content_Type="text/html")[0] == 415
    client.connection.request("GET", "/wsman", headers={"Authorization": BASIC})
    response = client.connection.getresponse()
    assert response.status == 405
    response.read()
    assert client.post(IDENTIFY)[0] == 200  # and all that on one connection


def test_one_command_by_hand(client: Client) -> None:
    shell = client.open_shell()
    status, root = client.ask(
        SHELL_URI + "/Command", "<rsp:CommandLine><rsp:Command>printf 12</rsp:Command></rsp:CommandLine>", shell=shell
    )
    command = root.findtext(f".//{SHELL}CommandId")
    assert status == 200
    wanted = f'<rsp:Receive><rsp:DesiredStream CommandId="{command}">stdout stderr</rsp:DesiredStream></rsp:Receive>'
    status, root = client.ask(SHELL_URI + "/Receive", wanted, shell=shell)
    assert status == 200
    assert [(e.attrib["Name"], e.attrib.get("End"), e.text) for e in root.iter(f"{SHELL}Stream")] == [
        ("stdout", None, "MTI="),
        ("stdout", "true", None),
        ("stderr", "true", None),
    ]
    state = root.find(f".//{SHELL}CommandState")
    assert state is not None
    assert state.attrib["State"].endswith("/CommandState/Done")
    assert state.findtext(f"{SHELL}ExitCode") == "0"
    assert client.ask(TRANSFER + "Delete", shell=shell)[0] == 200
    status, root = client.ask(TRANSFER + "Delete", shell=shell)
    assert (status, fault(root)) == (500, ("2150858843", "w:InvalidSelectors"))


def test_shells_describe_themselves(client: Client) -> None:
    body = (
        "<rsp:Shell><rsp:WorkingDirectory>C:\\a &amp; b</rsp:WorkingDirectory><rsp:IdleTimeOut>PT90S</rsp:IdleTimeOut>"
        "<rsp:InputStreams>stdin</rsp:InputStreams><rsp:Name>mine</rsp:Name></rsp:Shell>"
    )
    status, root = client.ask(TRANSFER + "Create", body)
    shell = root.findtext(f".//{SHELL}ShellId")
    assert status == 200
    assert shell
    for action, resource, inner in (
        (TRANSFER + "Get", SHELL_URI, ""),
        (ENUMERATION + "Enumerate", SHELL_URI, "<n:Enumerate><w:OptimizeEnumeration/></n:Enumerate>"),
    ):
        status, root = client.ask(action, inner, resource=resource, shell=shell)
        assert status == 200
        found = root.find(f".//{SHELL}Shell")
        assert found is not None
        fields = {e.tag.removeprefix(SHELL): e.text for e in found}
        assert fields["ShellId"] == shell
        assert fields["Name"] == "mine"
        assert fields["WorkingDirectory"] == "C:\\a & b"
        assert fields["IdleTimeOut"] == "PT90.000S"
        assert fields["Owner"] == USER
        assert fields["ClientIP"] == "127.0.0.1"


def test_the_configuration_tells_the_envelope_size(client: Client) -> None:
    status, root = client.ask(TRANSFER + "Get", resource="http://schemas.microsoft.com/wbem/wsman/1/config")
    assert status == 200
    assert root.findtext(".//{http://schemas.microsoft.com/wbem/wsman/1/config}MaxEnvelopeSizekb") == "500"


def test_output_keeps_to_the_envelope_that_the_client_takes(client: Client) -> None:
    shell = client.open_shell()
    line = "<rsp:CommandLine><rsp:Command>head -c 300000 /dev/zero</rsp:Command></rsp:CommandLine>"
    command = client.ask(SHELL_URI + "/Command", line, shell=shell)[1].findtext(f".//{SHELL}CommandId")
    wanted = f'<rsp:Receive><rsp:DesiredStream CommandId="{command}">stdout stderr</rsp:DesiredStream></rsp:Receive>'
    sizes, total, done = [], 0, False
    while not done:
        _, data = envelope(SHELL_URI + "/Receive", wanted, shell=shell, extra="<w:MaxEnvelopeSize>32768</w:MaxEnvelopeSize>")
        _, _, body = client.post(data)
        root = ET.fromstring(body)
        sizes.append(len(body))
        total += sum(len(base64.b64decode(e.text or "")) for e in root.iter(f"{SHELL}Stream"))
        done = root.find(f".//{SHELL}ExitCode") is not None
    assert total == 300_000
    assert max(sizes) <= 32768
    assert max(sizes) > 28000


def test_chunked_requests_and_expectations(endpoint: Endpoint) -> None:
    context = ssl.create_default_context(cafile=str(endpoint.certificate))
    assert endpoint.server.tls_port
    raw = socket.create_connection(("127.0.0.1", endpoint.server.tls_port), timeout=30)
    with context.wrap_socket(raw, server_hostname="127.0.0.1") as sock:
        head = f"POST /wsman HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\nContent-Type: application/soap+xml\r\n"
        sock.sendall(head.encode() + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        file = sock.makefile("rb")
        assert file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert file.readline() == b"\r\n"
        for piece in (IDENTIFY[:1], IDENTIFY[1:100], IDENTIFY[100:]):
            sock.sendall(f"{len(piece):X};ext=1\r\n".encode() + piece + b"\r\n")
        sock.sendall(b"0\r\nTrailer: x\r\n\r\n")
        assert file.readline() == b"HTTP/1.1 200 OK\r\n"
        file.close()


def test_what_cannot_be_listened_on(make_config: Callable[..., Config], endpoint: Endpoint) -> None:
    with pytest.raises(ConfigError, match="cannot listen"):
        start(make_config(http_port=endpoint.server.port))
    with pytest.raises(ConfigError, match="nothing"):
        start(make_config(ntlm_user_file=endpoint.certificate.parent / "nothing"))
