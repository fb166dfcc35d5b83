"""Where a search keeps what it needs to go on: one place for each project, in the user's state folder.

::

    bisect/KEY/current     the folder of the search that is not over yet
    bisect/KEY/worktree    its worktree
    bisect/KEY/lock        held by the process that searches

The record and the runs are in the folder of the search itself, among the runs of the project, and stay there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from lab.bisect.model import BisectLog
from lab.errors import ConfigError
from lab.host.paths import state_dir
from lab.report.model import as_json
from lab.toolchain.files import replace_with

LOG_FILE = "bisect.json"
#: For `git bisect replay`.
REPLAY_FILE = "git-bisect.log"


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a project's searches.

    Attributes:
        folder: Made when it is used.
    """

    folder: Path

    @classmethod
    def of(cls, project: Path) -> Place:
        """The place of a project.

        Args:
            project: Its folder. Another checkout of the same repository is another project.
        """
        name = hashlib.sha256(os.fsencode(project.resolve())).hexdigest()[:12]
        return cls(state_dir() / "bisect" / f"{project.name}-{name}")

    @property
    def worktree(self) -> Path:
        """Where the worktree of a search is."""
        return self.folder / "worktree"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the place.

        Raises:
            ConfigError: Another process searches.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock", timeout=0)
        try:
            with lock:
                yield
        except Timeout as error:
            if error.lock_file != str(self.folder / "lock"):
                raise
            raise ConfigError(
                "another `lab bisect` of this project is going on", hint="wait for its end, or stop it with Ctrl-C"
            ) from None

    def current(self) -> Path | None:
        """The folder of the search that is not over; None if there is none, or it was removed."""
        try:
            folder = Path((self.folder / "current").read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n"))
        except FileNotFoundError:
            return None
        return folder if (folder / LOG_FILE).is_file() else None

    def open(self, search: Path) -> None:
        """A search begins."""
        with replace_with(self.folder / "current") as temporary:
            temporary.write_text(f"{search}\n", encoding="utf-8", errors="surrogateescape")

    def close(self) -> None:
        """The search is over, or given up."""
        (self.folder / "current").unlink(missing_ok=True)


def save_log(folder: Path, log: BisectLog, replay: str) -> None:
    """Write the record of a search, in one step.

    Args:
        folder: Of the search.
        log: The record.
        replay: What `git bisect replay` reads; empty: nothing is written for it.
    """
    for name, text in ((REPLAY_FILE, replay), (LOG_FILE, as_json(log, indent=1) + "\n")):
        if text:
            with replace_with(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_log(folder: Path) -> BisectLog:
    """Read the record of a search.

    Raises:
        ConfigError: It was not written by this version of the lab.
    """
    file = folder / LOG_FILE
    try:
        return BisectLog.model_validate_json(file.read_bytes())
    except ValidationError as error:
        said = str(error).partition("\n")[0]
        raise ConfigError(
            f"is no {LOG_FILE} of this version of the lab: {said}",
            file=str(file),
            hint="`lab bisect --abort`, then begin again",
        ) from None
