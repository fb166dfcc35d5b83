"""The folder of a run: ``out/<UTC time>/`` with the link ``out/latest``, or the one that the user names."""

from __future__ import annotations

import datetime
import logging
import os
import re
import shutil
from pathlib import Path

from lab.errors import ConfigError
from lab.report.runlog import LOG_FILE

_LOG = logging.getLogger(__name__)
LATEST = "latest"
#: Files that pytest writes in a session without a test of the lab.
_OF_NO_RUN = ("junit.xml", "session.json", LOG_FILE)
#: The run's own copies of drivers and clients, see :mod:`lab.toolchain.copies`.
COPIES = "drivers"
_TIMED = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(-\d+)?")


def named_folder(path: Path) -> Path:
    """Make the folder that the user named; one with any file is refused, because it may be another run's report.

    Raises:
        ConfigError: It is not empty, or cannot be made.
    """
    check_named(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {path} cannot be made: {error.strerror}", hint="use a folder that you may write to") from None
    return path


def check_named(path: Path, *, option: str = "--out", prepared: bool = False) -> None:
    """Refuse a folder that is not empty.

    Args:
        path: The folder.
        option: How the user named it.
        prepared: It may hold the run's copies of its drivers, and its log.

    Raises:
        ConfigError: It is not empty, or not a folder.
    """
    above = next((part for part in (path, *path.parents) if part.exists()), None)
    if above is not None and not above.is_dir():
        where = f"{option} {path} is a file" if above == path else f"{option} {path} lies below {above}, which is a file"
        raise ConfigError(where, hint="use a folder")
    if path.is_dir() and any(not (prepared and one.name in (COPIES, LOG_FILE)) for one in path.iterdir()):
        raise ConfigError(
            f"{option} {path} is not empty; a run never overwrites files",
            hint=f"use a new folder, or leave out {option} to get one named by the time",
        )


def timed_folder(base: Path, now: datetime.datetime, *, prefix: str = "") -> Path:
    """Make a new folder named by the time under ``base``; ``base/latest`` stays as it is, see :func:`point_latest`.

    Args:
        base: The folder of all runs; made if it is not there.
        now: The time in UTC.
        prefix: Text before the time.
    """
    base.mkdir(parents=True, exist_ok=True)
    name = prefix + now.strftime("%Y-%m-%dT%H-%M-%SZ")
    number = 1
    while True:
        folder = base / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def timed_folders(base: Path) -> list[Path]:
    """The folders of runs that :func:`timed_folder` made, the newest first."""
    if not base.is_dir():
        return []
    found = [folder for folder in base.iterdir() if _TIMED.fullmatch(folder.name) and not folder.is_symlink()]
    return sorted(found, key=lambda folder: folder.name, reverse=True)


def drop_empty(folder: Path, *, made: bool = True) -> None:
    """Remove the folder of a run that did not start, if it has at most the run's copies and pytest's empty list of tests.

    Args:
        folder: The folder.
        made: This run has made it; an older one stays, without the files of this run.
    """
    try:
        if {path.name for path in folder.iterdir()} <= {*_OF_NO_RUN, COPIES}:
            for name in _OF_NO_RUN:
                (folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder / COPIES, ignore_errors=True)
            if made:
                folder.rmdir()
    except OSError as error:
        _LOG.info("%s stays, although no run is in it: %s", folder, error)


def point_latest(folder: Path) -> None:
    """Make or move the link ``latest`` beside a run's folder in one step; something else of that name is left alone."""
    link = folder.with_name(LATEST)
    if link.exists() and not link.is_symlink():
        return
    part = link.with_name(f".{link.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    part.symlink_to(folder.name)
    part.replace(link)
