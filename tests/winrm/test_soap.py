"""Envelopes in and out."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labwinrm.faults import TIMED_OUT, WsmanFault
from labwinrm.soap import attribute, build_fault, build_response, parse_duration, parse_request, text

REQUEST = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
    ' xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"><s:Header><a:Action> act </a:Action>'
    "<a:MessageID>uuid:1</a:MessageID><w:ResourceURI>res</w:ResourceURI><w:MaxEnvelopeSize>153600</w:MaxEnvelopeSize>"
    "<w:OperationTimeout>PT1M1.5S</w:OperationTimeout><w:SelectorSet><w:Selector Name='ShellID'>s1</w:Selector></w:SelectorSet>"
    "<w:OptionSet><w:Option Name='winrs_codepage'>437</w:Option></w:OptionSet></s:Header><s:Body><x/></s:Body></s:Envelope>"
)


def test_a_request_is_read() -> None:
    request = parse_request(REQUEST.encode())
    assert (request.action, request.message_id, request.resource_uri) == ("act", "uuid:1", "res")
    assert (request.max_envelope, request.timeout_s) == (153600, 61.5)
    assert request.selectors == {"shellid": "s1"}
    assert request.options == {"WINRS_CODEPAGE": "437"}
    assert request.body is not None
    assert request.body.tag == "x"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_encodings_of_the_standard(encoding: str) -> None:
    assert parse_request(REQUEST.replace(" act ", "äct").encode(encoding)).action == "äct"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32"])
def test_entities_cannot_be_declared(encoding: str) -> None:
    bomb = '<!DOCTYPE e [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>' + REQUEST.replace(" act ", "&b;")
    with pytest.raises(WsmanFault):
        parse_request(bomb.encode(encoding))


@pytest.mark.parametrize("before", ["<!-- <a> -->", " <?p <a?> ", '<?xml version="1.0"?>\n<!---->'])
def test_entities_cannot_be_declared_after_a_fake_document(before: str) -> None:
    with pytest.raises(WsmanFault, match="document type"):
        parse_request((before + "<!DOCTYPE e>" + REQUEST).encode())
    assert parse_request((before + REQUEST.replace(" act ", "<![CDATA[<!ENTITY <!DOCTYPE]]>")).encode()).action


def test_a_fault_knows_its_request() -> None:
    with pytest.raises(WsmanFault) as caught:
        parse_request(REQUEST.replace("PT1M1.5S", "P").encode())
    assert caught.value.relates_to == "uuid:1"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_a_fault(data: bytes) -> None:
    with pytest.raises(WsmanFault):
        parse_request(data)


@pytest.mark.parametrize(
    ("given_text", "seconds"),
    [
        ("PT20S", 20),
        ("PT60.000S", 60),
        ("PT1H1M1.5S", 3661.5),
        ("P1DT1S", 86401),
        ("P1Y2M", 36720000.0),
        ("PT0S", 0),
        ("PT5.S", 5),
    ],
)
def test_durations(given_text: str, seconds: float) -> None:
    assert parse_duration(given_text) == seconds


@pytest.mark.parametrize("given_text", ["", "P", "PT", "20", "-PT1S", "PT1", "PT1S1M", "PT١S", "PT" + "9" * 90 + "S"])
def test_invalid_durations_are_refused(given_text: str) -> None:
    with pytest.raises(WsmanFault):
        parse_duration(given_text)


@settings(deadline=None)
@given(st.text())
def test_any_text_survives_but_for_what_xml_cannot_carry(value: str) -> None:
    answer = ET.fromstring(build_response("act", value, f"<x y={attribute(value)}>{text(value)}</x>"))
    found = answer.find(".//x")
    assert found is not None
    if all((c >= " " or c in "\t\r\n") and c not in "\ufffe\uffff" and not "\ud800" <= c <= "\udfff" for c in value):
        assert (found.text or "", found.attrib["y"]) == (value, value)


def test_a_fault_in_full() -> None:
    root = ET.fromstring(build_fault(WsmanFault(TIMED_OUT, relates_to="uuid:7"), "guest & co"))
    soap = "{http://www.w3.org/2003/05/soap-envelope}"
    assert root.findtext(f".//{soap}Fault/{soap}Code/{soap}Value") == "s:Receiver"
    assert root.findtext(f".//{soap}Subcode/{soap}Value") == "w:TimedOut"
    # Go's client searches for this word to know that it may ask again.
    assert "OperationTimeout" in (root.findtext(f".//{soap}Reason/{soap}Text") or "")
    detail = root.find(f".//{soap}Detail/{{http://schemas.microsoft.com/wbem/wsman/1/wsmanfault}}WSManFault")
    assert detail is not None
    assert detail.attrib == {"Code": "2150858793", "Machine": "guest & co"}
    assert root.findtext(f"{soap}Header/{{http://schemas.xmlsoap.org/ws/2004/08/addressing}}RelatesTo") == "uuid:7"
