"""Fixtures of the tests with the stand-in as a guest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.running import FinishedRun
from tests.relayguest.package import ROOT, environment, install

LAB = Path(sys.executable).parent / "lab"
#: The async suite waits for some sixty ticks of a second each, shared by the workers.
RUN_S = 900.0


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's folders, with the image and its templates once they were made."""
    return tmp_path_factory.mktemp("stand-in")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package is installed."""
    return install(tmp_path_factory.mktemp("site") / "package")


@pytest.fixture
def run(home: Path, site: Path, tmp_path: Path) -> Callable[..., FinishedRun]:
    """`lab run` with guests of the stand-in, until it ends."""

    def finished(*arguments: str) -> FinishedRun:
        out = tmp_path / "out"
        argv = [str(LAB), "run", "--guest", "stand-in", "--out", str(out), *arguments]
        done = subprocess.run(
            argv, cwd=ROOT, env=environment(home, site), capture_output=True, text=True, timeout=RUN_S, check=False
        )
        return FinishedRun(done.returncode, done.stdout + done.stderr, out)

    return finished
