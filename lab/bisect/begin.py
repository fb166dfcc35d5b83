"""The record of a new search, from what the user gave."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import lab
from lab.bisect.finished_builds import row_of
from lab.bisect.model import BisectLog, Candidate, Options, Plan
from lab.bisect.repository import Repository
from lab.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenEnds:
    """What the user gave.

    Attributes:
        good: A revision, or the end of a build's path; None: the first build.
        bad: The same; None: HEAD, or the last build.
        builds: Paths of finished builds; empty: commits are searched.
        first_parent: Look only at the first parents of merges.
    """

    good: str | None
    bad: str | None
    builds: tuple[Path, ...]
    first_parent: bool


def new_log(project: Path, ends: GivenEnds, plan: Plan, options: Options) -> BisectLog:
    """The record of a new search.

    Raises:
        ConfigError: The ends are none.
    """
    now = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
    if ends.builds:
        if options.build or ends.first_parent:
            raise ConfigError("--build and --first-parent are for commits", hint="leave them out, or leave out --drivers")
        row = _part_of(row_of(ends.builds), ends)
        log = BisectLog(kind="builds", started=now, good=row[0], bad=row[-1], builds=row, plan=plan, options=options)
    else:
        if ends.good is None:
            hint = "--good REV names an older commit without the failure; --drivers searches finished builds"
            raise ConfigError("--good is missing", hint=hint)
        repository = Repository.around(project)
        good, bad = repository.commit(ends.good, option="--good"), repository.commit(ends.bad or "HEAD", option="--bad")
        repository.check_ends(good, bad)
        if not options.build and (found := repository.submodules(bad.id)):
            raise ConfigError(
                f"{bad.label} has the submodule {found[0]}, which a worktree lacks",
                hint="give a --build that gets it: --build 'git submodule update --init --recursive'",
            )
        log = BisectLog(
            kind="commits", started=now, good=good, bad=bad, first_parent=ends.first_parent, plan=plan, options=options
        )
    log.lab_version = lab.__version__
    return log


def _part_of(row: list[Candidate], ends: GivenEnds) -> list[Candidate]:
    """The builds from the good to the bad one."""
    first = _place(row, ends.good, "--good") if ends.good else 0
    last = _place(row, ends.bad, "--bad") if ends.bad else len(row) - 1
    if first >= last:
        raise ConfigError(f"{row[first].label} is not older than {row[last].label}", hint="exchange --good and --bad")
    return row[first : last + 1]


def _place(row: list[Candidate], name: str, option: str) -> int:
    found = [number for number, one in enumerate(row) if name in (one.label, Path(one.id).name, one.id)]
    if len(found) != 1:
        raise ConfigError(f"{option} {name}: {len(found)} builds have this name", hint=", ".join(one.label for one in row))
    return found[0]
