"""An image's key: one hash over everything that the image is made from. Same key, same image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

#: Hexadecimal digits of a key: short enough for a folder name, long enough never to meet twice.
KEY_LENGTH = 16


def content_key(inputs: Mapping[str, bytes]) -> str:
    """Hash named contents; neither their order nor their place on the disk matters, every name and byte does.

    Args:
        inputs: Content by name.

    Returns:
        :data:`KEY_LENGTH` hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(inputs):
        data = inputs[name]
        label = name.encode("utf-8")
        digest.update(b"%d:%s:%d:" % (len(label), label, len(data)))
        digest.update(data)
    return digest.hexdigest()[:KEY_LENGTH]


def tree_inputs(folder: Path, prefix: str) -> dict[str, bytes]:
    """The files of a folder and all below it as inputs, named ``prefix/relative/path``.

    Editors' and Python's left-overs are not part of it, nor is what is written for people (``.md``).

    Args:
        folder: Existing folder.
        prefix: Start of every name, so that two folders do not mix.
    """
    return {f"{prefix}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in source_files(folder)}


def source_files(folder: Path) -> list[Path]:
    """The files below a folder that count as its content, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and _counts(path.relative_to(folder)))


def file_inputs(files: Iterable[Path], prefix: str) -> dict[str, bytes]:
    """Single files as inputs, named ``prefix/name``."""
    return {f"{prefix}/{path.name}": path.read_bytes() for path in files}


def shared_inputs(root: Path) -> dict[str, bytes]:
    """The sources that programs and drivers of a guest share, outside of their own folders.

    Args:
        root: The checkout.
    """
    return tree_inputs(root / "driver" / "common", "driver/common")


def _counts(path: Path) -> bool:
    return (
        path.suffix not in (".pyc", ".md") and not path.name.endswith("~") and all(part != "__pycache__" for part in path.parts)
    )
