"""What the arguments of a command line mean to pytest: its own answer to a request of ``lab run``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

#: The environment variable with the request: a JSON object with ``words``, the file for the ``answer``, and the ``unit`` of
#: work by which tests go to ``workers`` (see :mod:`lab.plugin.units`), or null if they are not to be counted.
QUESTION = "LAB_PYTEST_QUESTION"


@dataclass(frozen=True, slots=True)
class Words:
    """What is known about a command line.

    Attributes:
        suites: The paths and node ids among the words, in their order.
        packages: They are names of packages (``--pyargs``).
        shows: pytest is asked to show something, and not to run tests.
        terminal: pytest will talk to the user (a debugger).
        units: How many pieces of work the collected tests are; None if they were not counted.
    """

    suites: tuple[str, ...] = ()
    packages: bool = False
    shows: bool = False
    terminal: bool = False
    units: int | None = None


def write_answer(file: Path, words: Words) -> None:
    """Write the answer."""
    file.write_text(json.dumps(asdict(words)), encoding="utf-8")


def read_answer(file: Path) -> Words | None:
    """Read the answer; None if pytest wrote none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Words(**{**found, "suites": tuple(found["suites"])})
