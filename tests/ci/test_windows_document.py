"""docs/windows.md names commands, options and files that exist, quotes what the code says, and lists what is not proved."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from lab.cli.main import app
from lab.image.windows import files
from lab.image.windows.recipe import STAGES, windows_names
from tests.ci.test_troubleshooting import messages_of_the_code, said

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "windows.md").read_text(encoding="utf-8")
UNPROVED = TEXT.partition("## Not yet run on a real Windows")[2]


def commands() -> list[str]:
    """Every `lab …` command of the page: in console blocks and between backticks."""
    blocks = re.findall(r"^```console\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    quoted = [" ".join(text.split()) for text in re.findall(r"`([^`]+)`", prose)]
    return sorted({line for line in (*lines, *quoted) if line.removeprefix("time ").startswith("lab ")})


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words begin with, and the words after its name. The library's own classes are private to it."""
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def check(line: str) -> None:
    """The command and all its options are known; what comes after a bare -- is for the guest."""
    words = shlex.split(line.removeprefix("time ").replace("\\", "\\\\"))
    words = words[1 : words.index("--")] if "--" in words else words[1:]
    command, words = command_of(words)
    options = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        assert not word.startswith("-") or word in options, f"there is no option {word} in: {line}"
    if words and command.name == "build" and "windows" in words[0]:
        assert words[0] in windows_names(), line


@pytest.mark.parametrize("line", commands())
def test_the_commands_of_the_page_exist(line: str) -> None:
    check(line)


def test_commands_are_found() -> None:
    assert len(commands()) >= 20


@pytest.mark.parametrize("line", ["lab image buidl windows-11", "lab image build windows-12", "lab image doctor --deep"])
def test_a_command_that_does_not_exist_is_noticed(line: str) -> None:
    with pytest.raises(AssertionError):
        check(line)


def test_every_option_of_the_build_is_explained() -> None:
    table = TEXT.partition("| option | does |")[2].partition("\n\n")[0]
    explained = set(re.findall(r"^\| `(--[a-z-]+)", table, re.MULTILINE))
    command, _rest = command_of(["image", "build"])
    assert explained == {flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")}


def test_stages_and_files_are_those_of_the_code() -> None:
    listed = re.search(r"across restarts: ([^.]*)\.", TEXT)
    assert listed
    assert re.findall(r"\b[a-z]{2,}\b", re.sub(r"\([^)]*\)", "", listed[1])) == list(STAGES)
    for name in (files.DISK, files.KD_DISK, files.RECORD, files.EVENTS):
        assert f"`{name}`" in TEXT
    for path in re.findall(r"`(vm-images/[a-z-]+)`", TEXT):
        assert (ROOT / path).is_dir()


def quoted_messages() -> list[str]:
    table = TEXT.partition("| message |")[2].partition("\n\n")[0].splitlines()[2:]
    return [quote for row in table for quote in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


@pytest.fixture(scope="module")
def messages() -> list[re.Pattern[str]]:
    return messages_of_the_code()


@pytest.mark.parametrize("quote", quoted_messages())
def test_the_code_says_what_the_page_quotes(quote: str, messages: list[re.Pattern[str]]) -> None:
    text = quote.replace("PATH", "NAME")
    # A list after a colon is joined to the message and is no part of it.
    assert any(said(form, messages) for form in (text, text.removesuffix("…")))


def test_the_page_says_plainly_what_is_not_proved() -> None:
    assert "Nothing here has been run on a real Windows" in TEXT
    rows = [line for line in UNPROVED.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 30
    for row in rows:
        # Each has a command or a place to look at.
        assert "`" in row.split(" | ")[1] or "screen shots" in row, row
    assert "has not been run on a real Windows" in " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
