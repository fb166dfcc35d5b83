"""The service seen from a bare socket: HTTP, login headers, keep-alive, faults."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import spnego
from labwinrm import encryption
from labwinrm.config import Config, ConfigError
from labwinrm.server import MAX_BODY, start
from labwinrm.service import CMD_URI, ENUMERATION, SHELL_URI, TRANSFER

from tests.winrm.conftest import PASSWORD, USER, Endpoint

SOAP = "{http://www.w3.org/2003/05/soap-envelope}"
WSMAN = "{http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd}"
ADDRESSING = "{http://schemas.xmlsoap.org/ws/2004/08/addressing}"
SHELL = "{http://schemas.microsoft.com/wbem/wsman/1/windows/shell}"
IDENTIFY = (
    b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
    b'xmlns:wsmid="http://schemas.dmtf.org/wbem/wsman/identify/1/wsmanidentity.xsd">'
    b"<s:Header/><s:Body><wsmid:Identify/></s:Body></s:Envelope>"
)
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def envelope(action: str, body: str = "", *, resource: str = CMD_URI, shell: str = "", extra: str = "") -> tuple[str, bytes]:
    message_id = f"uuid:{uuid.uuid4()}"
    selector = f'<w:SelectorSet><w:Selector Name="ShellId">{shell}</w:Selector></w:SelectorSet>' if shell else ""
    text = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
        'xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" '
        f'xmlns:rsp="{SHELL_URI}" xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration">'
        f"<s:Header><a:Action>{action}</a:Action><a:MessageID>{message_id}</a:MessageID>"
        f"<w:ResourceURI>{resource}</w:ResourceURI>{selector}{extra}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )
    return message_id, text.encode()


class Client:
    """HTTPS with Basic on one kept connection."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection

    def post(self, body: bytes, *, path: str = "/wsman", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        given = {"Content-Type": "application/soap+xml;charset=UTF-8", "Authorization": BASIC}
        self.connection.request("POST", path, body, {**given, **{k.replace("_", "-"): v for k, v in headers.items()}})
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()

    def ask(self, action: str, body: str = "", **settings: Any) -> tuple[int, ET.Element]:
        message_id, data = envelope(action, body, **settings)
        status, _, answer = self.post(data)
        root = ET.fromstring(answer)
        assert root.findtext(f"{SOAP}Header/{ADDRESSING}RelatesTo") == message_id
        return status, root

    def open_shell(self) -> str:
        status, root = self.ask(TRANSFER + "Create", "<rsp:Shell/>")
        assert status == 200
        found = root.findtext(f".//{WSMAN}Selector")
        assert found
        return found


@contextmanager
def connect(endpoint: Endpoint) -> Iterator[Client]:
    context = ssl.create_default_context(cafile=str(endpoint.certificate))
    assert endpoint.server.tls_port
    connection = http.client.HTTPSConnection("127.0.0.1", endpoint.server.tls_port, context=context, timeout=30)
    try:
        yield Client(connection)
    finally:
        connection.close()


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[Client]:
    with connect(endpoint) as made:
        yield made


def fault(root: ET.Element) -> tuple[str, str]:
    detail = root.find(f".//{SOAP}Detail/{{http://schemas.microsoft.com/wbem/wsman/1/wsmanfault}}WSManFault")
    subcode = root.findtext(f".//{SOAP}Subcode/{SOAP}Value")
    assert detail is not None
    assert subcode
    return detail.attrib["Code"], subcode


def test_identify(client: Client) -> None:
    status, _, body = client.post(IDENTIFY)
    assert status == 200
    assert b"<wsmid:ProtocolVersion>http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd<" in body


def test_login_offers_are_negotiate_and_over_tls_basic(endpoint: Endpoint, client: Client) -> None:
    status, headers, _ = client.post(IDENTIFY, Authorization="")
    assert (status, headers.get_all("WWW-Authenticate")) == (401, ["Negotiate", 'Basic realm="WSMAN"'])
    plain = http.client.HTTPConnection("127.0.0.1", endpoint.server.port, timeout=30)
    for authorization in (
        None,
        BASIC,
        "Negotiate",
        "Negotiate !!!",
        "Negotiate YWJj",
        "Kerberos YWJj",
        "Digest x",
        "NTLM TlRMTVNTUAA=",
    ):
        headers_out = {"Authorization": authorization} if authorization else {}
        plain.request("POST", "/wsman", IDENTIFY, headers_out)
        response = plain.getresponse()
        assert (response.status, response.headers.get_all("WWW-Authenticate")) == (401, ["Negotiate"])
        response.read()
    plain.close()


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


def _ntlm(
    endpoint: Endpoint, protocol: str, *, scheme: str = "Negotiate"
) -> tuple[http.client.HTTPConnection, spnego.ContextProxy]:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.server.port, timeout=30)
    options = spnego.NegotiateOptions.use_negotiate if protocol == "negotiate" else spnego.NegotiateOptions.use_ntlm
    context = spnego.client(USER, PASSWORD, protocol=protocol, options=options)
    token = context.step()
    while token is not None:
        connection.request("POST", "/wsman", b"", {"Authorization": f"{scheme} {base64.b64encode(token).decode()}"})
        response = connection.getresponse()
        response.read()
        got_scheme, _, answer = (response.headers["WWW-Authenticate"] or f"{scheme} ").partition(" ")
        assert got_scheme == scheme
        token = context.step(base64.b64decode(answer)) if answer else None
    assert response.status == 200
    assert context.complete
    return connection, context


