"""Fixtures that run the real `lab` command on the free guest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.running import FinishedRun, StartedRun, launch


@pytest.fixture
def start_run(tmp_path: Path) -> Iterator[Callable[..., StartedRun]]:
    """Start `lab run ARGUMENTS` in the background; its processes are killed at the end of the test."""
    started: list[StartedRun] = []

    def start(*arguments: str) -> StartedRun:
        run = launch(tmp_path / f"out-{len(started)}", *arguments)
        started.append(run)
        return run

    yield start
    for run in started:
        if run.process.poll() is None:
            run.process.kill()
        run.process.communicate(timeout=60)


@pytest.fixture
def finish_run(start_run: Callable[..., StartedRun]) -> Callable[..., FinishedRun]:
    """Run `lab run ARGUMENTS` to its end."""

    def run(*arguments: str) -> FinishedRun:
        return start_run(*arguments).finish()

    return run
