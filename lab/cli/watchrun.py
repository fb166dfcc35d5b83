"""From the arguments of `lab run --watch` to its rounds."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.cli.pytest_args import Refusal, check_suites, child_environment, read_words
from lab.cli.resolved import drivers_of
from lab.cli.watch import watch_suites
from lab.cli.watched import Watched
from lab.config import Settings
from lab.errors import ConfigError, LabError
from lab.image.folder import read_manifest
from lab.image.recipes import existing_image
from lab.toolchain.compile import Arch
from lab.toolchain.manifest import MANIFEST_NAME, manifests_in
from lab.toolchain.reach import driver_files

_COMMAND, _FLAG = "run", "--watch"


def watch_run(settings: Settings, arguments: Sequence[str], *, out: Path | None, on: str | None = None) -> None:
    """Run in rounds.

    Args:
        settings: What is in force.
        arguments: What `lab run` passes on to pytest.
        out: The value of --out.
        on: The value of --on.

    Raises:
        ConfigError: Something that cannot be watched: a folder for one run, a suite or driver that does not exist; or there is
            no such guest.
    """
    if on is not None:
        from lab.cli.on import for_guest  # transports are imported where they are used

        settings = for_guest(settings, on)
    if out is not None:
        raise ConfigError(
            f"--out {out} and --watch cannot be combined: each round has a folder of its own", hint="`out:` in the lab file"
        )
    given = settings.sources["suites"] != "default"
    words = read_words(arguments, default=settings.values.suites, environ=child_environment(os.environ))
    if isinstance(words, Refusal):
        raise ConfigError(
            f"pytest does not take these arguments: {words.text.strip()}", hint="run it without --watch for pytest's message"
        )
    if words.terminal:
        raise ConfigError("--watch and a debugger (--pdb) both need the terminal", hint="leave out one of them")
    named = words.suites or settings.values.suites
    suites = check_suites(named, given=given or bool(words.suites), root=settings.project, packages=words.packages)
    chosen = drivers_of(settings)
    chosen.check_paths()
    drivers = [*chosen.paths, *chosen.beside]
    places = tuple(dict.fromkeys(Path(suite.partition("::")[0]).resolve() for suite in suites))

    def watched() -> Watched:
        files = driver_files(drivers, arch=_arch(settings), project=settings.project)
        lab_file = [settings.file.resolve()] if settings.file is not None else []
        return Watched(suites=places, drivers=tuple(files), settings=(*lab_file, *_manifests(drivers)))

    watch_suites(settings, own_words(sys.argv), watched, words.suites)


def _manifests(drivers: Sequence[Path]) -> list[Path]:
    """The drivers' manifests: a broken one names no files, but its repair is a change."""
    found = [driver for driver in drivers if not driver.is_dir()]
    for folder in (driver for driver in drivers if driver.is_dir()):
        places = [folder, *(place for place in folder.iterdir() if place.is_dir())]
        found += [folder / MANIFEST_NAME, *(file for place in places for file in manifests_in(place))]
    return [path.resolve() for path in found]


def own_words(argv: Sequence[str]) -> list[str]:
    """The arguments of `lab run`, without --watch, for each round."""
    words = list(argv[argv.index(_COMMAND) + 1 :]) if _COMMAND in argv else []
    return [word for word in words if word != _FLAG]


def _arch(settings: Settings) -> Arch:
    """Architecture of the guests; that of most images if there is no image yet."""
    try:
        return read_manifest(existing_image(settings.values.image)).arch
    except LabError:
        return "x64"