class _Wrapper:
    def __init__(self, context: spnego.ContextProxy) -> None:
        self.context = context

    def wrap(self, data: bytes) -> tuple[bytes, bytes]:
        result = self.context.wrap_winrm(data)
        return result.header, result.data

    def unwrap(self, signature: bytes, data: bytes) -> bytes:
        return self.context.unwrap_winrm(signature, data)


@pytest.mark.parametrize(("protocol", "scheme"), [("ntlm", "Negotiate"), ("ntlm", "NTLM"), ("negotiate", "Negotiate")])
def test_a_login_holds_for_its_connection(endpoint: Endpoint, protocol: str, scheme: str) -> None:
    connection, context = _ntlm(endpoint, protocol, scheme=scheme)
    wrapper = _Wrapper(context)
    for _ in range(3):
        connection.request("POST", "/wsman", encryption.encrypt(IDENTIFY, wrapper), {"Content-Type": encryption.RESPONSE_TYPE})
        response = connection.getresponse()
        body = encryption.decrypt(response.headers["Content-Type"], response.read(), wrapper)
        assert response.status == 200
        assert b"IdentifyResponse" in body
    connection.request("POST", "/wsman", IDENTIFY, {"Content-Type": "application/soap+xml"})
    response = connection.getresponse()
    assert (response.status, response.read()) == (500, b"")  # as Windows does with AllowUnencrypted=false
    connection.close()


def test_a_tampered_message_ends_its_connection(endpoint: Endpoint) -> None:
    connection, context = _ntlm(endpoint, "ntlm")
    body = bytearray(encryption.encrypt(IDENTIFY, _Wrapper(context)))
    body[-40] ^= 1
    connection.request("POST", "/wsman", bytes(body), {"Content-Type": encryption.RESPONSE_TYPE})
    response = connection.getresponse()
    assert (response.status, response.headers["Connection"]) == (400, "close")
    connection.close()


def test_encryption_needs_a_login_that_can(client: Client) -> None:
    assert client.post(b"x", Content_Type=encryption.RESPONSE_TYPE)[0] == 400


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
def test_noise_on_a_port_harms_nobody(endpoint: Endpoint, client: Client, noise: bytes) -> None:
    for port in (endpoint.server.port, endpoint.server.tls_port):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            sock.sendall(noise)
            with suppress(OSError):  # the other side may have gone already
                sock.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):  # TLS does not read on after what is not TLS
                while sock.recv(4096):
                    pass
    assert client.post(IDENTIFY)[0] == 200


def test_what_cannot_be_listened_on(make_config: Callable[..., Config], endpoint: Endpoint) -> None:
    with pytest.raises(ConfigError, match="cannot listen"):
        start(make_config(http_port=endpoint.server.port))
    with pytest.raises(ConfigError, match="nothing"):
        start(make_config(ntlm_user_file=endpoint.certificate.parent / "nothing"))
