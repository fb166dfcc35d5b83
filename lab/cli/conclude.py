"""The end of `lab run`: writes the report, however pytest ended, and prints the summary."""

from __future__ import annotations

import datetime
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from lab.cli.again import next_command
from lab.cli.child import ChildEnd
from lab.config import Settings
from lab.coverage.exports import PAGE
from lab.coverage.model import COVERAGE_DIR, percent_of
from lab.gate.exitcode import complete_code, run_code, unused_counts
from lab.gate.known_issues import RunResults, audit_known
from lab.host.console import open_console
from lab.host.passed import passed_over
from lab.report.assemble import assemble
from lab.report.elsewhere import all_folders, find
from lab.report.ending import run_end
from lab.report.junit import complete_junit
from lab.report.model import RunReport
from lab.report.outdir import timed_folders
from lab.report.places import from_folder
from lab.report.publish import publish
from lab.report.runfiles import read_meta, read_run
from lab.report.runlog import LOG_FILE
from lab.report.sessionfile import SessionFacts, read_session
from lab.report.summary import STEP_SUMMARY_BYTES, error_annotations, markdown, print_summary, red_tests

_LOG = logging.getLogger(__name__)
#: Most commands to print: a page of them would not help.
_MOST_COMMANDS = 5


def conclude(folder: Path, end: ChildEnd, settings: Settings, *, everything: bool = True) -> int:
    """Write the report, however pytest ended, print the summary, and return the exit code.

    Args:
        folder: The run's folder.
        end: How pytest ended.
        settings: What was in force.
        everything: No test was left out by the user.
    """
    console = open_console()
    found, meta, session = read_run(folder), read_meta(folder), read_session(folder)
    # A signal after the end of all tests has ended nothing.
    over = session is not None and not session.stopped_by and end.exit_code >= 0
    signal = 0 if over else end.signal
    ended = "" if over else end.died
    if meta is not None and (found is None or ended):
        found = assemble(folder, meta, ended=ended, interrupted=bool(signal))
    code = run_code(run_end(found, session or SessionFacts(exit_status=end.exit_code), end.exit_code, signal))
    if found is None:
        for line in _why_no_report(session, ended, end.exit_code):
            console.print(f"lab: {line}", soft_wrap=True, markup=False, highlight=False)
        return code
    named = meta.named_drivers if meta else ()
    unused = unused_counts(found.unused_drivers, named, in_lab_file=settings.sources["drivers"] == "lab file")
    uncovered = _uncovered(found, settings, everything=everything and not found.deselected)
    uncounted = found.coverage is not None and found.coverage.failed
    code = complete_code(code, unused=unused, uncovered=bool(uncovered), uncounted=uncounted)
    found = found.model_copy(update={"exit_code": code, "command": ["lab", *sys.argv[1:]]})
    publish(folder, found)
    project = os.environ.get("CI_PROJECT_DIR")
    complete_junit(folder, found, base=Path(project) if project else None)
    print_summary(found, console, folder=folder)
    if uncovered:
        console.print(uncovered, soft_wrap=True, markup=False, highlight=False)
    if everything:
        # With a selection of tests, most entries have no test, which means nothing.
        _print_known(found, settings, folder, console)
    print_paths(folder, console)
    _print_next(found, settings, console)
    _tell_github(found)
    return code


def _uncovered(report: RunReport, settings: Settings, *, everything: bool) -> str:
    """Why the lines that ran are fewer than asked for, in one sentence; empty if they are not."""
    limit, entry = settings.values.coverage_fail_under, report.coverage
    if limit is None or settings.values.coverage == "none":
        return ""
    # Tests that were left out may be those of a driver that none used; without a selection, its lines are lines that no test
    # reaches.
    unused = entry.unused_lines if entry is not None and everything else 0
    lines = entry.lines + unused if entry is not None else 0
    if entry is None or not lines:
        return f"no line of a driver was counted, so the limit of {limit:g}% is not reached (coverage_fail_under)"
    percent = percent_of(entry.covered, lines)
    of_unused = f", with the {unused} lines of drivers that no test used," if unused else ""
    return f"coverage {percent:g}%{of_unused} is below the limit of {limit:g}% (coverage_fail_under)" if percent < limit else ""


def _why_no_report(session: SessionFacts | None, ended: str, pytest_code: int) -> list[str]:
    """Why there is no report, one line each."""
    if session is None or ended:
        return [f"{ended or f'pytest ended with {pytest_code} before any test'}; see the lines above"]
    if session.no_guest:
        return [f"no guest is available: {session.no_guest}"]
    if session.collection_errors:
        return [f"{error.nodeid} cannot be collected: {error.reason}" for error in session.collection_errors]
    if session.stopped:
        return [f"no test ran: {session.stopped}"]
    if session.deselected and not session.ran:
        return [f"nothing was checked: all {session.deselected} tests were deselected by -k, -m or similar options"]
    if session.ran:
        return [f"nothing was checked: {session.ran} tests ran, and none of them uses the lab's fixtures or markers"]
    return ["nothing was checked: there is no test"]


def _print_known(report: RunReport, settings: Settings, folder: Path, console: Console) -> None:
    runs = settings.project / settings.values.out
    today = datetime.datetime.now(tz=datetime.UTC).date()
    issues, results = settings.values.known, _results(report)
    for line in audit_known(issues, results, today=today, earlier=lambda: _earlier(runs, this=folder)):
        console.print(f"known issue: {line}", soft_wrap=True, markup=False, highlight=False)


def _results(report: RunReport) -> RunResults:
    return RunResults(tests=[(test.nodeid, test.verdict, test.drivers) for test in report.tests], repeat=report.repeat)


def _earlier(runs: Path, *, this: Path) -> Iterator[RunResults]:
    """The results of the runs whose folders are still there, the newest first."""
    for folder in timed_folders(runs):
        report = None
        if folder.absolute() != this.absolute():
            with passed_over(_LOG, f"the known issues are not compared with {folder}", OSError, ValueError):
                report = read_run(folder)
        if report is not None:
            yield _results(report)


def print_paths(folder: Path, console: Console) -> None:
    """Print where the files of a run are."""
    here = Path.cwd()
    coverage = f"{COVERAGE_DIR}/{PAGE}"
    named = (("report.html", "report"), ("run.json", "data"), ("junit.xml", "JUnit"), (coverage, "coverage"), (LOG_FILE, "log"))
    for name, what in named:
        path = find(folder.absolute(), name)
        if path.exists():
            console.print(f"{what:<8} {from_folder(path, here)}", soft_wrap=True)
    if others := all_folders(folder.absolute())[1:]:
        console.print(
            f"lab: {folder} could not store all results (a full disk?); the results of this run are in {others[0]}",
            soft_wrap=True,
        )


def _print_next(report: RunReport, settings: Settings, console: Console) -> None:
    """For each red test, the command that runs it alone."""
    lines = [line for test in red_tests(report) if (line := next_command(test, settings, root=report.root))]
    if not lines:
        return
    console.print("\nTo try again, one by one:")
    for line in lines[:_MOST_COMMANDS]:
        console.print(f"  {line}", soft_wrap=True)
    if len(lines) > _MOST_COMMANDS:
        console.print(f"  … and {len(lines) - _MOST_COMMANDS} more")


def _tell_github(report: RunReport) -> None:
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in error_annotations(report, base=Path(workspace) if workspace else None):
            sys.stdout.write(line + "\n")
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        path = Path(summary)
        there = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(markdown(report, room=STEP_SUMMARY_BYTES - there))
