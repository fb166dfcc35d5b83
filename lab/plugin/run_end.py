"""The end of a run: the report, and a block in the terminal."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import ParseError

from lab.gate.exitcode import complete_code, unused_counts
from lab.gate.verdict import SEVERITY
from lab.host.passed import passed_over
from lab.lease.life import END_OF_RUN, REPLACED, TESTS_OVER
from lab.report.assemble import assemble
from lab.report.coverage_view import coverage_lines
from lab.report.elsewhere import find
from lab.report.junit import attach_evidence
from lab.report.model import RunReport
from lab.report.publish import publish
from lab.report.runfiles import read_meta
from lab.report.runlog import LOG_FILE
from lab.report.view import driver_notes, unchecked

_LOG = logging.getLogger(__name__)

#: Kinds of evidence that the terminal names; the report has all of it.
_SHOWN = ("dump", "screenshot", "console")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run's report and its folder."""

    report: RunReport
    files: tuple[Path, ...]


def finish_run(out: Path, *, drivers_in_lab_file: bool = False, page: bool = True) -> Finished | None:
    """Make ``run.json`` and the page from the workers' files; None if no lab test ran.

    Args:
        out: Folder of the run.
        drivers_in_lab_file: The drivers under test are named by the lab file, not for this run.
        page: Make the page, too; `lab run` makes it itself, when it knows the exit code.
    """
    meta = read_meta(out)
    if meta is None:
        return None
    report = assemble(out, meta)
    unused = unused_counts(report.unused_drivers, meta.named_drivers, in_lab_file=drivers_in_lab_file)
    code = complete_code(report.exit_code, unused=unused, not_run=len(report.not_run))
    report = report.model_copy(update={"exit_code": code})
    files = [*publish(out, report, page=page), find(out, LOG_FILE)]
    return Finished(report=report, files=tuple(file for file in files if file.exists()))


def attach_to_junit(junit: Path, out: Path) -> None:
    """Name the evidence in the JUnit file as attachments, if pytest wrote one."""
    project = os.environ.get("CI_PROJECT_DIR")
    # pytest itself reports a file that is missing or not XML.
    with passed_over(_LOG, f"no attachments in {junit}", OSError, ParseError):
        # GitLab takes paths from its project's folder; Jenkins and Azure take absolute ones.
        attach_evidence(junit, out, base=Path(project) if project else None)


def summary_lines(finished: Finished) -> list[str]:
    """What the terminal shows about a run."""
    report = finished.report
    clock = ", virtual clock" if report.clock == "virtual" else ""
    lines = [f"{report.guest}; {report.accelerator}, QEMU {report.qemu}{clock}"]
    boots = [guest.boot_s for guest in report.guests if guest.boot_s is not None]
    if boots:
        each = ", ".join(f"{seconds:.1f}" for seconds in boots)
        lines.append(f"{len(boots)} guest(s) on {report.workers} worker(s), booted in {each} s")
    forks = sum(template.forks for template in report.templates)
    if forks:
        lines.append(f"{forks} fork(s) of {len(report.templates)} template(s) on {report.workers} worker(s)")
    ordinary = ("", END_OF_RUN, TESTS_OVER)
    lines += [
        f"guest {guest.guest_id} ended: {guest.ended}"
        for guest in report.guests
        # With forks most guests end after their test, which is not shown.
        if guest.ended not in ordinary and not guest.ended.startswith(REPLACED)
    ]
    lines += [
        f"guest {guest.guest_id} got its files by {guest.copied_by}: {guest.copy_note}"
        for guest in report.guests
        if guest.copy_note
    ]
    counts = ", ".join(f"{report.totals[verdict]} {verdict}" for verdict in SEVERITY if report.totals.get(verdict))
    lines.append(f"verdicts: {counts or 'none'}")
    for need, count in report.skipped_for.items():
        lines.append(f"skipped, because the guest lacks {need}: {count}")
    if report.repeat > 1:
        from lab.report.summary import rate_lines  # and with it a library that no other run needs here

        lines += [f"repeated: {line}" for line in rate_lines(report)]
    lines += [f"not run: {sentence}" for sentence in unchecked(report)]
    lines += [f"note: {sentence}" for sentence in driver_notes(report)]
    lines += [f"coverage: {line}" for line in (coverage_lines(report.coverage) if report.coverage is not None else ())]
    lines.append(f"kernel prints: {report.prints} of tests, {report.unattributed_prints} unattributed")
    red = [test for verdict in ("crash", "test", "infra") for test in report.tests if test.verdict == verdict]
    for test in red:
        lines.append(f"{test.verdict}: {test.nodeid}: {test.reason}")
        lines += [f"  {file.kind}: {finished.files[0].parent / file.path}" for file in test.evidence if file.kind in _SHOWN]
    lines += [str(file) for file in finished.files]
    return lines
