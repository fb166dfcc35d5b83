"""Progress: one line a stage for logs, a moving line for terminals, durations in both."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from lab.image.progress import PlainProgress, RichProgress, open_progress


@pytest.fixture
def clock() -> Iterator[float]:
    return iter([0.0, 1.0, 3.5, 4.0, 10.0, 10.0, 11.0])


def test_plain_lines_say_when_a_stage_begins_and_how_long_it_took(clock: Iterator[float]) -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream, clock=lambda: next(clock))
    progress.stage("download")
    progress.detail("one of many packages")
    progress.stage("unpack")
    progress.done("image wine is ready")
    assert stream.getvalue().splitlines() == [
        "download …",
        "download: 2.5 s",
        "unpack …",
        "unpack: 6.0 s",
        "image wine is ready (10.0 s)",
    ]


def test_a_terminal_keeps_finished_stages(clock: Iterator[float]) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with console.status("starting") as status:
        progress = RichProgress(console, status, clock=lambda: next(clock))
        progress.stage("download [of] packages")
        progress.detail("Get:1 x")
        progress.done("done")
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "✓ download [of] packages: 2.5 s" in text
    assert "done (" in text


def test_a_stream_that_is_not_a_terminal_gets_plain_lines() -> None:
    stream = io.StringIO()
    with open_progress(stream) as progress:
        progress.stage("a stage")
    assert isinstance(progress, PlainProgress)
    assert stream.getvalue() == "a stage …\n"
