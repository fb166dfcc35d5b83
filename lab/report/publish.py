"""The one place that writes a run's results: ``run.json`` and the page that shows it."""

from __future__ import annotations

from pathlib import Path

from lab.gate.exitcode import meaning
from lab.report.html import write_html
from lab.report.model import RunReport
from lab.report.runfiles import write_run


def publish(out: Path, report: RunReport, *, page: bool = True) -> tuple[Path, ...]:
    """Write the report of a run, and the page with its exit code in words.

    Args:
        out: Folder of the run.
        report: The report, with the run's exit code.
        page: Write the page, too.

    Returns:
        The files; on a full disk they may be elsewhere, see :mod:`lab.report.elsewhere`.
    """
    written = write_run(out, report)
    return (written, publish_page(out, report)) if page else (written,)


def publish_page(out: Path, report: RunReport) -> Path:
    """Write the page alone, for a run whose ``run.json`` is there already."""
    return write_html(out, report, exit_meaning=meaning(report.exit_code))
