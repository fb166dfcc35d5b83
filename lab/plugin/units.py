"""How many workers a run has work for, from a pytest that only collects, before any worker is started.

pytest-xdist starts its workers first, and each of them collects by itself: the number of tests is not known then.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from lab.errors import HostToolError
from lab.host.passed import passed_over
from lab.host.process import run

_LOG = logging.getLogger(__name__)

#: What goes to a worker in one piece: a class (or the tests outside of classes of a module), a test, or a file.
Unit = Literal["class", "test", "file"]

_ASK_S = 300.0
#: Options that leave tests out.
_SELECTIONS = ("keyword", "markexpr", "deselect", "lf", "stepwise")
_TEST = re.compile(rb"^\s*(async )?def test", re.MULTILINE)


def unit_of(nodeid: str, unit: Unit) -> str:
    """What goes to a worker together with a test, as an id."""
    from lab.plugin.schedule import scope_of_id

    return nodeid.partition("::")[0] if unit == "file" else scope_of_id(nodeid, classes=unit == "class")


def work_for(config: pytest.Config, wanted: int, unit: Unit) -> int:
    """How many of the wanted workers will have work; all of them if that is unknown.

    Args:
        config: The controller's configuration.
        wanted: Number of workers.
        unit: What goes to a worker in one piece.
    """
    if wanted <= 1 or surely_enough(config, wanted):
        return wanted
    with tempfile.TemporaryDirectory(prefix="lab-units-") as folder:
        answer = Path(folder) / "answer"
        only_collect = ["--collect-only", "-q", "-n0", f"--junitxml={os.devnull}"]
        argv = [sys.executable, "-m", "lab.plugin.units", str(answer), unit, *config.invocation_params.args, *only_collect]
        # Mistakes in tests or options are reported by the run itself.
        with passed_over(_LOG, "cannot count the tests", HostToolError, OSError, ValueError):
            run(argv, _ASK_S, check=False, cwd=config.invocation_params.dir)
            return max(1, min(wanted, int(answer.read_text(encoding="ascii"))))
    return wanted


def surely_enough(config: pytest.Config, wanted: int) -> bool:
    """Whether there is certainly work for so many workers: as many files with tests, and no test is deselected.

    The usual run of all suites needs no count.
    """
    if any(config.getoption(name, None) for name in _SELECTIONS):
        return False
    found = 0
    for argument in config.args:
        path = config.invocation_params.dir / argument
        for file in path.rglob("test_*.py") if path.is_dir() else ():
            found += bool(_TEST.search(file.read_bytes()))
            if found >= wanted:
                return True
    return False


class _Counter:
    """Writes the number of collected units."""

    def __init__(self, answer: Path, unit: Unit) -> None:
        self._answer = answer
        self._unit = unit

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """All tests are known, without deselected ones."""
        units = {unit_of(item.nodeid, self._unit) for item in session.items}
        self._answer.write_text(str(len(units)), encoding="ascii")


def main(arguments: Sequence[str]) -> int:
    """Collect, and write the number of units into the file that the first argument names."""
    answer, name, *rest = arguments
    units: dict[str, Unit] = {"class": "class", "test": "test", "file": "file"}
    return pytest.main(rest, plugins=[_Counter(Path(answer), units[name])])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
