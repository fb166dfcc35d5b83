"""`lab bisect`: which commit, or which build, brought a failure."""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path
from typing import Annotated

import typer

from lab.bisect.begin import GivenEnds, new_log
from lab.bisect.model import Options, Plan
from lab.bisect.numbers import CONFIDENCE
from lab.bisect.place import Place, read_log, save_log
from lab.bisect.repository import Repository, Worktree
from lab.cli.bisect_search import end_search, prepare, search
from lab.cli.given import Given, takes_settings
from lab.errors import ConfigError
from lab.report.outdir import check_named, named_folder, timed_folder
from lab.report.places import from_folder

_PREFIX = "bisect-"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(bisect)


@takes_settings("bisect")
def bisect(
    context: typer.Context,
    given: Given,
    good: Annotated[str | None, typer.Option("--good", metavar="REV", help="A commit (or build) without the failure")] = None,
    bad: Annotated[
        str | None, typer.Option("--bad", metavar="REV", help="A commit (or build) with it; default: HEAD (or the last build)")
    ] = None,
    builds: Annotated[
        list[Path] | None,
        typer.Option(
            "--drivers",
            metavar="PATH",
            help="Search finished builds instead of commits: a folder with some, or each one, the oldest first",
        ),
    ] = None,
    build: Annotated[
        str, typer.Option("--build", metavar="COMMAND", help="Your own build, run by a shell in each commit")
    ] = "",
    repeat: Annotated[
        int | None,
        typer.Option("--repeat", metavar="N", min=1, help="Runs of each step; default: as many as the failure's rate asks for"),
    ] = None,
    confidence: Annotated[
        float, typer.Option("--confidence", metavar="P", min=0.5, max=0.9999, help="How sure the result is to be")
    ] = CONFIDENCE,
    any_failure: Annotated[
        bool, typer.Option("--any-failure", help="Every failure of the test counts, not only that of the bad end")
    ] = False,
    first_parent: Annotated[
        bool, typer.Option("--first-parent", help="Look only at the first parents of merges, as git bisect does")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of this search; default: out/bisect-<UTC time>")] = None,
    go_on: Annotated[bool, typer.Option("--continue", help="Go on with an interrupted search")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Give an interrupted search up; its runs stay")] = False,
) -> None:
    """Find the commit, or the build, that brought a failure.

    Each commit is built in a worktree of its own; your checkout is not touched. The tests and their clients are those of your
    checkout, and run in fresh forks. All other arguments go to pytest, as with `lab run`: name the test that fails, or use -k.

    Ends with 0: the first bad one is found, 2: wrong usage, or the ends are not good and bad, 5: several are possible, because
    those between cannot be built or tested, 10: the lab or the host failed, 130: interrupted.
    """
    if go_on or abort:
        if good or bad or builds or build or context.args or (go_on and abort):
            raise ConfigError("--continue and --abort stand alone", hint="an interrupted search knows its own options")
        raise typer.Exit(_again(given.load().project, abort=abort))
    settings = given.load()
    place = Place.of(settings.project)
    with place.alone():
        if (current := place.current()) is not None:
            hint = "`lab bisect --continue` goes on with it, `lab bisect --abort` gives it up"
            raise ConfigError(f"the search in {from_folder(current, Path.cwd())} is not over", hint=hint)
        if out is not None:
            check_named(out)
        options = Options(
            settings={name: list(value) if isinstance(value, tuple) else value for name, value in given.options.items()},
            config=str(given.config.absolute()) if given.config else None,
            arguments=list(context.args),
            cwd=str(Path.cwd()),
            build=build,
        )
        plan = Plan(repeat=repeat, confidence=confidence, any_failure=any_failure)
        ends = GivenEnds(good=good, bad=bad, builds=tuple(builds or ()), first_parent=first_parent)
        log = new_log(settings.project, ends, plan, options)
        prepared = prepare(log)
        now = datetime.datetime.now(tz=datetime.UTC)
        base = settings.project / settings.values.out
        folder = (timed_folder(base, now, prefix=_PREFIX) if out is None else named_folder(out)).absolute()
        save_log(folder, log, "")
        place.open(folder)
        raise typer.Exit(search(place, folder, log, prepared))


def _again(project: Path, *, abort: bool) -> int:
    """Go on with the interrupted search of a project, or give it up."""
    place = Place.of(project)
    with place.alone():
        folder = place.current()
        if abort:
            worktree = (
                Worktree(repository=Repository.around(project), folder=place.worktree) if place.worktree.exists() else None
            )
            end_search(place, worktree)
            typer.echo(f"the search in {from_folder(folder, Path.cwd())} is given up" if folder else "no search is going on")
            return 0
        if folder is None:
            raise ConfigError("no search of this project is going on", hint="begin one with --good and --bad")
        log = read_log(folder)
        with contextlib.chdir(log.options.cwd):
            return search(place, folder, log, prepare(log))
