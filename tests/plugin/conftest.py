"""A pytester whose inner runs use simulated guests."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.report.model import RunReport, TestEntry

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
    """Runs inner test files with the plugin and simulated guests."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
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
        if "-n" in arguments:
            return self.pytester.runpytest_subprocess(*line, timeout=120)
        # Without workers the inner run is quicker in this process.
        return self.pytester.runpytest_inprocess(*line)

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
def inner(pytester: pytest.Pytester) -> Inner:
    """Inner runs."""
    return Inner(pytester)
