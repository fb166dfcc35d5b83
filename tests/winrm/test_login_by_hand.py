"""Logins seen from a bare socket: what is offered, what a connection keeps, and messages that were tampered with."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Iterator

import pytest
import spnego
from labwinrm import encryption

from tests.winrm.by_hand import BASIC, IDENTIFY, Client, connect
from tests.winrm.conftest import PASSWORD, USER, Endpoint


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[Client]:
    with connect(endpoint) as made:
        yield made


def test_negotiate_is_offered_and_basic_over_tls(endpoint: Endpoint, client: Client) -> None:
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


def test_encryption_needs_a_login_that_supports_it(client: Client) -> None:
    assert client.post(b"x", Content_Type=encryption.RESPONSE_TYPE)[0] == 400
