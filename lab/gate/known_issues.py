"""Known issues: red tests that the lab file lists for a while, with a reason and an end date.

An entry that nothing needs any more hides the next failure of its test. So it asks to be removed when its tests have passed in
:data:`GREEN_RUNS` runs in a row. One green run says little about a test that fails now and then.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lab.config import KnownIssue

#: So many green runs in a row, and an entry asks to be removed.
GREEN_RUNS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResults:
    """The results of one run.

    Attributes:
        tests: (test id, verdict, names of the drivers that it uses) of every test.
        repeat: How often each of them was run.
    """

    tests: Sequence[tuple[str, str, Collection[str]]]
    repeat: int = 1


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


def matches_signature(issue: KnownIssue, signature: str) -> bool:
    """Whether a failure with a signature is the one that an entry names; one that names none means any failure."""
    return issue.signature is None or fnmatchcase(signature, issue.signature.replace("[", "[[]"))


def audit_known(
    issues: Sequence[KnownIssue],
    results: RunResults,
    *,
    today: datetime.date,
    earlier: Callable[[], Iterable[RunResults]] = tuple,
) -> list[str]:
    """Find outdated entries: expired ones, those that name no test, and those whose tests all pass.

    Args:
        issues: The lab file's list.
        results: Of the run.
        today: The date in UTC.
        earlier: The results of earlier runs, the newest first; asked for if the tests of an entry have passed.

    Returns:
        One line for each entry that the user should check.
    """
    lines = []
    for number, issue in enumerate(issues):
        what = f"known.{number} ({issue.test})"
        if today > issue.until:
            lines.append(f"{what} expired on {issue.until.isoformat()} and no longer excuses failures: {issue.reason}")
            continue
        verdicts = _verdicts(issue, results)
        if not verdicts:
            lines.append(f"{what} matches no test of this run")
        elif all(verdict == "passed" for verdict in verdicts):
            lines.append(_of_green(what, len(verdicts), _green_in_a_row(issue, results, earlier())))
    return lines


def _of_green(what: str, tests: int, runs: int) -> str:
    if runs >= GREEN_RUNS:
        return f"{what} is no longer needed: {tests} test(s) that it matches passed in {runs} runs in a row; please remove it"
    return f"{what} was not needed: {tests} test(s) that it matches passed ({runs} of {GREEN_RUNS} runs in a row)"


def _green_in_a_row(issue: KnownIssue, results: RunResults, earlier: Iterable[RunResults]) -> int:
    """How many runs in a row all tests of an entry passed in; at most as many as count. Runs without such a test do not."""
    count = results.repeat
    for run in earlier:
        verdicts = _verdicts(issue, run)
        if count >= GREEN_RUNS or any(verdict != "passed" for verdict in verdicts):
            break
        count += run.repeat if verdicts else 0
    return count


def _verdicts(issue: KnownIssue, results: RunResults) -> list[str]:
    return [verdict for nodeid, verdict, drivers in results.tests if _names(issue, nodeid, drivers)]


def _names(issue: KnownIssue, nodeid: str, drivers: Collection[str]) -> bool:
    # Brackets are parameters in a test id and sets in a shell pattern: take them literally.
    pattern = issue.test.replace("[", "[[]")
    named = fnmatchcase(nodeid, pattern) or fnmatchcase(nodeid, pattern + "[[]*")
    return named and (issue.driver is None or issue.driver in drivers)
