"""The additions to JUnit files: properties of tests, and the evidence as attachments."""

from __future__ import annotations

import logging
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

from lab.host.passed import passed_over, said
from lab.report.elsewhere import find, write_somewhere
from lab.report.model import RunReport, TestEntry
from lab.report.view import printable

_LOG = logging.getLogger(__name__)

JUNIT_FILE = "junit.xml"
#: The property that names a file of evidence, relative to the run's folder; one property for each.
EVIDENCE_PROPERTY = "lab_evidence"


def user_properties(entry: TestEntry, *, guest: str, image_key: str, hashes: Mapping[str, str]) -> list[tuple[str, str]]:
    """Properties of one test for ``report.user_properties``, from where pytest writes them into any family of JUnit XML.

    The fixture ``record_property`` would do the same with a warning (it is not made for the family xunit2), and properties of
    a whole suite do not come through with workers.

    Args:
        entry: The finished test.
        guest: The one-line description of the guest.
        image_key: Key of its image.
        hashes: Driver name -> SHA-256 of its image; only those of the test's own drivers are used.
    """
    found = {
        "lab_verdict": entry.verdict,
        "lab_reason": entry.reason,
        "lab_signature": entry.signature,
        "lab_guest": guest,
        "lab_image_key": image_key,
        "lab_guest_id": entry.guest_id or "",
        "lab_worker": entry.worker,
        "lab_fault": entry.fault.code if entry.fault else "",
        "lab_fault_place": entry.fault.where if entry.fault else "",
        "lab_note": entry.note,
    }
    found |= {f"lab_driver_sha256_{name}": hashes[name] for name in entry.drivers if name in hashes}
    evidence = [(EVIDENCE_PROPERTY, file.path) for file in entry.evidence if not file.path.endswith("/")]
    return [*((name, value) for name, value in found.items() if value), *evidence]


def attach_evidence(junit: Path, out: Path, *, base: Path | None = None) -> int:
    """Name each test's evidence in its ``system-out``, as lines ``[[ATTACHMENT|path]]``, which Jenkins, GitLab and Azure read.

    pytest writes its file without such lines (unless all captured output is to be in it), so they are added after it, by the
    properties of :func:`user_properties`. It may be called again: each line is added once.

    Args:
        junit: The file that pytest wrote.
        out: Folder of the run.
        base: Folder that the paths are relative to, as GitLab wants them (its project's folder); None for absolute paths.

    Returns:
        How many lines were added.
    """
    tree = ElementTree.parse(junit)
    added = 0
    for case in tree.iter("testcase"):
        names = [
            node.get("value", "")
            for node in case.iter("property")
            if node.get("name") == EVIDENCE_PROPERTY and node.get("value")
        ]
        if not names:
            continue
        output = case.find("system-out")
        if output is None:
            output = ElementTree.SubElement(case, "system-out")
        there = (output.text or "").splitlines()
        files = [(out / name).absolute() for name in names]
        lines = [f"[[ATTACHMENT|{os.path.relpath(file, base) if base else file}]]" for file in files]
        new = [line for line in lines if line not in there]
        if new:
            output.text = "\n".join([*there, *new]) + "\n"
            added += len(new)
    if added:
        part = junit.with_name(junit.name + ".part")
        tree.write(part, encoding="utf-8", xml_declaration=True)
        part.replace(junit)
    return added


def complete_junit(out: Path, report: RunReport, *, base: Path | None = None) -> Path:
    """Make ``junit.xml`` of a run agree with the report, and write it into the run's folder, or elsewhere.

    pytest writes nothing when it is killed, leaves out tests that did not run, and knows neither crashes after a test nor known
    issues. Its other content, such as a test's output, stays.

    Args:
        out: Folder of the run.
        report: The run, with its evidence.
        base: See :func:`attach_evidence`.

    Returns:
        Where the file is.
    """
    file = find(out, JUNIT_FILE)
    root, suite = _read(file)
    for nameless in suite.findall("testcase"):
        if not nameless.get("name"):
            suite.remove(nameless)  # pytest's record of an unfinished test
    if report.repeat > 1:
        _one_case_each(suite, report)
    cases = {(case.get("classname", ""), case.get("name", "")): case for case in suite.iter("testcase")}
    for entry in report.tests:
        case = cases.get(_address(entry.nodeid))
        if case is None:
            case = _new_case(suite, entry.nodeid, entry.duration_s)
        _judge(case, _OUTCOMES[entry.verdict], entry)
    # Without any failure, the file of a run that ended early would look like that of a green run.
    tag = "skipped" if any(_OUTCOMES[entry.verdict] in ("failure", "error") for entry in report.tests) else "error"
    for nodeid in report.not_run:
        if _address(nodeid) not in cases:
            case = _new_case(suite, nodeid, 0.0)
            ElementTree.SubElement(case, tag, {"message": _xml(f"not run: {report.ended or 'the run ended early'}")})
    _count(suite)
    _fit(root)
    written = write_somewhere(out, JUNIT_FILE, lambda part: _write(part, root))
    # The disk has no room for another file.
    with passed_over(_LOG, "no attachments in junit.xml", OSError, level=logging.WARNING):
        attach_evidence(written, out, base=base)
    return written


