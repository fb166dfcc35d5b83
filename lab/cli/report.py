"""`lab open`: the report of a run, shown."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.invocation import with_own_command
from lab.config import load_settings
from lab.errors import ConfigError
from lab.report.elsewhere import find
from lab.report.outdir import LATEST
from lab.report.runfiles import HTML_FILE
from lab.report.runlog import LOG_FILE


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("open")(open_report)


def open_report(
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Folder of a run; default: the last one")] = None,
    config: Annotated[Path | None, typer.Option(help="Lab file; default: lab.yaml, if it exists")] = None,
) -> None:
    """Open the report of the last run, or of the run in DIR, in a browser, and print its path."""
    settings = load_settings({}, config=config)
    path = report_of(folder, settings.project / settings.values.out)
    typer.echo(str(path))
    if not has_display(os.environ):
        typer.echo("lab: there is no display here: open this file in a browser", err=True)
    elif not webbrowser.open(path.as_uri()):
        typer.echo("lab: no browser was found: open this file in one, or set BROWSER", err=True)


def report_of(folder: Path | None, out: Path) -> Path:
    """The page of a run.

    Args:
        folder: Folder of the run; None for the last one.
        out: Folder of all runs.

    Raises:
        ConfigError: There is none.
    """
    named = folder if folder is not None else out / LATEST
    path = find(named.absolute(), HTML_FILE)
    if path.is_file():
        return path.resolve()
    if folder is None and not named.exists():
        raise ConfigError(
            f"there is no run in {out}", hint=with_own_command("start one with `lab run`, or give a folder: `lab open DIR`")
        )
    if not named.exists():
        raise ConfigError(f"there is no folder {named}", hint="give the folder of a run, for example out/latest")
    running = find(named.absolute(), LOG_FILE).is_file()
    hint = f"if the run still goes on, `lab report {named}` makes a page of the results so far" if running else ""
    raise ConfigError(
        f"{named} has no {HTML_FILE}", hint=with_own_command(hint) or "give the folder of a run, for example out/latest"
    )


def has_display(environ: Mapping[str, str]) -> bool:
    """Whether a browser could be seen. Without this check, a browser for terminals could start and take over the terminal."""
    return sys.platform in ("darwin", "win32") or any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
