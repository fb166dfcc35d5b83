"""Drivers that were built before: a row of files or folders, by their names or as they were given."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.bisect.model import Candidate
from lab.bisect.workbench import Built, NotBuilt
from lab.errors import ConfigError
from lab.live.chosen_drivers import ChosenDrivers
from lab.toolchain.compile import Arch
from lab.toolchain.content import drivers_digest
from lab.toolchain.known import known_components
from lab.toolchain.manifest import manifests_in

_NUMBERS = re.compile(r"(\d+)")
_SYMBOLS = (".pdb", ".map", ".dbg")
_NOT_IN_SLUGS = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_SLUG = 40


def row_of(paths: Sequence[Path]) -> list[Candidate]:
    """The builds that paths mean, in their order.

    Args:
        paths: One folder: what is in it, in the order of the names, where 9 comes before 10. Several: as they are given, the
            oldest first.

    Raises:
        ConfigError: A path does not exist, there are fewer than two builds, or one is there twice.
    """
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise ConfigError(f"--drivers {missing[0]}: there is no such file or folder")
    found = [path.absolute() for path in paths]
    if len(found) == 1 and found[0].is_dir():
        found = sorted((path for path in found[0].iterdir() if _is_build(path)), key=lambda path: _by_numbers(path.name))
    if len(found) < 2:
        raise ConfigError(
            f"--drivers {paths[0]}: there are {len(found)} builds, and a search needs two or more",
            hint="a folder of .sys files, or of folders with .sys files; or --drivers for each build, the oldest first",
        )
    if twice := next((path for path in found if found.count(path) > 1), None):
        raise ConfigError(f"--drivers {twice} is there twice")
    return [
        Candidate(id=str(path), label=_label(path, found), slug=_NOT_IN_SLUGS.sub("-", _label(path, found))[-_LONGEST_SLUG:])
        for path in found
    ]


def _is_build(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return bool(manifests_in(path)) or any(file.suffix.lower() == ".sys" for file in path.iterdir())
    return path.suffix.lower() == ".sys"


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """Sorts names as people do: build-9 before build-10."""
    return [(int(part), "") if part.isascii() and part.isdigit() else (0, part) for part in _NUMBERS.split(name)]


def _label(path: Path, all_of_them: Sequence[Path]) -> str:
    """The shortest end of a path that no other build has."""
    for count in range(1, len(path.parts)):
        end = Path(*path.parts[-count:])
        if sum(other.parts[-count:] == end.parts for other in all_of_them) == 1:
            return str(end)
    return str(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedBuilds:
    """Takes finished builds.

    Attributes:
        project: The user's project.
        chosen: The drivers of the lab file: a build replaces one of them, and the others stay.
        arch: Processor of the guests.
        progress: Called with a line for each step.
    """

    project: Path
    chosen: ChosenDrivers
    arch: Arch
    progress: Callable[[str], None] | None = None

    def build(self, candidate: Candidate, into: Path, _drivers: Sequence[str], /) -> Built:
        """See :class:`lab.bisect.workbench.Builder`."""
        path = Path(candidate.id)
        if not path.exists():
            raise NotBuilt(f"{path} is not there any more")
        try:
            beside = (*self.chosen.beside, *self.chosen.paths)
            given = self._named(path, into)
            chosen = ChosenDrivers(paths=(given,), beside=beside, names=self.chosen.names, project=self.project)
            packages = chosen.take(self.arch, into=into, progress=self.progress)
        except ConfigError as error:
            shutil.rmtree(into, ignore_errors=True)
            raise NotBuilt(" ".join(error.message.split())) from error
        return Built(folder=into, digest=drivers_digest(packages))

    def _named(self, path: Path, into: Path) -> Path:
        """A build under the name that its driver has: in a row, each file has a name of its own."""
        known = known_components(self.project)
        images = {part.image_name.lower() for part in known.values() if part.manifest.kind == "driver"}
        if path.is_dir() or path.name.lower() in images:
            return path
        names = {name for group in ChosenDrivers(paths=self._of_lab_file(), project=self.project).named() for name in group}
        if len(names) != 1 or (name := names.pop()) not in known:
            return path
        folder = into.with_name(f"{into.name}-named")
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / known[name].image_name
        shutil.copyfile(path, target)
        for suffix in _SYMBOLS:
            if path.with_suffix(suffix).is_file():
                shutil.copyfile(path.with_suffix(suffix), target.with_suffix(suffix))
        return target

    def _of_lab_file(self) -> tuple[Path, ...]:
        return (*self.chosen.beside, *self.chosen.paths)
