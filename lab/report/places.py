"""Paths of a run for its reader: test ids are relative to pytest's root folder, and evidence to the run's."""

from __future__ import annotations

import os
from pathlib import Path


def from_folder(path: Path, folder: Path) -> str:
    """A path that works from a folder: relative if it is below it, else absolute. It never looks like an option."""
    path = Path(os.path.normpath(folder / path))
    if not path.is_relative_to(folder):
        return str(path)
    text = str(path.relative_to(folder))
    return f"./{text}" if text.startswith("-") else text


def address_of(nodeid: str, root: str, folder: Path) -> str:
    """A test's id as an argument of pytest in a folder.

    Args:
        nodeid: The id, with its file relative to ``root``.
        root: pytest's root folder in that run; empty when it is not known: the id stays as it is.
        folder: The reader's current folder.
    """
    file, separator, inside = nodeid.partition("::")
    return from_folder(Path(root) / file, folder) + separator + inside if root else nodeid


def file_of(nodeid: str, root: str) -> Path | None:
    """The file of a test, if it still exists: some entries of a report are not tests."""
    path = Path(root) / nodeid.partition("::")[0]
    return path if path.is_file() else None
