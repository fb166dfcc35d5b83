"""SOAP 1.2 envelopes of WS-Management: requests into values, answers into bytes."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, ParseError, XMLParser

from labwinrm.faults import SCHEMA, WsmanFault

NS_SOAP = "http://www.w3.org/2003/05/soap-envelope"
NS_ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
NS_WSMAN = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
NS_SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
NS_IDENTITY = "http://schemas.dmtf.org/wbem/wsman/identify/1/wsmanidentity.xsd"
ANONYMOUS = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous"
CONTENT_TYPE = "application/soap+xml;charset=UTF-8"

_NAMESPACES = (
    f'xmlns:s="{NS_SOAP}" xmlns:a="{NS_ADDRESSING}" xmlns:x="http://schemas.xmlsoap.org/ws/2004/09/transfer" '
    'xmlns:e="http://schemas.xmlsoap.org/ws/2004/08/eventing" xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration" '
    f'xmlns:w="{NS_WSMAN}" xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd" xmlns:rsp="{NS_SHELL}"'
)
_DURATION = re.compile(r"(-)?P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d*)?)S)?)?", re.ASCII)
#: What may stand before the document element: white space, comments, processing instructions.
_PROLOG = re.compile(rb"(?:\s+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
# Characters that XML 1.0 cannot carry, not even as references.
_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# A parser turns a carriage return into a line feed unless it is a reference, and any white space of an attribute into blanks.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_ATTRIBUTE_ESCAPES = str.maketrans({'"': "&quot;", "\n": "&#10;", "\t": "&#9;"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SoapRequest:
    """One WS-Management request.

    Attributes:
        action: What is asked, an action URI; empty for Identify.
        message_id: As the client wrote it; goes back as RelatesTo.
        resource_uri: Of the resource that is addressed.
        timeout_s: OperationTimeout, seconds.
        max_envelope: Largest answer that the client takes, bytes; 0 when it did not say.
        selectors: Selector values by name; names in lower case.
        options: Option values by name; names in upper case.
        body: First element of the body, ``None`` when it is empty.
    """

    action: str
    message_id: str
    resource_uri: str = ""
    timeout_s: float = 60.0
    max_envelope: int = 0
    selectors: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    body: Element | None = None

    @property
    def is_identify(self) -> bool:
        """Whether this is wsmid:Identify, which has no addressing headers."""
        return self.body is not None and self.body.tag == f"{{{NS_IDENTITY}}}Identify"


def parse_request(data: bytes) -> SoapRequest:
    """Parse an envelope.

    Raises:
        WsmanFault: It is not well-formed, not a SOAP envelope, or lacks a required header.
    """
    root = _parse_xml(data)
    if root.tag != f"{{{NS_SOAP}}}Envelope":
        raise WsmanFault(SCHEMA, "The document element is not a SOAP 1.2 Envelope.")
    header = root.find(f"{{{NS_SOAP}}}Header")
    body = root.find(f"{{{NS_SOAP}}}Body")
    if body is None:
        raise WsmanFault(SCHEMA, "The envelope has no Body.")
    content = body[0] if len(body) else None
    if content is not None and content.tag == f"{{{NS_IDENTITY}}}Identify":
        return SoapRequest(action="", message_id="", body=content)
    if header is None:
        raise WsmanFault(SCHEMA, "The envelope has no Header.")
    message_id = _text(header, f"{{{NS_ADDRESSING}}}MessageID")
    action = _text(header, f"{{{NS_ADDRESSING}}}Action")
    if not action or not message_id:
        raise WsmanFault(SCHEMA, "The headers Action and MessageID are required.", relates_to=message_id)
    try:
        return SoapRequest(
            action=action,
            message_id=message_id,
            resource_uri=_text(header, f"{{{NS_WSMAN}}}ResourceURI"),
            timeout_s=parse_duration(_text(header, f"{{{NS_WSMAN}}}OperationTimeout") or "PT60S"),
            max_envelope=_number(_text(header, f"{{{NS_WSMAN}}}MaxEnvelopeSize")),
            selectors={name.lower(): value for name, value in _named(header, "SelectorSet", "Selector")},
            options={name.upper(): value for name, value in _named(header, "OptionSet", "Option")},
            body=content,
        )
    except WsmanFault as fault:
        fault.relates_to = message_id
        raise


def _parse_xml(data: bytes) -> Element:
    # An envelope has no business declaring entities, and declared ones can expand without bound. The look is at bytes,
    # so the document has to be in UTF-8 or UTF-16, the two that WS-Management requires.
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16", "replace").encode()
        data = re.sub(rb"^\s*<\?xml.*?\?>", b"", data, flags=re.DOTALL)  # it may name the encoding
    data = data.removeprefix(b"\xef\xbb\xbf")
    prolog = _PROLOG.match(data)
    if prolog is None or b"\0" in data or data[prolog.end() : prolog.end() + 2].startswith(b"<!"):
        raise WsmanFault(SCHEMA, "The request has a document type declaration, or is neither in UTF-8 nor in UTF-16.")
    parser = XMLParser()
    try:
        parser.feed(data)
        root: Element = parser.close()
    except (ParseError, LookupError, ValueError) as error:
        raise WsmanFault(SCHEMA, f"The request is not well-formed XML: {error}") from None
    return root


def _text(parent: Element, tag: str) -> str:
    found = parent.find(tag)
    return (found.text or "").strip() if found is not None else ""


def _number(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise WsmanFault(SCHEMA, f"MaxEnvelopeSize {text[:40]!r} is not a number.")
    return int(text)


def _named(header: Element, group: str, item: str) -> list[tuple[str, str]]:
    found = header.find(f"{{{NS_WSMAN}}}{group}")
    items = found.findall(f"{{{NS_WSMAN}}}{item}") if found is not None else []
    return [(each.get("Name", ""), (each.text or "").strip()) for each in items]


def parse_duration(text: str) -> float:
    """Seconds of an xs:duration; months count 30 days, years 365.

    Raises:
        WsmanFault: It is not a duration, or is negative.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or match.group(1) or not any(match.groups()[1:]) or len(text) > 60:
        raise WsmanFault(SCHEMA, f"{text[:60]!r} is not a duration.")
    years, months, days, hours, minutes, seconds = (float(part or 0) for part in match.groups()[1:])
    return (((years * 365 + months * 30 + days) * 24 + hours) * 60 + minutes) * 60 + seconds


