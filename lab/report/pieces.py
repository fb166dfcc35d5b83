"""The pieces of evidence of a crash or a hang, checked in a finished run: for `lab selftest`."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from lab.crash.dump import read_dump_header
from lab.crash.signs import NO_CODE
from lab.errors import ConfigError
from lab.report.model import EvidenceStep, RunReport, TestEntry
from lab.report.runfiles import HTML_FILE

JUNIT_FILE = "junit.xml"
State = Literal["ok", "missing", "not here"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of evidence.

    Attributes:
        name: What it is.
        state: ``not here``: this guest, or this run, cannot have it.
        detail: Where it is, or what is wrong.
    """

    name: str
    state: State
    detail: str = ""


def crash_pieces(report: RunReport, out: Path, *, crashed: str, after: str) -> list[Piece]:
    """Check the evidence of a crash.

    Args:
        report: The run.
        out: Its folder.
        crashed: Name of the test that crashes its guest.
        after: Name of the test after it, which must pass on another guest.
    """
    entry = _entry(report, crashed)
    if entry is None:
        return [Piece("verdict", "missing", f"the run has no test {crashed}")]
    pieces = [_piece("verdict", entry.verdict == "crash", f"{entry.verdict}: {entry.reason}")]
    bugcheck = "bugcheck" in report.image.capabilities
    fault = entry.fault
    coded = fault is not None and fault.code != NO_CODE
    pieces.append(_piece("code", coded, f"{fault.code} {fault.name}".rstrip() if fault and coded else "none was reported"))
    wanted = 4 if bugcheck else 1
    count = len(fault.parameters) if fault else 0
    title = "four parameters" if bugcheck else "faulting address"
    said = ", ".join(fault.parameters) if fault and count else "none"
    pieces.append(_piece(title, count == wanted, said))
    pieces.append(_piece("hint", bool(fault and fault.hint), fault.hint if fault and fault.hint else "none for this code"))
    if not bugcheck:
        pieces.append(_piece("function and line", bool(fault and fault.where), fault.where if fault else ""))
    last = entry.prints[-1].text.strip() if entry.prints else "no print"
    spoke = any("writing through a null pointer" in record.text for record in entry.prints)
    pieces.append(_piece("last words", spoke, last))
    pieces += _common(entry, report, out)
    pieces.append(_next_guest(report, entry, after))
    return pieces


def hang_pieces(report: RunReport, out: Path, *, hung: str, after: str) -> list[Piece]:
    """Check the evidence of a hang; see :func:`crash_pieces`."""
    entry = _entry(report, hung)
    if entry is None:
        return [Piece("verdict", "missing", f"the run has no test {hung}")]
    pieces = [_piece("verdict", entry.verdict == "infra", f"{entry.verdict}: {entry.reason}")]
    pieces.append(_piece("kind of hang", entry.hang is not None, entry.hang or "the lab did not detect a hang"))
    pieces.append(_step(entry, "break-in", optional=True))
    pieces.append(_step(entry, "nmi", optional=entry.hang == "soft"))
    pieces.append(_step(entry, "kill"))
    pieces += _common(entry, report, out)
    pieces.append(_next_guest(report, entry, after))
    return pieces


def _common(entry: TestEntry, report: RunReport, out: Path) -> list[Piece]:
    pieces = [_step(entry, "screenshot", optional=True), _dump(entry, out)]
    for kind, title in (
        ("console", "console"),
        ("events", "QMP events"),
        ("guest-log", "guest's logs"),
        ("prints", "kernel prints"),
    ):
        pieces.append(_files(entry, out, kind, title))
    pieces.append(_driver(entry, report, out))
    pieces.append(_files(entry, out, "symbols", "driver's symbols"))
    pieces.append(_linked(entry, out))
    pieces.append(_attached(entry, out))
    return pieces


def _piece(name: str, good: bool, detail: str) -> Piece:
    return Piece(name, "ok" if good else "missing", detail)


def _entry(report: RunReport, name: str) -> TestEntry | None:
    return next((test for test in report.tests if test.nodeid.endswith(f"::{name}")), None)


