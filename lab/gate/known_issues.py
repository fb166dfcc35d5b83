"""Known issues: red tests that the lab file lists for a while, with a reason and an end date."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

from lab.config import KnownIssue


def match_known(
    issues: Sequence[KnownIssue], nodeid: str, drivers: Collection[str], *, today: datetime.date
) -> list[KnownIssue]:
    """The entries in force that name a test, in the order of the lab file.

    Args:
        issues: The lab file's list.
        nodeid: The test.
        drivers: Names of the drivers that the test uses.
        today: The date in UTC.
    """
    return [issue for issue in issues if today <= issue.until and _names(issue, nodeid, drivers)]


def audit_known(
    issues: Sequence[KnownIssue],
    results: Iterable[tuple[str, str, Collection[str]]],
    *,
    today: datetime.date,
) -> list[str]:
    """Find outdated entries: expired ones, those that name no test, and those whose tests all pass.

    Args:
        issues: The lab file's list.
        results: (test id, verdict, names of the drivers that it uses) of every test of the run.
        today: The date in UTC.

    Returns:
        One line for each entry that the user should check.
    """
    ran = list(results)
    lines = []
    for number, issue in enumerate(issues):
        what = f"known.{number} ({issue.test})"
        if today > issue.until:
            lines.append(f"{what} expired on {issue.until.isoformat()} and no longer excuses failures: {issue.reason}")
            continue
        verdicts = [verdict for nodeid, verdict, drivers in ran if _names(issue, nodeid, drivers)]
        if not verdicts:
            lines.append(f"{what} matches no test of this run")
        elif all(verdict == "passed" for verdict in verdicts):
            lines.append(f"{what} is no longer needed: {len(verdicts)} test(s) that it matches passed")
    return lines


def _names(issue: KnownIssue, nodeid: str, drivers: Collection[str]) -> bool:
    # Brackets are parameters in a test id and sets in a shell pattern: take them literally.
    pattern = issue.test.replace("[", "[[]")
    named = fnmatchcase(nodeid, pattern) or fnmatchcase(nodeid, pattern + "[[]*")
    return named and (issue.driver is None or issue.driver in drivers)
