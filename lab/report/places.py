"""Paths of a run as its reader can use them: test ids are relative to pytest's root folder, and evidence to the run's."""

from __future__ import annotations

import os
from pathlib import Path


def from_folder(path: Path, folder: Path) -> str:
    """A path as it works from a folder: relative where it lies below it, else absolute. Never taken for an option."""
    path = Path(os.path.normpath(folder / path))
    if not path.is_relative_to(folder):
        return str(path)
    text = str(path.relative_to(folder))
    return f"./{text}" if text.startswith("-") else text


def address_of(nodeid: str, root: str, folder: Path) -> str:
    """A test's id as pytest takes it in a folder.

    Args:
        nodeid: The id, with its file relative to ``root``.
        root: pytest's root folder in that run; empty when it is not known: the id stays as it is.
        folder: The reader's current folder.
    """
    file, separator, inside = nodeid.partition("::")
    return from_folder(Path(root) / file, folder) + separator + inside if root else nodeid


def file_of(nodeid: str, root: str) -> Path | None:
    """The file of a test, where it is still there: some entries of a report stand for no test."""
    path = Path(root) / nodeid.partition("::")[0]
    return path if path.is_file() else None
