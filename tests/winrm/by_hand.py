"""A client of WinRM that writes its HTTP and its envelopes by hand."""

from __future__ import annotations

import base64
import http.client
import ssl
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from labwinrm.service import CMD_URI, SHELL_URI, TRANSFER

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


def fault(root: ET.Element) -> tuple[str, str]:
    detail = root.find(f".//{SOAP}Detail/{{http://schemas.microsoft.com/wbem/wsman/1/wsmanfault}}WSManFault")
    subcode = root.findtext(f".//{SOAP}Subcode/{SOAP}Value")
    assert detail is not None
    assert subcode
    return detail.attrib["Code"], subcode
