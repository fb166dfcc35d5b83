"""The stream decides whether it is a terminal: variables decide only about colours."""

from __future__ import annotations

import io
import itertools
import os
import pty
from collections.abc import Iterator
from typing import TextIO

import pytest
from rich.table import Table

from lab.host.console import is_animated, is_terminal, open_console
from lab.image.progress import PlainProgress, RichProgress, open_progress

_VARIABLES: dict[str, tuple[str | None, ...]] = {
    "FORCE_COLOR": (None, "1", "0"),
    "TTY_COMPATIBLE": (None, "1"),
    "TTY_INTERACTIVE": (None, "1"),
    "NO_COLOR": (None, "1"),
    "CI": (None, "true"),
    "COLUMNS": (None, "10"),
    "GITHUB_ACTIONS": (None, "true"),
}


def environments() -> Iterator[dict[str, str]]:
    for values in itertools.product(*_VARIABLES.values()):
        yield {name: value for name, value in zip(_VARIABLES, values, strict=True) if value is not None} | {"TERM": "xterm"}


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        yield stream
    os.close(master)


def test_a_file_is_not_a_terminal_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for environ in environments():
        with monkeypatch.context() as patch:
            for name in _VARIABLES:
                patch.delenv(name, raising=False)
            for name, value in environ.items():
                patch.setenv(name, value)
            stream = io.StringIO()
            console = open_console(stream)
            assert not console.is_terminal, environ
            assert not is_animated(stream), environ
            with open_progress(stream) as progress:
                progress.stage("packages")
            assert isinstance(progress, PlainProgress), environ
            assert "\x1b[2K" not in stream.getvalue(), environ


def test_a_table_in_a_file_is_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    stream = io.StringIO()
    table = Table("name", "path")
    table.add_row("image", "/a/long/path/" * 20)
    open_console(stream).print(table)
    assert "/a/long/path/" * 20 in stream.getvalue()


def test_text_is_shown_as_it_is_however_long() -> None:
    stream = io.StringIO()
    text = "[red]:smile: C:\\x\\[a] " + "x" * 5_000_000
    open_console(stream, {}).print(text, soft_wrap=True)
    assert stream.getvalue() == text + "\n"


def test_colours_of_a_file_are_asked_for_by_variable() -> None:
    def shown(**environ: str) -> str:
        stream = io.StringIO()
        open_console(stream, environ).print("broken", style="red")
        return stream.getvalue()

    assert shown() == "broken\n"
    assert "\x1b[" in shown(FORCE_COLOR="1")
    assert shown(FORCE_COLOR="1", NO_COLOR="1") == "broken\n"


@pytest.mark.parametrize(
    ("environ", "moves"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
        ({"TERM": "xterm", "CI": "true"}, False),
        ({"TERM": "xterm", "CI": "false"}, True),
    ],
)
def test_a_terminal_is_redrawn_if_it_can_and_its_output_is_not_saved(
    terminal: TextIO, environ: dict[str, str], moves: bool
) -> None:
    assert is_terminal(terminal)
    assert open_console(terminal, environ).is_terminal
    assert is_animated(terminal, environ) is moves


def test_progress_moves_on_a_terminal(terminal: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    with open_progress(terminal) as progress:
        pass
    assert isinstance(progress, RichProgress)


def test_a_closed_stream_is_not_a_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert not is_terminal(stream)
