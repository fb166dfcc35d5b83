"""The files that `lab run --watch` watches, and the tests that a change affects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.toolchain.reach import DriverFiles

#: When a file was written, and its size.
Stamps = Mapping[Path, tuple[int, int]]
_SKIPPED = frozenset({"__pycache__", ".git", ".venv", ".pytest_cache"})


@dataclass(frozen=True, slots=True)
class Watched:
    """Files that matter.

    Attributes:
        suites: Folders and files of the suites.
        drivers: Files that the drivers are made of.
        settings: The lab file and the like: a change of one affects everything.
    """

    suites: tuple[Path, ...]
    drivers: tuple[DriverFiles, ...]
    settings: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Reach:
    """What a change affects; false where that is nothing.

    Attributes:
        everything: All that the user asked for.
        suites: These files of suites.
        drivers: The tests of these drivers.
        because: The files that were changed, for people.
    """

    everything: bool = False
    suites: frozenset[Path] = frozenset()
    drivers: frozenset[str] = frozenset()
    because: tuple[str, ...] = field(default=(), compare=False)

    def __bool__(self) -> bool:
        return self.everything or bool(self.suites) or bool(self.drivers)

    def words(self) -> str:
        """In words, for the screen."""
        if self.everything:
            what = "everything"
        elif self.suites:
            what = ", ".join(path.name for path in sorted(self.suites))
        else:
            what = f"tests of {', '.join(sorted(self.drivers))}"
        return f"{', '.join(self.because)} changed: {what}" if self.because else what


def reach_of(changed: Iterable[Path], watched: Watched) -> Reach:
    """What changed files affect.

    A file of tests affects its own tests; another Python file of a suite (a conftest.py, a helper) and the lab file affect
    everything. A file that a driver or one of its clients is made of affects the tests of that driver. If both kinds have
    changed, everything is run.
    """
    suites: set[Path] = set()
    drivers: set[str] = set()
    because: list[str] = []
    everything = False
    for path in sorted(set(changed)):
        of = {driver.name for driver in watched.drivers if path in driver.files}
        own = of or path in watched.settings or _in_suites(path, watched.suites)
        if not own:
            continue
        because.append(path.name)
        drivers |= of
        if of:
            continue
        if path.suffix == ".py" and is_test_file(path) and path.exists():
            suites.add(path)
        else:
            everything = True
    if everything or (suites and drivers):
        return Reach(everything=True, because=tuple(because))
    return Reach(suites=frozenset(suites), drivers=frozenset(drivers), because=tuple(because))


def is_test_file(path: Path) -> bool:
    """Whether pytest collects a file by its default names."""
    return path.name.startswith("test_") or path.stem.endswith("_test")


def stamps_of(watched: Watched) -> Stamps:
    """The files as they are now."""
    found: dict[Path, tuple[int, int]] = {}
    for path in _files_of(watched):
        try:
            stat = path.stat()
        except OSError:
            continue  # a removed file is a change
        found[path] = (stat.st_mtime_ns, stat.st_size)
    return found


def learned(before: Stamps, old: Watched, new: Watched, *, since: float) -> Stamps:
    """The state of the files when a round began, with files that only the build of the round found: those are not changes.

    Args:
        before: As they were.
        old: What was watched then.
        new: What is watched now.
        since: When the round began, seconds since the epoch: a file that was written later is a change.
    """
    known = _files_of(old)
    fresh = {path: stamp for path, stamp in stamps_of(new).items() if path not in known and stamp[0] < since * 1e9}
    return {**before, **fresh}


def _files_of(watched: Watched) -> set[Path]:
    files = {path for driver in watched.drivers for path in driver.files} | set(watched.settings)
    for suite in watched.suites:
        files |= set(_python_files(suite))
    return files


def changed_files(before: Stamps, now: Stamps) -> list[Path]:
    """Files that were written, created or removed."""
    return [path for path in {*before, *now} if before.get(path) != now.get(path)]


def folders_of(watched: Watched) -> list[Path]:
    """Folders to watch for changes."""
    folders = {path.parent for driver in watched.drivers for path in driver.files}
    folders |= {path.parent for path in watched.settings}
    for suite in watched.suites:
        folders |= {path.parent for path in _python_files(suite)} | {suite if suite.is_dir() else suite.parent}
    return sorted(folders)


def _in_suites(path: Path, suites: Sequence[Path]) -> bool:
    return path.suffix == ".py" and any(path == suite or path.is_relative_to(suite) for suite in suites)


def _python_files(suite: Path) -> Iterable[Path]:
    if suite.is_file():
        return [suite, *suite.parent.glob("conftest.py")]
    return [path for path in suite.rglob("*.py") if not _SKIPPED & set(path.relative_to(suite).parts)]