def _find_step(entry: TestEntry, name: str) -> EvidenceStep | None:
    return next((step for step in entry.evidence_steps if step.name == name), None)


def _step(entry: TestEntry, name: str, *, optional: bool = False) -> Piece:
    step = _find_step(entry, name)
    if step is None:
        return Piece(name, "missing", "it was not tried")
    if step.skipped:
        return Piece(name, "not here" if optional else "missing", step.detail)
    # A kernel that does not obey its debugger is a result of the break-in, not a failure.
    good = step.ok or name == "break-in"
    return _piece(name, good, step.detail)


def _dump(entry: TestEntry, out: Path) -> Piece:
    step = _find_step(entry, "dump")
    if step is not None and step.skipped:
        return Piece("memory dump", "not here", step.detail)
    file = next((file for file in entry.evidence if file.kind == "dump"), None)
    if file is None:
        return Piece("memory dump", "missing", step.detail if step else "it was not tried")
    path = out / file.path
    if path.suffix == ".dmp":
        header = _find_step(entry, "dump-header")
        try:
            said = str(read_dump_header(path).bugcheck or "a running system")
        except ConfigError as error:
            return Piece("memory dump", "missing", error.message)
        return _piece("memory dump", header is None or header.ok, f"{file.path}: {header.detail if header else said}")
    try:
        with path.open("rb") as stream:
            good = stream.read(4) == b"\x7fELF"
    except OSError as error:
        return Piece("memory dump", "missing", f"{file.path}: {error.strerror}")
    return _piece("memory dump", good, f"{file.path}: {file.note}")


def _files(entry: TestEntry, out: Path, kind: str, title: str) -> Piece:
    found = [file.path for file in entry.evidence if file.kind == kind]
    lost = [path for path in found if not (out / path).is_file()]
    if not found or lost:
        return Piece(title, "missing", f"listed, but missing: {', '.join(lost)}" if lost else "none was saved")
    return Piece(title, "ok", found[0] if len(found) == 1 else f"{found[0]} and {len(found) - 1} more")


def _driver(entry: TestEntry, report: RunReport, out: Path) -> Piece:
    wanted = {driver.sha256 for driver in report.drivers if driver.name in entry.drivers}
    files = [file for file in entry.evidence if file.kind == "driver"]
    good = [file for file in files if any(sha in file.note for sha in wanted) and (out / file.path).is_file()]
    return _piece("driver that ran", bool(good), good[0].path if good else "its image was not saved")


def _linked(entry: TestEntry, out: Path) -> Piece:
    page = _read(out / HTML_FILE)
    lost = [file.path for file in entry.evidence if f'href="{quote(file.path)}"' not in page]
    good = bool(entry.evidence) and not lost
    return _piece("links in report.html", good, f"{len(entry.evidence)} files" if good else _list(lost) or "nothing to link")


def _attached(entry: TestEntry, out: Path) -> Piece:
    try:
        cases: Iterable[ElementTree.Element] = ElementTree.parse(out / JUNIT_FILE).iter("testcase")
    except (OSError, ElementTree.ParseError) as error:
        return Piece("attachments in junit.xml", "missing", str(error))
    name = entry.nodeid.rpartition("::")[2]
    said = "".join(case.findtext("system-out") or "" for case in cases if case.get("name") == name)
    lost = [file.path for file in entry.evidence if file.path not in said]
    good = bool(entry.evidence) and not lost
    return _piece("attachments in junit.xml", good, f"{len(entry.evidence)} files" if good else _list(lost) or "none")


def _next_guest(report: RunReport, entry: TestEntry, after: str) -> Piece:
    other = _entry(report, after)
    good = other is not None and other.verdict == "passed" and other.guest_id != entry.guest_id
    said = f"{other.verdict} on {other.guest_id}" if other else f"the run has no test {after}"
    return _piece("next test, on a fresh guest", good, said)


def _list(paths: Sequence[str]) -> str:
    return ", ".join(paths)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def missing(pieces: Iterable[Piece]) -> list[str]:
    """Names of the missing pieces."""
    return [piece.name for piece in pieces if piece.state == "missing"]
