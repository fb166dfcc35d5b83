"""``defects.html``: the matrix of defects and tests as one file without links to other places."""

from __future__ import annotations

import jinja2

from lab.defects.model import MEANINGS, DefectEntry, DefectsReport
from lab.defects.show import in_order, noticed_by, short, summary


def page(report: DefectsReport) -> str:
    """Render the page. Everything is escaped by the template engine."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lab.defects"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["short"] = short
    return environment.get_template("defects.html.j2").render(
        report=report,
        entries=in_order(report.defects),
        tests=columns(report),
        cells={entry.name: cells(entry) for entry in report.defects},
        noticed_by=noticed_by,
        lines=summary(report),
        meanings=MEANINGS,
    )


def columns(report: DefectsReport) -> list[str]:
    """The tests that noticed a defect, or should have; sorted."""
    return sorted({test for entry in report.defects for test in (*entry.caught_by, *entry.first)})


def cells(entry: DefectEntry) -> dict[str, tuple[str, str]]:
    """Test → its mark and its verdict with a defect, for the tests that ran; and ``·`` for one that should have run."""
    marks = {"passed": "○", "skipped": "–"}
    should = {test: ("·", "not run") for test in entry.first}
    return should | {test.nodeid: (marks.get(test.verdict, "●"), test.verdict) for test in entry.tests}
