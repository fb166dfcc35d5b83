"""``report.html``: one file that opens anywhere, also years later and without a network."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import jinja2
from markupsafe import Markup

from lab.coverage.model import COVERAGE_DIR, COVERAGE_FILE, Coverage, read_coverage
from lab.crash.signs import NO_CODE
from lab.host.passed import passed_over
from lab.report import view
from lab.report.coverage_view import coverage_lines, view_coverage
from lab.report.elsewhere import write_text
from lab.report.model import RunReport
from lab.report.runfiles import HTML_FILE
from lab.report.runlog import LOG_FILE
from lab.report.timeline import print_plot, timeline
from lab.report.verifier_view import verifier_lines

_LOG = logging.getLogger(__name__)


def render_html(report: RunReport, *, exit_meaning: str = "", log: str = "", coverage: Coverage | None = None) -> str:
    """Render the page.

    Everything that came from a guest, a test or a user is escaped by the template engine; all links lead into the same folder.

    Args:
        report: The run.
        exit_meaning: The exit code in the gate's words.
        log: The run's log beside the page; empty where there is none.
        coverage: The lines of the drivers; None if they were not counted.
    """
    tests = view.view_tests(report)
    return _template().render(
        report=report,
        view=view,
        verifier=verifier_lines(report),
        no_code=NO_CODE,
        headline=view.headline(report),
        exit_meaning=exit_meaning,
        log=log,
        coverage=view_coverage(coverage) if coverage is not None else None,
        coverage_lines=coverage_lines(report.coverage) if report.coverage is not None else [],
        coverage_dir=COVERAGE_DIR,
        total=sum(report.totals.values()),
        tests=tests,
        red=[test for test in tests if test.red],
        files=view.by_file(tests),
        skipped=view.skipped_groups(tests),
        unchecked=view.unchecked(report),
        timeline=timeline(report, tests),
        longest=max((test.own_s for test in tests), default=0) or 1,
        gravest=next((verdict for verdict in view.ORDER if report.totals.get(verdict)), "infra"),
    )


@functools.cache
def _template() -> jinja2.Template:
    """The page's template, compiled once: a command may write many pages."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lab.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    environment.filters["seconds"] = view.seconds
    environment.globals["print_plot"] = print_plot
    environment.globals["print_rows"] = view.print_rows
    return environment.get_template("report.html.j2")


def _shown(value: object) -> object:
    """Text from outside of the template, with control and direction characters as escapes, and cut if it is too long."""
    return view.printable(view.shortened(value)) if isinstance(value, str) and not isinstance(value, Markup) else value


def write_html(out: Path, report: RunReport, *, exit_meaning: str = "") -> Path:
    """Write ``report.html`` into a run's folder, or elsewhere if that is full, and return its path."""
    log = LOG_FILE if (out / LOG_FILE).is_file() else ""
    coverage: Coverage | None = None
    with passed_over(_LOG, f"the page has no lines of the drivers: {COVERAGE_FILE} cannot be read", OSError, ValueError):
        coverage = read_coverage(out) if report.coverage is not None else None
    return write_text(out, HTML_FILE, render_html(report, exit_meaning=exit_meaning, log=log, coverage=coverage))
