"""The user's project: the folder with the user's lab file, drivers and suites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

DEFAULT_FILE = "lab.yaml"
_REPOSITORY = ".git"


def find_lab_file(start: Path) -> Path | None:
    """The nearest lab file in a folder or above it, as far as its repository reaches; None when there is none.

    Args:
        start: Folder in which the search begins.
    """
    for folder in _upward(start):
        if (folder / DEFAULT_FILE).is_file():
            return folder / DEFAULT_FILE
        # It may be a file, in a worktree or a submodule. Folders above it belong to another project.
        if (folder / _REPOSITORY).exists():
            return None
    return None


def user_project(file: Path | None = None, *, cwd: Path | None = None) -> Path:
    """The folder of the user's project: that of the nearest lab file, else that of the repository, else the current folder.

    Args:
        file: The lab file in force, from whose folder the search starts.
        cwd: Where it starts without one; the current folder when None.
    """
    start = file.absolute().parent if file else (cwd or Path.cwd()).absolute()
    found = find_lab_file(start)
    if found is not None:
        return found.parent
    return next((folder for folder in _upward(start) if (folder / _REPOSITORY).exists()), start)


def _upward(start: Path) -> Iterator[Path]:
    yield start
    yield from start.parents
