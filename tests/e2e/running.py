"""One run of the real `lab` command, as a user starts it, and what it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from lab.gate.verdict import Verdict
from lab.report.model import RunReport, TestEntry

ROOT = Path(__file__).resolve().parents[2]
LAB = Path(sys.executable).parent / "lab"
#: A boot takes 20-40 s and a guest process 1-3 s under TCG; a busy host may double that.
RUN_DEADLINE_S = 900


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """One `lab run` that has ended."""

    exit_code: int
    output: str
    out: Path

    @property
    def report(self) -> RunReport:
        return RunReport.model_validate_json((self.out / "run.json").read_text(encoding="utf-8"))

    def tests(self, verdict: Verdict) -> list[TestEntry]:
        return [t for t in self.report.tests if t.verdict == verdict]


@dataclass(slots=True)
class StartedRun:
    """One `lab run` that is still running."""

    process: subprocess.Popen[str]
    out: Path

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def finish(self) -> FinishedRun:
        output, _ = self.process.communicate(timeout=RUN_DEADLINE_S)
        return FinishedRun(self.process.returncode, output, self.out)


def launch(out: Path, *arguments: str) -> StartedRun:
    """Start `lab run ARGUMENTS` in the background, its results in ``out``."""
    argv = [str(LAB), "run", "--guest", "wine", "--out", str(out), *arguments]
    # A nested pytest must not think that it is a worker of the outer one.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    process = subprocess.Popen(argv, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return StartedRun(process, out)


def is_qemu(process: psutil.Process) -> bool:
    """True for a running QEMU; false for one that is gone or a zombie."""
    try:
        return process.name().startswith("qemu-system") and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def poll(what: str, condition: Callable[[], bool], *, timeout: float, interval: float = 0.2) -> None:
    """Wait until ``condition`` holds; fails with ``what`` at the deadline."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"after {timeout:.0f} s still waiting for: {what}")
        time.sleep(interval)
