"""What the words of a command line are to pytest, as it says itself in answer to a question of ``lab run``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

#: The environment variable with the question: a JSON object with ``words``, the file for the ``answer``, and the ``unit`` of
#: work by which tests go to ``workers`` (see :mod:`lab.plugin.units`), or null to have them not counted.
QUESTION = "LAB_PYTEST_QUESTION"


@dataclass(frozen=True, slots=True)
class Words:
    """What is known of a command line.

    Attributes:
        suites: The paths and node ids among the words, in their order.
        packages: They are names of packages (``--pyargs``).
        shows: pytest is asked to show something, and not to run tests.
        terminal: pytest will talk to the user (a debugger).
        units: How many pieces of work the collected tests are; None where nobody has counted them.
    """

    suites: tuple[str, ...] = ()
    packages: bool = False
    shows: bool = False
    terminal: bool = False
    units: int | None = None


def write_answer(file: Path, words: Words) -> None:
    """Write down what there is to say."""
    file.write_text(json.dumps(asdict(words)), encoding="utf-8")


def read_answer(file: Path) -> Words | None:
    """Read it; None when pytest did not come to it."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Words(**{**found, "suites": tuple(found["suites"])})
