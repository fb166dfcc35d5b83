"""The properties that JUnit readers get."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from lab.report.junit import attach_evidence, user_properties
from lab.report.model import EvidenceFile, Fault, TestEntry


def test_a_test_carries_what_it_ran_on() -> None:
    entry = TestEntry(
        nodeid="t",
        verdict="crash",
        reason="boom",
        duration_s=1.0,
        started=1.0,
        worker="gw0",
        guest_id="gw0-1",
        drivers=["sync", "other"],
        fault=Fault(code="0xC0000005"),
    )
    assert user_properties(entry, guest="free guest", image_key="k", hashes={"sync": "9b", "async": "4e"}) == [
        ("lab_verdict", "crash"),
        ("lab_reason", "boom"),
        ("lab_guest", "free guest"),
        ("lab_image_key", "k"),
        ("lab_guest_id", "gw0-1"),
        ("lab_worker", "gw0"),
        ("lab_fault", "0xC0000005"),
        ("lab_driver_sha256_sync", "9b"),
    ]


def test_what_is_not_known_is_left_out() -> None:
    entry = TestEntry(nodeid="t", verdict="passed", duration_s=1.0, started=1.0, worker="master")
    names = [name for name, _ in user_properties(entry, guest="g", image_key="k", hashes={})]
    assert names == ["lab_verdict", "lab_guest", "lab_image_key", "lab_worker"]


XML = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest">
<testcase classname="suites.sync.test_a" name="test_one" time="1"><properties>
<property name="lab_verdict" value="crash"/>
<property name="lab_evidence" value="evidence/one/console.txt"/>
<property name="lab_evidence" value="evidence/one/memory.dmp"/></properties><failure message="x">y &lt; z</failure></testcase>
<testcase classname="suites.sync.test_a" name="test_two" time="1"/>
</testsuite></testsuites>
"""


def cases(junit: Path) -> list[str | None]:
    return [case.findtext("system-out") for case in ElementTree.parse(junit).iter("testcase")]


def test_evidence_becomes_attachments_once(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text(XML, encoding="utf-8")
    assert attach_evidence(junit, tmp_path) == 2
    lines = f"[[ATTACHMENT|{tmp_path}/evidence/one/console.txt]]\n[[ATTACHMENT|{tmp_path}/evidence/one/memory.dmp]]\n"
    assert cases(junit) == [lines, None]
    assert attach_evidence(junit, tmp_path) == 0
    assert cases(junit) == [lines, None]
    assert "y &lt; z" in junit.read_text(encoding="utf-8")


def test_attachments_relative_to_a_project(tmp_path: Path) -> None:
    junit = tmp_path / "out" / "junit.xml"
    junit.parent.mkdir()
    junit.write_text(XML.replace("</failure>", "</failure><system-out>said this</system-out>"), encoding="utf-8")
    attach_evidence(junit, tmp_path / "out", base=tmp_path)
    said = cases(junit)[0]
    assert said is not None
    assert said.splitlines()[:2] == ["said this", "[[ATTACHMENT|out/evidence/one/console.txt]]"]


def test_evidence_is_named_in_the_properties(tmp_path: Path) -> None:
    files = [EvidenceFile(kind="console", path="evidence/t/console.txt"), EvidenceFile(kind="guest-logs", path="guests/g/")]
    entry = TestEntry(nodeid="t", verdict="crash", duration_s=1.0, started=1.0, worker="master", evidence=files)
    properties = user_properties(entry, guest="g", image_key="k", hashes={})
    assert [value for name, value in properties if name == "lab_evidence"] == ["evidence/t/console.txt"]