#: The element of a JUnit file for each verdict.
_OUTCOMES = {
    "product": "failure",
    "crash": "failure",
    "test": "error",
    "infra": "error",
    "known": "skipped",
    "skipped": "skipped",
    "passed": "",
}
_ALL = ("failure", "error", "skipped")
_LONGEST_MESSAGE = 4000
#: GitLab accepts no JUnit file of more than 30 MB, and libxml2, which many readers use, no text of more than 10 MB.
_MOST_BYTES = 25_000_000


def _read(file: Path) -> tuple[ElementTree.Element, ElementTree.Element]:
    """The file of pytest and its suite; an empty one if there is no readable file."""
    try:
        root = ElementTree.parse(file).getroot()
        suite = root if root.tag == "testsuite" else root.find("testsuite")
        if suite is not None:
            return root, suite
    except (OSError, ElementTree.ParseError) as error:
        _LOG.info("junit.xml is written again: %s", said(error))
    root = ElementTree.Element("testsuites", {"name": "pytest tests"})
    return root, ElementTree.SubElement(root, "testsuite", {"name": "pytest"})


def _one_case_each(suite: ElementTree.Element, report: RunReport) -> None:
    """Of the runs of a repeated test, leave the one that decides its verdict, with the test's own name."""
    for entry in report.tests:
        group, name = _address(entry.nodeid)
        runs = {
            number: case
            for case in suite.findall("testcase")
            if case.get("classname") == group and (number := _run_number(case.get("name", ""), name))
        }
        for number, case in runs.items():
            if number == entry.repetition:
                case.set("name", name)
            else:
                suite.remove(case)


def _run_number(found: str, name: str) -> int:
    """Which run of a test a name (``test_x@2[parameters]``) stands for, from 1; 0 if it is another test's."""
    begin, bracket, parameters = name.partition("[")
    rest = found.removeprefix(f"{begin}@").removesuffix(bracket + parameters)
    if found == f"{begin}@{rest}{bracket}{parameters}" and rest.isascii() and rest.isdigit():
        return int(rest)
    return int(found == name)


def _address(nodeid: str) -> tuple[str, str]:
    """Class and name of a test as pytest writes them."""
    path, bracket, parameters = nodeid.partition("[")
    names = path.split("::")
    names[0] = names[0].replace("/", ".").removesuffix(".py")
    return ".".join(names[:-1]), _xml(names[-1] + bracket + parameters)


def _new_case(suite: ElementTree.Element, nodeid: str, duration_s: float) -> ElementTree.Element:
    group, name = _address(nodeid)
    values = {"classname": _xml(group), "name": name, "time": f"{duration_s:.3f}"}
    return ElementTree.SubElement(suite, "testcase", values)


def _judge(case: ElementTree.Element, outcome: str, entry: TestEntry) -> None:
    """Set a test's outcome to that of the report; pytest's own text stays if it agrees."""
    found = [child for child in case if child.tag in _ALL]
    red = [child for child in found if child.tag != "skipped"]
    place = entry.fault.where if entry.fault else ""
    said = _xml(f"{entry.verdict}: {entry.reason}" + (f" (if the address is the driver's: {place})" if place else ""))
    if outcome in ("failure", "error"):
        if not red:
            red = [ElementTree.SubElement(case, outcome)]
            red[0].text = _xml(entry.details or entry.reason)
        red[0].set("message", said[:_LONGEST_MESSAGE])
    elif outcome == "skipped" and (red or not found):
        ElementTree.SubElement(case, "skipped", {"message": said[:_LONGEST_MESSAGE]})
    if outcome in ("", "skipped"):
        for child in red:
            case.remove(child)


def _count(suite: ElementTree.Element) -> None:
    cases = list(suite.iter("testcase"))
    suite.set("tests", str(len(cases)))
    for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(tag) is not None for case in cases)))


def _fit(root: ElementTree.Element) -> None:
    """Cut the longest texts if the file would be too long for its readers."""
    for most in (50_000, 5_000, 500):
        if len(ElementTree.tostring(root, encoding="utf-8")) <= _MOST_BYTES:
            return
        for element in root.iter():
            if element.text and len(element.text) > most:
                left = len(element.text) - most
                element.text = f"{element.text[:most]}\n… {left} more characters; the report has more"


def _xml(text: str) -> str:
    """Text with only characters that XML allows."""
    return printable(text).replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


def _write(part: Path, root: ElementTree.Element) -> None:
    ElementTree.ElementTree(root).write(part, encoding="utf-8", xml_declaration=True)
