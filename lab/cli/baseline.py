"""`lab baseline`: runs that later runs are compared with, by name."""

from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from lab.cli.given import Given, takes_settings
from lab.cli.invocation import with_own_command
from lab.compare.baselines import Baseline, Baselines, NoBaseline
from lab.config import Settings
from lab.gate.exitcode import NOTHING
from lab.gate.verdict import SEVERITY
from lab.host.console import open_console
from lab.host.paths import state_dir
from lab.report.model import RunReport
from lab.report.places import from_folder
from lab.report.view import headline, printable, unchecked

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the baseline, for example main")]


def register(app: typer.Typer) -> None:
    """Add the commands of `lab baseline`."""
    group = typer.Typer(no_args_is_help=True, help="Keep runs to compare with: save, list, show.")
    group.command()(save)
    group.command("list")(list_baselines)
    group.command()(show)
    app.add_typer(group, name="baseline")


def baselines_of(settings: Settings) -> Baselines:
    """The baselines of a command's settings."""
    folder = settings.values.baselines
    return Baselines(Path(folder) if folder else state_dir() / "baselines")


@takes_settings("baseline")
def save(
    given: Given,
    name: NameArgument,
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Folder of a run, or its run.json; default: the last run")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the baseline of this name and guest")] = False,
) -> None:
    """Keep a run, with its drivers, under a name.

    A name has one run for each guest image, clock, accelerator, architecture and compiler.
    """
    settings = given.load()
    folder = run or settings.project / settings.values.out / "latest"
    now = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
    saved = baselines_of(settings).save(name, folder, now=now, replace=replace)
    report = saved.read().report
    typer.echo(f"baseline {name}: {from_folder(saved.folder, Path.cwd())}")
    typer.echo(f"  {headline(report)}; {_key_words(saved)}")
    if not saved.record.files:
        typer.echo(f"lab: {folder} has no drivers any more, so the baseline has none that could be run again", err=True)
    for line in _doubts(report):
        typer.echo(f"lab: {line}", err=True)


@takes_settings("baseline")
def list_baselines(given: Given) -> None:
    """List the baselines."""
    found = baselines_of(given.load()).all()
    if not found:
        typer.echo("lab: there is no baseline; `lab baseline save NAME` keeps the last run", err=True)
        return
    table = Table(Column("name"), Column("saved (UTC)"), Column("guest"), Column("tests"), Column("drivers"), box=None)
    for baseline in found:
        report = baseline.read().report
        table.add_row(
            Text(baseline.record.name),
            Text(baseline.record.saved[:19].replace("T", " ")),
            Text(_key_words(baseline)),
            Text(_counts(report)),
            Text(", ".join(driver.name for driver in report.drivers)),
        )
    open_console().print(table)


@takes_settings("baseline")
def show(given: Given, name: NameArgument) -> None:
    """Show the runs of a baseline: guest, results, drivers. Exit code 5 if there is none of this name."""
    try:
        found = baselines_of(given.load()).named(name)
    except NoBaseline as error:
        typer.echo(with_own_command(f"lab: {error}"), err=True)
        raise typer.Exit(NOTHING) from None
    for baseline in found:
        report = baseline.read().report
        typer.echo(f"{name}: {_key_words(baseline)}")
        typer.echo(f"  saved    {baseline.record.saved}, run {report.started}")
        typer.echo(f"  guest    {report.guest}")
        typer.echo(f"  image    {report.image.name} {report.image.key}")
        typer.echo(f"  results  {_counts(report)}")
        for driver in report.drivers:
            commit = f", commit {driver.commit[:12]}" if driver.commit else ""
            made = driver.compiler or "finished"
            typer.echo(f"  driver   {printable(f'{driver.name} {driver.sha256} ({driver.arch}, {made}{commit})')}")
        kept = f"{len(baseline.record.files)} files" if baseline.record.files else "none, so they cannot be run again"
        typer.echo(f"  kept     {kept}")
        typer.echo(f"  folder   {from_folder(baseline.folder, Path.cwd())}")


def _key_words(baseline: Baseline) -> str:
    key = baseline.record.key
    return f"{key.image}, {key.accelerator}, {key.clock} clock, {key.arch}, {key.flavour}"


def _counts(report: RunReport) -> str:
    totals: Counter[str] = Counter(report.totals)
    return ", ".join(f"{totals[verdict]} {verdict}" for verdict in reversed(SEVERITY) if totals[verdict])


def _doubts(report: RunReport) -> list[str]:
    """What a baseline should better not have."""
    lines = [f"note: {sentence}" for sentence in unchecked(report)]
    if lost := report.totals.get("infra", 0):
        lines.append(f"note: the lab failed in {lost} tests, so nothing is compared with them")
    return lines
