"""What a client does wrong is a fault of its request, and the next one is served."""

from __future__ import annotations

import base64
import socket
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import suppress

import pytest
from labwinrm.server import MAX_BODY
from labwinrm.service import SHELL_URI, TRANSFER

from tests.winrm.by_hand import ADDRESSING, BASIC, IDENTIFY, SHELL, SOAP, Client, connect, envelope, fault
from tests.winrm.conftest import Endpoint


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[Client]:
    with connect(endpoint) as made:
        yield made


@pytest.mark.parametrize(
    ("action", "body", "settings", "expected"),
    [
        ("http://schemas.xmlsoap.org/ws/2004/09/transfer/Put", "", {}, ("2150858771", "a:ActionNotSupported")),
        (TRANSFER + "Create", "<rsp:Shell/>", {"resource": "http://other"}, ("2150858811", "a:DestinationUnreachable")),
        (TRANSFER + "Create", "", {}, ("2150858817", "w:SchemaValidationError")),
        (TRANSFER + "Create", "<rsp:Wrong/>", {}, ("2150858817", "w:SchemaValidationError")),
        (TRANSFER + "Create", '<rsp:Shell ShellId="x"/>', {}, ("87", "w:InvalidParameter")),
        (
            TRANSFER + "Create",
            "<rsp:Shell/>",
            {"extra": "<w:MaxEnvelopeSize>100</w:MaxEnvelopeSize>"},
            ("2150858878", "w:EncodingLimit"),
        ),
        (
            TRANSFER + "Create",
            "<rsp:Shell/>",
            {"extra": "<w:OperationTimeout>soon</w:OperationTimeout>"},
            ("2150858817", "w:SchemaValidationError"),
        ),
        (
            TRANSFER + "Create",
            "<rsp:Shell><rsp:IdleTimeOut>-PT1S</rsp:IdleTimeOut></rsp:Shell>",
            {},
            ("2150858817", "w:SchemaValidationError"),
        ),
        (TRANSFER + "Delete", "", {}, ("2150858842", "w:InvalidSelectors")),
        (TRANSFER + "Delete", "", {"shell": "nothing"}, ("2150858843", "w:InvalidSelectors")),
    ],
)
def test_faults(client: Client, action: str, body: str, settings: dict[str, str], expected: tuple[str, str]) -> None:
    status, root = client.ask(action, body, **settings)
    assert (status, fault(root)) == (500, expected)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("Send", '<rsp:Send><rsp:Stream Name="stdout" CommandId="x">YQ==</rsp:Stream></rsp:Send>'),
        ("Send", '<rsp:Send><rsp:Stream Name="stdin" CommandId="{command}">YQ</rsp:Stream></rsp:Send>'),
        ("Receive", "<rsp:Receive/>"),
        ("Receive", '<rsp:Receive><rsp:DesiredStream CommandId="{command}">pr</rsp:DesiredStream></rsp:Receive>'),
        ("Signal", '<rsp:Signal CommandId="{command}"><rsp:Code>nonsense</rsp:Code></rsp:Signal>'),
        ("Command", '<rsp:CommandLine CommandId="{command}"><rsp:Command>true</rsp:Command></rsp:CommandLine>'),
    ],
)
def test_malformed_operations_are_faults_and_harm_nothing(client: Client, name: str, body: str) -> None:
    shell = client.open_shell()
    command = str(uuid.uuid4()).upper()
    line = f'<rsp:CommandLine CommandId="{command}"><rsp:Command>cat</rsp:Command></rsp:CommandLine>'
    assert client.ask(SHELL_URI + "/Command", line, shell=shell)[0] == 200
    status, root = client.ask(f"{SHELL_URI}/{name}", body.format(command=command), shell=shell)
    assert status == 500
    assert fault(root)[0] in ("87", "2150858817")
    terminate = f'<rsp:Signal CommandId="{command}"><rsp:Code>{SHELL_URI}/signal/terminate</rsp:Code></rsp:Signal>'
    assert client.ask(SHELL_URI + "/Signal", terminate, shell=shell)[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not xml",
        b"<a/>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><a>&a;</a>',
        IDENTIFY.replace(b"<s:Body><wsmid:Identify/></s:Body>", b""),
        b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body/></s:Envelope>',
        b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body/></s:Envelope>',
        b"\x00\xff" * 300,
    ],
)
def test_nonsense_is_a_fault_and_the_connection_goes_on(client: Client, data: bytes) -> None:
    status, _, body = client.post(data)
    if data:
        assert status == 500
        assert fault(ET.fromstring(body)) == ("2150858817", "w:SchemaValidationError")
    else:
        assert status == 200  # a login by itself
    assert client.post(IDENTIFY)[0] == 200


def test_envelopes_have_a_size(client: Client) -> None:
    message_id, data = envelope(TRANSFER + "Create", "<rsp:Shell>" + " " * 512_000 + "</rsp:Shell>")
    status, _, body = client.post(data)
    root = ET.fromstring(body)
    assert (status, fault(root)) == (500, ("2150858790", "w:EncodingLimit"))
    assert root.findtext(f"{SOAP}Header/{ADDRESSING}RelatesTo") == message_id
    assert client.post(b" " * (MAX_BODY + 1))[0] == 413


def test_a_client_that_hangs_up_loses_no_output(endpoint: Endpoint, client: Client) -> None:
    shell = client.open_shell()
    line = "<rsp:CommandLine><rsp:Command>read x; echo kept</rsp:Command></rsp:CommandLine>"
    command = client.ask(SHELL_URI + "/Command", line, shell=shell)[1].findtext(f".//{SHELL}CommandId")
    wanted = f'<rsp:Receive><rsp:DesiredStream CommandId="{command}">stdout stderr</rsp:DesiredStream></rsp:Receive>'
    with connect(endpoint) as other:
        other.connection.request(
            "POST",
            "/wsman",
            envelope(SHELL_URI + "/Receive", wanted, shell=shell)[1],
            {"Content-Type": "application/soap+xml", "Authorization": BASIC},
        )
    send = f'<rsp:Send><rsp:Stream Name="stdin" CommandId="{command}">Cg==</rsp:Stream></rsp:Send>'
    # The hung-up receive is noticed at once; until then it is in progress, which is a fault of its own.
    codes = []
    while True:
        status, root = client.ask(
            SHELL_URI + "/Receive", wanted, shell=shell, extra="<w:OperationTimeout>PT0.05S</w:OperationTimeout>"
        )
        assert status == 500
        codes.append(fault(root)[0])
        if codes[-1] == "2150858793":
            break
    assert set(codes) <= {"2150859047", "2150858793"}
    assert client.ask(SHELL_URI + "/Send", send, shell=shell)[0] == 200
    _, root = client.ask(SHELL_URI + "/Receive", wanted, shell=shell)
    assert base64.b64decode(root.findtext(f".//{SHELL}Stream") or "") == b"kept\n"


@pytest.mark.parametrize(
    "noise", [b"", b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00", b"POST /wsman HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"]
)
def test_noise_on_a_port_does_no_harm(endpoint: Endpoint, client: Client, noise: bytes) -> None:
    for port in (endpoint.server.port, endpoint.server.tls_port):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            sock.sendall(noise)
            with suppress(OSError):  # the other side may have gone already
                sock.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):  # TLS does not read on after what is not TLS
                while sock.recv(4096):
                    pass
    assert client.post(IDENTIFY)[0] == 200
