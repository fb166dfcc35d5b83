"""The pieces of evidence that a self-test finds in a finished run."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.report.html import write_html
from lab.report.model import DriverEntry, EvidenceFile, EvidenceStep, Fault, RunReport, TestEntry
from lab.report.pieces import crash_pieces, hang_pieces, missing
from tests.crash.conftest import dump64
from tests.report.invented import print_at

FILES = {
    "screenshot": "crash.png",
    "dump": "memory.dmp",
    "console": "console.txt",
    "events": "qmp-events.jsonl",
    "prints": "prints.txt",
    "driver": "drivers/selftest.sys",
    "symbols": "drivers/selftest.dbg",
    "guest-log": "guest/qemu.log",
}


def step(name: str, *, ok: bool = True, skipped: bool = False, detail: str = "") -> EvidenceStep:
    return EvidenceStep(name=name, seconds=0.0, ok=ok and not skipped, skipped=skipped, detail=detail)


@pytest.fixture
def finished(run: RunReport, tmp_path: Path) -> RunReport:
    """A run in which everything is there."""
    folder = tmp_path / "evidence" / "t"
    files = []
    for kind, name in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(dump64() if kind == "dump" else b"x")
        files.append(
            EvidenceFile(kind=kind, path=f"evidence/t/{name}", note="selftest, SHA-256 5e1f" if kind == "driver" else "")
        )
    fault = Fault(code="0x000000D1", parameters=["0x1", "0x2", "0x3", "0x4"], name="D", hint="a hint")
    steps = [step("screenshot"), step("break-in", ok=False), step("nmi"), step("dump"), step("dump-header"), step("kill")]
    bad = TestEntry(
        nodeid="driver/selftest/t.py::bad",
        verdict="crash",
        duration_s=1.0,
        started=run.tests[0].started,
        worker="gw0",
        guest_id="gw0-1",
        drivers=["selftest"],
        fault=fault,
        prints=[print_at(0, 1.0, "selftest: writing through a null pointer now\n")],
        evidence=files,
        evidence_steps=steps,
        hang="hard",
    )
    good = bad.model_copy(
        update={"nodeid": "driver/selftest/t.py::good", "verdict": "passed", "guest_id": "gw0-2", "evidence": []}
    )
    driver = DriverEntry(name="selftest", path="selftest.sys", sha256="5e1f", arch="x64")
    image = run.image.model_copy(update={"capabilities": ["bugcheck"]})
    report = run.model_copy(update={"tests": [bad, good], "drivers": [driver], "image": image})
    write_html(tmp_path, report)
    lines = "".join(f"[[ATTACHMENT|{tmp_path / file.path}]]\n" for file in files)
    (tmp_path / "junit.xml").write_text(
        f'<testsuites><testcase name="bad"><system-out>{lines}</system-out></testcase></testsuites>', encoding="utf-8"
    )
    return report


def change(report: RunReport, **changes: object) -> RunReport:
    bad, good = report.tests
    return report.model_copy(update={"tests": [bad.model_copy(update=changes), good]})


def test_a_complete_crash_has_every_piece(finished: RunReport, tmp_path: Path) -> None:
    pieces = crash_pieces(finished, tmp_path, crashed="bad", after="good")
    assert missing(pieces) == []
    assert {piece.state for piece in pieces} == {"ok"}
    assert len({piece.name for piece in pieces}) == len(pieces)


def test_a_complete_hang_has_every_piece(finished: RunReport, tmp_path: Path) -> None:
    pieces = hang_pieces(change(finished, verdict="infra"), tmp_path, hung="bad", after="good")
    assert missing(pieces) == []


@pytest.mark.parametrize(
    ("kind", "piece"),
    [
        ("dump", "memory dump"),
        ("console", "console"),
        ("events", "QMP events"),
        ("prints", "kernel prints"),
        ("driver", "driver that ran"),
        ("symbols", "driver's symbols"),
        ("guest-log", "guest's logs"),
    ],
)
@pytest.mark.parametrize("how", ["not named", "not there"])
def test_each_missing_file_is_reported(finished: RunReport, tmp_path: Path, kind: str, piece: str, how: str) -> None:
    report = finished
    if how == "not named":
        report = change(finished, evidence=[file for file in finished.tests[0].evidence if file.kind != kind])
    else:
        (tmp_path / "evidence" / "t" / FILES[kind]).unlink()
    assert piece in missing(crash_pieces(report, tmp_path, crashed="bad", after="good"))


@pytest.mark.parametrize(
    ("changes", "piece"),
    [
        ({"verdict": "infra"}, "verdict"),
        ({"fault": None}, "code"),
        ({"fault": Fault(code="0x00000000")}, "code"),
        ({"fault": Fault(code="0x000000D1", parameters=["0x1"])}, "four parameters"),
        ({"prints": []}, "last words"),
        ({"guest_id": "gw0-2"}, "next test, on a fresh guest"),
        ({"evidence_steps": []}, "screenshot"),
        (
            {"evidence_steps": [step("dump-header", ok=False, detail="the dump's header differs from the guest's report")]},
            "memory dump",
        ),
    ],
)
def test_each_missing_fact_is_reported(finished: RunReport, tmp_path: Path, changes: dict[str, object], piece: str) -> None:
    assert piece in missing(crash_pieces(change(finished, **changes), tmp_path, crashed="bad", after="good"))


def test_missing_links_and_attachments_are_reported(finished: RunReport, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<html></html>", encoding="utf-8")
    (tmp_path / "junit.xml").write_text("<testsuites>", encoding="utf-8")
    lost = missing(crash_pieces(finished, tmp_path, crashed="bad", after="good"))
    assert lost == ["links in report.html", "attachments in junit.xml"]


def test_a_piece_that_a_guest_cannot_have_is_not_reported_as_missing(finished: RunReport, tmp_path: Path) -> None:
    steps = [step("screenshot", skipped=True, detail="left out: the guest has no display"), step("dump", skipped=True)]
    pieces = crash_pieces(change(finished, evidence_steps=steps), tmp_path, crashed="bad", after="good")
    assert [piece.name for piece in pieces if piece.state == "not here"] == ["screenshot", "memory dump"]
    assert missing(pieces) == []


def test_a_hang_without_nmi_or_kill_is_reported(finished: RunReport, tmp_path: Path) -> None:
    steps = [step("screenshot"), step("break-in", skipped=True), step("nmi", skipped=True), step("dump")]
    report = change(finished, verdict="product", evidence_steps=steps, hang=None)
    lost = missing(hang_pieces(report, tmp_path, hung="bad", after="good"))
    assert {"verdict", "kind of hang", "nmi", "kill"} <= set(lost)


def test_a_run_without_the_test(finished: RunReport, tmp_path: Path) -> None:
    assert missing(crash_pieces(finished, tmp_path, crashed="none", after="good")) == ["verdict"]
    assert missing(hang_pieces(finished, tmp_path, hung="none", after="good")) == ["verdict"]
