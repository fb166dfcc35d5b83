"""A search of `lab bisect`, made ready from its record, so that a new one and one that goes on are the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lab.bisect.bisection import Bisection
from lab.bisect.builds import BuildSearch
from lab.bisect.commit_builds import CommitBuilds
from lab.bisect.commits import CommitSearch
from lab.bisect.ends import EndsWrong
from lab.bisect.finished_builds import FinishedBuilds
from lab.bisect.model import BisectLog, Candidate, Result
from lab.bisect.place import LOG_FILE, REPLAY_FILE, Place, save_log
from lab.bisect.repository import Repository, Worktree
from lab.bisect.screen import Screen
from lab.bisect.search import Contradiction, Search
from lab.bisect.show import result_lines
from lab.bisect.workbench import Builder
from lab.cli.bisect_runs import BisectRuns
from lab.cli.bisect_screen import open_screen
from lab.cli.open_log import open_log
from lab.cli.pytest_args import Refusal, check_suites, child_environment, read_words
from lab.cli.resolved import drivers_of, guest_of
from lab.config import Settings, load_settings
from lab.errors import ConfigError, LabError
from lab.gate.exitcode import INFRA, meaning
from lab.host.tools import require_tools
from lab.image.progress import open_progress
from lab.live.chosen_drivers import ChosenDrivers
from lab.live.resolve import ResolvedGuest
from lab.report.places import from_folder
from lab.report.runfiles import HTML_FILE
from lab.toolchain.known import project_components
from lab.toolchain.package import read_packages

#: Below the folder of the search: the drivers of the checkout, for their clients.
_CHECKOUT = "checkout-drivers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a search needs beside its record.

    Attributes:
        settings: What is in force.
        guest: The guests.
        runs: Runs tests.
    """

    settings: Settings
    guest: ResolvedGuest
    runs: BisectRuns


def prepare(log: BisectLog) -> Prepared:
    """Check all that a search needs, before anything is made.

    Raises:
        LabError: Something is wrong or missing.
    """
    options = log.options
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in options.settings.items()}
    settings = load_settings(given, config=Path(options.config) if options.config else None)
    environ = child_environment(os.environ)
    by_default = settings.sources["suites"] == "default"
    words = read_words(options.arguments, default=settings.values.suites if not by_default else (), environ=environ)
    if isinstance(words, Refusal) or words.shows or words.terminal:
        said = words.text if isinstance(words, Refusal) else "a search shows nothing and asks for nothing on the way"
        raise ConfigError(f"pytest cannot use these arguments in a search: {said.strip()}", hint="leave them out")
    suites = check_suites(
        words.suites or settings.values.suites,
        given=bool(words.suites) or not by_default,
        root=settings.project,
        packages=words.packages,
    )
    drivers_of(settings).check_paths()
    require_tools(["run guests", "build drivers"])
    with open_progress() as progress:
        guest = guest_of(settings, progress)
        guest.try_machine(forks=True)
    runs = BisectRuns(settings=settings, guest=guest, suites=suites, words=words, arguments=options.arguments, cwd=Path.cwd())
    return Prepared(settings=settings, guest=guest, runs=runs)


def search(place: Place, folder: Path, log: BisectLog, prepared: Prepared) -> int:
    """Search to the end, and show what was found.

    Args:
        place: Of the project; held.
        folder: Of the search.
        log: Its record.
        prepared: Of the record.

    Returns:
        The exit code.
    """
    worktree = None
    if log.kind == "commits":
        worktree = Worktree(repository=Repository.around(prepared.settings.project), folder=place.worktree)
    with open_log(folder, prepared.guest.image_dir, level=prepared.settings.values.log_level), open_screen() as screen:
        screen.say(f"the runs of this search are in {from_folder(folder, Path.cwd())}")
        try:
            result = _bisection(worktree, folder, log, prepared, screen).run()
        except (EndsWrong, Contradiction):
            end_search(place, worktree)
            screen.say(f"record   {from_folder(folder / LOG_FILE, Path.cwd())}")
            raise
        except (LabError, OSError, KeyboardInterrupt):
            sys.stderr.write("lab: `lab bisect --continue` goes on from here, `lab bisect --abort` gives the search up\n")
            raise
        end_search(place, worktree)
        for line in ("", *result_lines(log, result), "", *_afterwards(folder, log, result)):
            screen.say(line)
        words = "the first bad one is found" if result.first_bad else "more than one may be the first bad one"
        screen.say(f"exit code {result.exit_code}: {meaning(result.exit_code) if result.exit_code == INFRA else words}")
    return result.exit_code


def _bisection(worktree: Worktree | None, folder: Path, log: BisectLog, prepared: Prepared, screen: Screen) -> Bisection:
    chooser: Search
    builder: Builder
    arch, project = prepared.guest.manifest.arch, prepared.settings.project
    if worktree is None:
        chooser = BuildSearch(log.builds)
        builder = FinishedBuilds(project=project, chosen=drivers_of(prepared.settings), arch=arch)
    else:
        chosen, clients = _of_project(prepared.settings), folder / _CHECKOUT
        commits = CommitBuilds(
            worktree=worktree, project=project, chosen=chosen, clients=clients, arch=arch, command=log.options.build
        )
        commits.check()
        if read_packages(clients) is None:
            chosen.take(arch, into=clients)
        worktree.make(log.bad.id)
        builder = commits
        chooser = CommitSearch(worktree, log.good, log.bad, first_parent=log.first_parent)

    def save() -> None:
        save_log(folder, log, chooser.log())

    def describe(candidate: Candidate) -> str:
        return worktree.repository.details(candidate.id) if worktree is not None else ""

    return Bisection(log, chooser, builder, prepared.runs, folder, save=save, screen=screen, describe=describe)


def _of_project(settings: Settings) -> ChosenDrivers:
    """The drivers of the checkout: those of its lab file; without any there, all of the project that are under test."""
    chosen = drivers_of(settings)
    if chosen.paths:
        return chosen
    components = project_components(settings.project).components.values()
    names = tuple(one.name for one in components if one.manifest.kind == "driver" and one.manifest.under_test)
    return replace(chosen, names=names)


def end_search(place: Place, worktree: Worktree | None) -> None:
    """A search is over: its worktree is removed, and another one may begin."""
    if worktree is not None:
        worktree.remove()
    place.close()


def _afterwards(folder: Path, log: BisectLog, result: Result) -> Iterator[str]:
    """Where to read, and what to try next."""
    here = Path.cwd()
    yield f"record   {from_folder(folder / LOG_FILE, here)}"
    if result.first_bad is None:
        skipped = [skip for one in result.candidates if (skip := log.skip_of(one.id)) is not None]
        if any(skip.kind == "not built" for skip in skipped):
            yield "try      a --build that these commits need, and search again between the ends that are left"
        return
    red = [step for step in log.steps if step.candidate.id == result.first_bad.id and step.runs]
    if red:
        yield f"failure  {from_folder(folder / red[-1].runs[-1] / HTML_FILE, here)}"
    if log.kind == "commits":
        yield f"replay   git bisect replay {from_folder(folder / REPLAY_FILE, here)}"
        yield f"next     git show {result.first_bad.slug}"
