"""`lab compare`: what became of each test between two recorded runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from lab.cli.baseline import baselines_of
from lab.cli.given import Given, takes_settings
from lab.compare.compare import compare as compare_runs
from lab.compare.key import key_of
from lab.compare.model import Comparison
from lab.compare.recorded import Recorded, read_recorded
from lab.compare.show import markdown, print_comparison
from lab.errors import ConfigError
from lab.host.console import open_console
from lab.report.model import as_json
from lab.report.places import from_folder

Form = Literal["table", "markdown", "json"]

MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Write Markdown, for a comment of a pull request")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON; docs/compare.schema.json has its schema")]
StrictOption = Annotated[bool, typer.Option("--strict", help="A flaky test counts as red")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


@takes_settings("compare")
def compare(
    given: Given,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="BASE NEW", help="Folders of two runs, or their run.json; with --baseline NEW alone"),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="NAME", help="Compare with this baseline; without NEW, the last run"),
    ] = None,
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
    form = form_of(markdown=as_markdown, json=json)
    base, new = _both(given, runs or [], baseline)
    result = compare_runs(base, new, strict=strict)
    show(result, form)
    raise typer.Exit(result.exit_code)


def _both(given: Given, runs: list[Path], baseline: str | None) -> tuple[Recorded, Recorded]:
    """BASE and NEW."""
    if baseline is None:
        if len(runs) != 2:
            raise ConfigError(
                f"two runs are compared, not {len(runs)}",
                hint="give BASE and NEW, for example two folders below out/; or --baseline NAME, and NEW",
            )
        return read_recorded(runs[0]), read_recorded(runs[1])
    if len(runs) > 1:
        raise ConfigError("--baseline NAME is BASE, so one run can be given", hint="give NEW alone, or nothing: the last run")
    settings = given.load()
    last = settings.project / settings.values.out / "latest"
    new = read_recorded(runs[0]) if runs else read_recorded(last, label=from_folder(last, Path.cwd()))
    return baselines_of(settings).nearest(baseline, key_of(new.report)).read(), new


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