def text(value: str) -> str:
    """Escape character data; what XML cannot carry becomes U+FFFD."""
    # Not xml.sax.saxutils: it imports urllib.request, which takes half a second in an emulated guest.
    return _UNSPEAKABLE.sub("\ufffd", value).translate(_ESCAPES)


def attribute(value: str) -> str:
    """Escape and quote an attribute's value."""
    return f'"{text(value).translate(_ATTRIBUTE_ESCAPES)}"'


def build_response(action: str, relates_to: str, body: str) -> bytes:
    """Make an answer's envelope.

    Args:
        action: Action URI of the answer.
        relates_to: Message identifier of the request; may be empty when it could not be read.
        body: XML of the body's content, with the prefixes s, a, x, e, n, w, p and rsp bound.
    """
    related = f"<a:RelatesTo>{text(relates_to)}</a:RelatesTo>" if relates_to else ""
    return (
        f'<s:Envelope xml:lang="en-US" {_NAMESPACES}><s:Header><a:Action>{text(action)}</a:Action>'
        f"<a:MessageID>uuid:{str(uuid.uuid4()).upper()}</a:MessageID><a:To>{ANONYMOUS}</a:To>{related}</s:Header>"
        f"<s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def build_fault(fault: WsmanFault, machine: str) -> bytes:
    """Make the envelope of a fault."""
    detail = f"<w:FaultDetail>{text(fault.kind.detail)}</w:FaultDetail>" if fault.kind.detail else ""
    body = (
        f"<s:Fault><s:Code><s:Value>s:{fault.kind.blame}</s:Value><s:Subcode><s:Value>{fault.kind.subcode}</s:Value>"
        f'</s:Subcode></s:Code><s:Reason><s:Text xml:lang="en-US">{text(fault.kind.reason)} </s:Text></s:Reason>'
        f'<s:Detail>{detail}<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" '
        f'Code="{fault.kind.code}" Machine={attribute(machine)}><f:Message>{text(fault.message)} </f:Message>'
        "</f:WSManFault></s:Detail></s:Fault>"
    )
    return build_response(fault.kind.action, fault.relates_to, body)
