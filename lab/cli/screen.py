"""One round of `lab run --watch` in one screen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lab.report.elsewhere import find
from lab.report.model import RunReport
from lab.report.places import from_folder
from lab.report.runfiles import HTML_FILE
from lab.report.summary import red_tests
from lab.report.view import headline, unchecked

#: A warning of the compiler, as `lab run` shows it.
_WARNING = re.compile(r"lab: \S+: .*: warning: ")


def round_lines(report: RunReport | None, said: str, folder: Path, *, number: int, seconds: float, room: int) -> list[str]:
    """The lines that show a round.

    Args:
        report: Its report; None where there is none: something did not build, or an option was wrong.
        said: All output of `lab run`.
        folder: The round's folder.
        number: Which round it is.
        seconds: How long it took, from the change.
        room: Lines of the screen.
    """
    if report is None:
        lines = [line for line in said.splitlines() if line.strip()] or ["lab run printed nothing"]
        return [f"round {number}: nothing was run, after {seconds:.1f} s", *_fit(lines, room - 1)]
    head = [f"round {number}: {headline(report)}, {seconds:.1f} s"]
    page = from_folder(find(folder, HTML_FILE), Path.cwd())
    # A round is about what was changed: drivers that it did not use are not shown.
    left = [line for line in unchecked(report) if not line.startswith("nothing was checked of the driver")]
    foot = [*(f"not run: {line}" for line in left), page]
    # A build prints them once: the next round builds only what was changed.
    body = [line.removeprefix("lab: ") for line in said.splitlines() if _WARNING.match(line)]
    for test in red_tests(report):
        body.append(f"{test.verdict}: {test.nodeid}")
        body += [f"    {line}" for line in test.reason.splitlines()[:3]]
    return [*head, *_fit(body, room - len(head) - len(foot), end=False), *foot]


def _fit(lines: Sequence[str], room: int, *, end: bool = True) -> list[str]:
    """As many lines as there is room for, and how many more there are."""
    if len(lines) <= room:
        return list(lines)
    room = max(1, room - 1)
    more = f"… {len(lines) - room} more lines"
    return [more, *lines[-room:]] if end else [*lines[:room], more]
