"""Statements about an image that every kind of guest makes in the same words."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

from lab.errors import LabError
from lab.image.kind import Finding, GuestKind
from lab.image.manifest import ImageManifest

#: An evaluation or a certificate that ends sooner gets a warning.
WARN_DAYS = 14


def current(kind: GuestKind, folder: Path, manifest: ImageManifest) -> bool | None:
    """The image is what its recipe makes today; None when that cannot be known: its recipe or its record is gone."""
    try:
        return kind.is_current(folder, manifest)
    except (LabError, OSError, ValueError):
        return None


def recipe_state(kind: GuestKind, folder: Path, manifest: ImageManifest) -> Iterator[Finding]:
    """Whether the image was made from the present recipe."""
    state = current(kind, folder, manifest)
    if state is None:
        yield Finding(
            "warning", "it is not known whether it was made by the current recipe", build_again(kind, folder, manifest)
        )
    elif state:
        yield Finding("ok", "made by the current recipe")
    else:
        yield Finding("warning", "made by an older recipe", build_again(kind, folder, manifest))


def build_again(kind: GuestKind, folder: Path, manifest: ImageManifest) -> str:
    """The command that makes the image once more."""
    # The image is of the present recipe, or that is not known: a build without --force might find it up to date.
    force = "" if current(kind, folder, manifest) is False else " --force"
    return kind.build_command(manifest.name) + force


def term(what: str, end: datetime.datetime, now: datetime.datetime, hint: str) -> Finding:
    """Whether something that ends is good for some time."""
    days = (end - now).days
    if end <= now:
        return Finding("broken", f"{what} ended on {end:%Y-%m-%d}", hint)
    if days < WARN_DAYS:
        return Finding("warning", f"{what} ends on {end:%Y-%m-%d}, in {days} days", hint)
    return Finding("ok", f"{what} ends on {end:%Y-%m-%d}, in {days} days")


def first_line(error: Exception) -> str:
    """What is wrong, in one line."""
    return str(error).partition("\n")[0]
