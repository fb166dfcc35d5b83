"""The properties that JUnit readers get."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from lab.gate.verdict import Verdict
from lab.report.junit import attach_evidence, complete_junit, user_properties
from lab.report.model import EvidenceFile, Fault, RunReport, TestEntry


def test_a_test_carries_what_it_ran_on() -> None:
    entry = TestEntry(
        nodeid="t",
        verdict="crash",
        reason="boom",
        signature="crash 0xC0000005 in sync",
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
        ("lab_signature", "crash 0xC0000005 in sync"),
        ("lab_guest", "free guest"),
        ("lab_image_key", "k"),
        ("lab_guest_id", "gw0-1"),
        ("lab_worker", "gw0"),
        ("lab_fault", "0xC0000005"),
        ("lab_driver_sha256_sync", "9b"),
    ]


def test_unknown_facts_are_left_out() -> None:
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


def outcome(case: ElementTree.Element) -> tuple[str, str]:
    found = [(child.tag, child.get("message", "")) for child in case if child.tag in ("failure", "error", "skipped")]
    assert len(found) <= 1
    return found[0] if found else ("", "")


def entry_of(nodeid: str, verdict: Verdict, reason: str = "", **more: object) -> TestEntry:
    values = {
        "nodeid": nodeid,
        "verdict": verdict,
        "reason": reason,
        "duration_s": 1.0,
        "started": 1.0,
        "worker": "gw0",
        **more,
    }
    return TestEntry.model_validate(values)


def completed(tmp_path: Path, run: RunReport, tests: list[TestEntry], **more: object) -> dict[str, tuple[str, str]]:
    report = run.model_copy(update={"tests": tests, "not_run": [], "ended": "", **more})
    suite = ElementTree.parse(complete_junit(tmp_path, report)).getroot().find("testsuite")
    assert suite is not None
    cases = list(suite.iter("testcase"))
    for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert suite.get(name) == str(sum(case.find(tag) is not None for case in cases))
    assert suite.get("tests") == str(len(cases))
    return {f"{case.get('classname')}.{case.get('name')}": outcome(case) for case in cases}


def test_a_run_that_was_killed_has_all_tests(tmp_path: Path, run: RunReport) -> None:
    tests = [
        entry_of("suites/test_a.py::test_one", "passed"),
        entry_of("suites/test_a.py::TestB::test_two[a::b/c.py]", "product", "wrong text"),
        entry_of("suites/test_a.py::test_three", "infra", "worker gw0 ended in the middle of this test"),
        entry_of("suites/test_a.py::test_four", "skipped", "needs direct_io"),
        entry_of("gw0-1::boot", "crash", "before any test"),
    ]
    more = {"not_run": ["suites/test_a.py::test_five"], "ended": "the run was interrupted (SIGINT)"}
    assert completed(tmp_path, run, tests, **more) == {
        "suites.test_a.test_one": ("", ""),
        "suites.test_a.TestB.test_two[a::b/c.py]": ("failure", "product: wrong text"),
        "suites.test_a.test_three": ("error", "infra: worker gw0 ended in the middle of this test"),
        "suites.test_a.test_four": ("skipped", "skipped: needs direct_io"),
        "gw0-1.boot": ("failure", "crash: before any test"),
        "suites.test_a.test_five": ("skipped", "not run: the run was interrupted (SIGINT)"),
    }


def test_a_run_that_ended_early_is_not_green(tmp_path: Path, run: RunReport) -> None:
    more = {"not_run": ["a.py::two"], "ended": "the run was interrupted (SIGTERM)"}
    assert completed(tmp_path, run, [entry_of("a.py::one", "passed")], **more) == {
        "a.one": ("", ""),
        "a.two": ("error", "not run: the run was interrupted (SIGTERM)"),
    }


def test_pytests_own_elements_stay_and_agree_with_the_report(tmp_path: Path, run: RunReport) -> None:
    (tmp_path / "junit.xml").write_text(XML, encoding="utf-8")
    fault = Fault(code="0xC0000005", where="poke.sys+0x1120 (DriverEntry, poke.c:10)")
    tests = [
        entry_of("suites/sync/test_a.py::test_one", "crash", "access violation", fault=fault),
        entry_of("suites/sync/test_a.py::test_two", "product", "a fault behind the test"),
    ]
    for _ in range(2):
        found = completed(tmp_path, run, tests)
        assert found["suites.sync.test_a.test_one"] == (
            "failure",
            "crash: access violation (if the address is the driver's: poke.sys+0x1120 (DriverEntry, poke.c:10))",
        )
        assert found["suites.sync.test_a.test_two"] == ("failure", "product: a fault behind the test")
        assert len(found) == 2
    text = (tmp_path / "junit.xml").read_text(encoding="utf-8")
    assert "y &lt; z" in text
    assert text.count("[[ATTACHMENT|") == 2


def test_a_known_issue_is_no_failure(tmp_path: Path, run: RunReport) -> None:
    (tmp_path / "junit.xml").write_text(XML, encoding="utf-8")
    tests = [entry_of("suites/sync/test_a.py::test_one", "known", "known until 2999-01-01: ours")]
    found = completed(tmp_path, run, tests)
    assert found["suites.sync.test_a.test_one"] == ("skipped", "known: known until 2999-01-01: ours")


def test_any_text_leaves_valid_xml(tmp_path: Path, run: RunReport) -> None:
    odd = "half \ud800, \x00 \x1b[31m ]]> \ufffe end"
    found = completed(tmp_path, run, [entry_of(f"a.py::t[{odd}]", "infra", odd, details=odd)])
    [(tag, message)] = found.values()
    assert tag == "error"
    assert "]]>" in message


def test_a_file_keeps_to_its_readers_limit(tmp_path: Path, run: RunReport) -> None:
    tests = [entry_of(f"a.py::t{number}", "product", "x", details="y" * 2_000_000) for number in range(20)]
    completed(tmp_path, run, tests)
    assert (tmp_path / "junit.xml").stat().st_size < 30_000_000


def test_a_repeated_test_has_one_case_that_of_the_run_that_decides(tmp_path: Path, run: RunReport) -> None:
    names = ["test_x", "test_x@2", "test_x@3", "test_y[a]", "test_y@2[a]", "test_y@3[a]", "test_x2"]
    cases = "".join(f'<testcase classname="suites.test_a" name="{name}" time="1"/>' for name in names)
    (tmp_path / "junit.xml").write_text(f'<testsuites><testsuite name="p">{cases}</testsuite></testsuites>', encoding="utf-8")
    common: dict[str, Any] = {"duration_s": 1.0, "started": 1.0, "worker": "gw0", "attempts": 3}
    tests = [
        TestEntry(nodeid="suites/test_a.py::test_x", verdict="product", reason="no", repetition=2, **common),
        TestEntry(nodeid="suites/test_a.py::test_y[a]", verdict="passed", repetition=3, **common),
        TestEntry(nodeid="suites/test_a.py::test_x2", verdict="passed", **common),
    ]
    complete_junit(tmp_path, run.model_copy(update={"tests": tests, "repeat": 3, "not_run": []}))
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    found = {case.get("name"): [child.tag for child in case] for case in suite}
    assert found == {"test_x": ["failure"], "test_y[a]": [], "test_x2": []}
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
