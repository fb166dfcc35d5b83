"""`lab compare`: what became of each test between two recorded runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from lab.compare.compare import compare as compare_runs
from lab.compare.model import Comparison
from lab.compare.recorded import read_recorded
from lab.compare.show import markdown, print_comparison
from lab.errors import ConfigError
from lab.host.console import open_console
from lab.report.model import as_json

Form = Literal["table", "markdown", "json"]

MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Write Markdown, for a comment of a pull request")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON; docs/compare.schema.json has its schema")]
StrictOption = Annotated[bool, typer.Option("--strict", help="A flaky test counts as red")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


def compare(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="Folder of a run, or its run.json")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The run to compare with it")],
    as_markdown: MarkdownOption = False,
    json: JsonOption = False,
    strict: StrictOption = False,
) -> None:
    """Compare two runs test by test: what is newly red, fixed, flaky, or was not run.

    Differences of durations, and of what passing tests print, are shown, too.

    Ends with 0: nothing is worse than in BASE, 1: a driver fails a test that it did not fail there, or in another way,
    2: wrong usage, 3: a driver took its guest down in such a test, 4: such a test's own code is wrong, 5: a test that BASE ran
    was not run or was skipped, 10: the lab failed in a test.
    """
    result = compare_runs(read_recorded(base), read_recorded(new), strict=strict)
    show(result, form_of(markdown=as_markdown, json=json))
    raise typer.Exit(result.exit_code)


def form_of(*, markdown: bool, json: bool) -> Form:
    """How to show a comparison, by the options.

    Raises:
        ConfigError: Both were given.
    """
    if markdown and json:
        raise ConfigError("--markdown and --json exclude each other", hint="call lab compare twice")
    return "markdown" if markdown else "json" if json else "table"


def show(result: Comparison, form: Form) -> None:
    """Write a comparison to standard output."""
    if form == "table":
        print_comparison(result, open_console())
    else:
        sys.stdout.write(markdown(result) if form == "markdown" else as_json(result, indent=2) + "\n")
