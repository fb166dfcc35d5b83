"""A pytester whose inner runs use simulated guests."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.report.model import RunReport, TestEntry
from tests.warm import WarmPython

#: Guests may have the processors meanwhile: ci/lanes.py.
_DEADLINE_S = 300.0
_INNER_CONFTEST = """
import sys, pathlib
sys.path.insert(0, {folder!r})
import pytest
from simulated import SimulatedForks, SimulatedSource

SOURCES = []

def pytest_lab_guest_source(config, lab_config):
    source = SimulatedSource(pathlib.Path({payload!r}), forks={forks})
    SOURCES.append(source)
    {changes}
    return source

{more}
"""


class Inner:
    """Runs inner test files with the plugin and simulated guests.

    Args:
        pytester: Has the files.
        warm: Gives what starts processes for runs with workers.
    """

    def __init__(self, pytester: pytest.Pytester, warm: Callable[[], WarmPython]) -> None:
        self.pytester = pytester
        self.warm = warm
        self.out = pytester.path / "run"
        self.prepare()

    def prepare(self, changes: str = "pass", more: str = "", forks: str = "None") -> None:
        folder = str(Path(__file__).parents[1])
        text = _INNER_CONFTEST.format(
            folder=folder, payload=str(self.pytester.path / "payload"), changes=changes, more=more, forks=forks
        )
        self.pytester.makeconftest(text)

    def run(self, tests: str, *arguments: str) -> pytest.RunResult:
        self.pytester.makepyfile(test_inner="import pytest\n" + tests)
        line = ("--lab-out", str(self.out), "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments)
        if "-n" in arguments and "-p" not in arguments:
            return self._run_with_workers(*line)
        if "-n" in arguments:
            # What it imports first may replace parts of the lab, before others have imported them.
            return self.pytester.runpytest_subprocess(*line, timeout=_DEADLINE_S)
        # Without workers the inner run is quicker in this process.
        return self.pytester.runpytest_inprocess(*line)

    def _run_with_workers(self, *line: str) -> pytest.RunResult:
        argv = [sys.executable, "-m", "pytest", f"--basetemp={self.pytester.path / 'basetemp'}", *line]
        begin, texts = time.monotonic(), []
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self.warm().start(argv, cwd=self.pytester.path, env=os.environ, output=out.fileno(), errors=err.fileno())
            code = process.wait(_DEADLINE_S)
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "backslashreplace").splitlines())
        return pytest.RunResult(code, texts[0], texts[1], time.monotonic() - begin)

    @property
    def report(self) -> RunReport:
        return RunReport.model_validate_json((self.out / "run.json").read_text(encoding="utf-8"))

    def test(self, name: str) -> TestEntry:
        [entry] = [test for test in self.report.tests if test.nodeid.endswith("::" + name)]
        return entry

    @property
    def verdicts(self) -> dict[str, str]:
        return {test.nodeid.rpartition("::")[2]: test.verdict for test in self.report.tests}


@pytest.fixture
def inner(pytester: pytest.Pytester, request: pytest.FixtureRequest) -> Inner:
    """Inner runs."""
    return Inner(pytester, lambda: request.getfixturevalue("warm"))
